//! The output of a program.
#[cfg(windows)]
pub use files::output;
#[cfg(unix)]
pub use pipes::output;

#[cfg(unix)]
mod pipes {
    use crate::support::spawn;
    use std::io::Write as _;
    use std::process::{Command, Output, Stdio};

    /// Runs a command with the given standard input, if any, and returns its output.
    pub fn output(command: &mut Command, input: Option<&[u8]>) -> Output {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        if input.is_some() {
            command.stdin(Stdio::piped());
        }
        let mut child = spawn(command);
        if let Some(input) = input {
            child.stdin.take().unwrap().write_all(input).unwrap();
        }
        child.wait_with_output().unwrap()
    }
}

/// On a busy machine, Wine sometimes never reports the end of a pipe after the program has exited; files are used instead.
#[cfg(windows)]
mod files {
    use std::fs::File;
    use std::io::{Error, Read as _, Seek as _, Write as _};
    use std::process::{Child, Command, Output};

    /// Runs a command with the given standard input, if any, and returns its output.
    pub fn output(command: &mut Command, input: Option<&[u8]>) -> Output {
        if let Some(input) = input {
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(input).unwrap();
            file.rewind().unwrap();
            command.stdin(file);
        }
        let [stdout, stderr] = [(); 2].map(|()| tempfile::tempfile().unwrap());
        command.stdout(stdout.try_clone().unwrap());
        command.stderr(stderr.try_clone().unwrap());
        let status = spawn(command).wait().unwrap();
        Output {
            status,
            stdout: content(stdout),
            stderr: content(stderr),
        }
    }

    /// On a busy machine, the start of a program may fail in Wine: it is retried.
    fn spawn(command: &mut Command) -> Child {
        let mut attempts = 0..3;
        let is_transient = |error: &Error| error.raw_os_error() == Some(INTERNAL_ERROR);
        loop {
            match command.spawn() {
                Err(error) if is_transient(&error) && attempts.next().is_some() => {}
                child => return child.unwrap(),
            }
        }
    }

    fn content(mut file: File) -> Vec<u8> {
        let mut bytes = Vec::new();
        file.rewind().unwrap();
        file.read_to_end(&mut bytes).unwrap();
        bytes
    }

    /// `ERROR_INTERNAL_ERROR` of Windows.
    const INTERNAL_ERROR: i32 = 1359;
}
