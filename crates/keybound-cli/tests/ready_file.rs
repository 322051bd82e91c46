//! The file of `emulator --ready-file`: complete, private, present only while the services listen; other kinds of files are not
//! replaced.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a panic fails the test")]

mod support;

use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use serde_json::Value;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{
    FileTypeExt as _, MetadataExt as _, PermissionsExt as _, chown, lchown, symlink,
};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use support::{keybound, run, spawn};

#[test]
fn file_is_private_and_removed_at_the_end() {
    let folder = tempfile::tempdir().unwrap();
    for (signal, status) in [(Signal::TERM, 0), (Signal::QUIT, 131)] {
        let file = folder.path().join("ready.json");
        let mut emulator = Started::with(&file);
        assert_eq!(read(&file), emulator.ready);
        assert_eq!(mode(&file), 0o600);
        assert_eq!(emulator.end(signal), Some(status));
        assert!(!file.exists());
    }
}

#[test]
fn file_exists_while_command_runs() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ready.json");
    let script = r#"cat "$0" && test "$(stat -c %a "$0")" = 600"#;
    let mut command = emulator(&file);
    let run = run(command
        .args(["--exec", "--", "sh", "-c", script])
        .arg(&file));
    assert_eq!(run.status, Some(0), "{run:#?}");
    assert_eq!(run.json()["event"], "ready");
    assert!(!file.exists());
}

#[test]
fn removes_file_of_earlier_emulator_even_if_start_fails() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ready.json");
    let link = folder.path().join("link");
    symlink("ready.json", &link).unwrap();
    let left = {
        let mut emulator = Started::with(&file);
        let left = fs::read(&file).unwrap();
        emulator.end(Signal::KILL);
        assert!(file.exists(), "SIGKILL leaves the file");
        left
    };
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let failing: [(&[&str], i32); 6] = [
        (&["--imds-port", &port], 1),
        (&["--config", "/no/such/file"], 2),
        (&["--state-dir", "/dev/null/x"], 1),
        (&["--exec", "--", "/no/such/command"], 127),
        (&["--no-such-option"], 2),
        (&["--imds-port", "none"], 2),
    ];
    for (flags, status) in failing {
        for named in [&file, &link] {
            fs::write(&file, &left).unwrap();
            let run = run(emulator(named).args(flags));
            assert_eq!(run.status, Some(status), "{flags:?}: {run:#?}");
            assert!(!file.exists(), "{flags:?}");
            assert!(link.is_symlink());
        }
    }
}

#[test]
fn rejects_file_with_other_data() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("notes");
    let link = folder.path().join("link");
    symlink("notes", &link).unwrap();
    let long = " ".repeat(70_000);
    for content in [
        &b"mine\n"[..],
        b"{}",
        br#"{"event":"ready"}"#,
        b"\xef\xbb\xbf",
        b"\xff",
        b"[1]",
        long.as_bytes(),
    ] {
        fs::write(&file, content).unwrap();
        for named in [&file, &link] {
            for flags in [&["--exec", "--", "true"][..], &["--no-such-option"]] {
                let run = run(emulator(named).args(flags));
                assert_eq!(run.status, Some(2), "{run:#?}");
                assert_eq!(fs::read(&file).unwrap(), content);
            }
            let run = run(emulator(named).args(["--exec", "--", "true"]));
            assert!(run.stderr.contains("holds other data"), "{run:#?}");
        }
    }
}

#[test]
fn replaces_empty_file_unless_start_fails() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("empty");
    fs::write(&file, "").unwrap();
    let run = run(emulator(&file).args(["--config", "/no/such/file"]));
    assert_eq!(run.status, Some(2), "{run:#?}");
    assert_eq!(fs::read_to_string(&file).unwrap(), "");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o666)).unwrap();
    let mut emulator = Started::with(&file);
    assert_eq!(read(&file), emulator.ready);
    assert_eq!(mode(&file), 0o600);
    assert_eq!(emulator.end(Signal::TERM), Some(0));
    assert!(!file.exists());
}

/// Only root can change the owner of files: for other users, the tests in `owners.rs` check the rules.
#[test]
fn rejects_link_of_another_user_in_shared_sticky_folder() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("target");
    let link = folder.path().join("ready.json");
    symlink("target", &link).unwrap();
    lchown(&link, NOBODY, None).unwrap();
    let left = r#"{"event":"ready","control":{"secret":"x"}}"#;
    let starts = |link: &Path| run(emulator(link).args(["--exec", "--", "true"]));
    for mode in [0o1777, 0o1770] {
        fs::write(&target, left).unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(mode)).unwrap();
        let run = starts(&link);
        assert_eq!(run.status, Some(2), "{run:#?}");
        assert!(run.stderr.contains("link of another user"), "{run:#?}");
        assert_eq!(fs::read_to_string(&target).unwrap(), left);
    }
    // A link of the folder's owner, and one in the user's own folder.
    chown(folder.path(), NOBODY, None).unwrap();
    assert_eq!(starts(&link).status, Some(0));
    chown(folder.path(), Some(0), None).unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    assert_eq!(starts(&link).status, Some(0));
}

/// Only for root, as above.
#[test]
fn rejects_fifo_and_device_of_another_user() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let fifo = folder.path().join("fifo");
    let created = Command::new("mkfifo").arg(&fifo).status().unwrap();
    assert!(created.success());
    chown(&fifo, NOBODY, None).unwrap();
    let (_terminal, device) = terminal();
    chown(&device, NOBODY, None).unwrap();
    // So that the FIFO has a reader.
    let _reader = File::options().read(true).write(true).open(&fifo).unwrap();
    for file in [&fifo, &device] {
        let run = run(emulator(file).args(["--exec", "--", "true"]));
        assert_eq!(run.status, Some(1), "{run:#?}");
        assert!(run.stderr.contains("belongs to another user"), "{run:#?}");
    }
}

#[test]
fn keeps_file_of_another_emulator() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ready.json");
    let mut first = Started::with(&file);
    let mut second = Started::with(&file);
    assert_eq!(first.end(Signal::TERM), Some(0));
    assert_eq!(read(&file), second.ready);
    assert_eq!(second.end(Signal::TERM), Some(0));
    assert!(!file.exists());
}

#[test]
fn writes_to_target_of_symbolic_links() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::create_dir(path("below")).unwrap();
    fs::write(path("below/there"), "").unwrap();
    symlink("below/there", path("relative")).unwrap();
    symlink(path("relative"), path("twice")).unwrap();
    symlink("below/new", path("dangling")).unwrap();
    for (link, target) in [
        ("relative", "below/there"),
        ("twice", "below/there"),
        ("dangling", "below/new"),
    ] {
        let mut emulator = Started::with(&path(link));
        assert!(path(link).is_symlink(), "{link}");
        assert_eq!(read(&path(target)), emulator.ready, "{link}");
        assert_eq!(mode(&path(target)), 0o600, "{link}");
        assert_eq!(emulator.end(Signal::TERM), Some(0));
        assert!(path(link).is_symlink() && !path(target).exists(), "{link}");
    }
    symlink("circle", path("circle")).unwrap();
    let run = run(&mut emulator(&path("circle")));
    assert_eq!(run.status, Some(2), "{run:#?}");
    assert!(run.stderr.contains("symbolic links"), "{run:#?}");
}

/// No device can be replaced by mistake: `/dev/pts` and `/proc` accept no new files, and the links are in a temporary folder.
#[test]
fn writes_to_device() {
    let folder = tempfile::tempdir().unwrap();
    let link = folder.path().join("terminal");
    let (mut terminal, device) = terminal();
    symlink(&device, &link).unwrap();
    for file in [&device, &link] {
        let mut emulator = Started::with(file);
        assert_eq!(terminal.line(), emulator.ready);
        assert_eq!(emulator.end(Signal::TERM), Some(0));
    }
    assert!(link.is_symlink());
    assert!(fs::metadata(device).unwrap().file_type().is_char_device());
}

#[test]
fn writes_to_paths_of_standard_output_and_standard_error() {
    let folder = tempfile::tempdir().unwrap();
    for (descriptor, of_stderr) in [("1", false), ("2", true)] {
        let path = Path::new("/proc/self/fd").join(descriptor);
        // Like /dev/stderr.
        let link = folder.path().join(descriptor);
        symlink(&path, &link).unwrap();
        for file in [&path, &link] {
            let run = run(emulator(file).args(["--exec", "--", "true"]));
            assert_eq!(run.status, Some(0), "{run:#?}");
            let (line, other) = match of_stderr {
                true => (&run.stderr, &run.stdout),
                false => (&run.stdout, &run.stderr),
            };
            let ready: Value = serde_json::from_str(line).unwrap();
            assert_eq!(ready["event"], "ready", "{file:?}");
            assert_eq!(other, "", "{file:?}");
        }
        assert!(link.is_symlink());
    }
}

#[test]
fn appends_to_log_and_socket_of_standard_error() {
    let folder = tempfile::tempdir().unwrap();
    let named = folder.path().join("stderr");
    symlink("/proc/self/fd/2", &named).unwrap();
    let log = folder.path().join("log");
    fs::write(&log, "earlier\n").unwrap();
    let inode = fs::metadata(&log).unwrap().ino();
    let exec = ["--exec", "--", "sh", "-c", "echo later >&2"];
    let status = emulator(&named)
        .args(exec)
        .stderr(File::options().append(true).open(&log).unwrap())
        .status();
    assert!(status.unwrap().success());
    let text = fs::read_to_string(&log).unwrap();
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(
        (lines[0], lines[2], lines.len()),
        ("earlier", "later", 3),
        "{text}"
    );
    assert!(lines[1].starts_with(r#"{"event":"ready""#), "{text}");
    assert_eq!(fs::metadata(&log).unwrap().ino(), inode);

    let (mut ours, theirs) = UnixStream::pair().unwrap();
    let mut command = emulator(&named);
    command.args(exec).stderr(OwnedFd::from(theirs));
    assert!(command.status().unwrap().success());
    drop(command);
    let mut text = String::new();
    ours.read_to_string(&mut text).unwrap();
    assert!(
        text.starts_with(r#"{"event":"ready""#) && text.ends_with("}\nlater\n"),
        "{text}"
    );
}

#[cfg(target_os = "linux")]
#[test]
fn fails_where_the_file_cannot_be_written() {
    let full = File::options().write(true).open("/dev/full").unwrap();
    let mut command = emulator(Path::new("/proc/self/fd/1"));
    let output = command.stdout(full).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(
        output
            .stderr
            .starts_with(b"error: --ready-file /proc/self/fd/1: "),
        "{output:?}"
    );
}

#[test]
fn fifo_reader_gets_line_in_either_order() {
    let folder = tempfile::tempdir().unwrap();
    let fifo = folder.path().join("fifo");
    let created = Command::new("mkfifo").arg(&fifo).status().unwrap();
    assert!(created.success());
    // The command reads.
    let mut command = emulator(&fifo);
    let run = run(command.args(["--exec", "--", "cat"]).arg(&fifo));
    assert_eq!(run.json()["event"], "ready", "{run:#?}");
    // A reader that waits already.
    let reader = std::thread::spawn({
        let fifo = fifo.clone();
        move || fs::read_to_string(fifo).unwrap()
    });
    let mut started = Started::with(&fifo);
    let line: Value = serde_json::from_str(&reader.join().unwrap()).unwrap();
    assert_eq!(line, started.ready);
    assert_eq!(started.end(Signal::TERM), Some(0));
    // Without a reader, the emulator stops nevertheless.
    let mut started = Started::with(&fifo);
    assert_eq!(started.end(Signal::TERM), Some(0));
    assert!(fs::symlink_metadata(&fifo).unwrap().file_type().is_fifo());
}

#[test]
fn rejects_socket_and_folder_before_start() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("socket");
    let _listener = UnixListener::bind(&socket).unwrap();
    for (path, what) in [(&*socket, "socket"), (folder.path(), "directory")] {
        let run = run(&mut emulator(path));
        assert_eq!(run.status, Some(2), "{run:#?}");
        assert!(run.stderr.contains(what), "{run:#?}");
        assert_eq!(run.stdout, "");
    }
    assert!(
        fs::symlink_metadata(&socket)
            .unwrap()
            .file_type()
            .is_socket()
    );
}

fn emulator(ready_file: &Path) -> Command {
    let mut command = keybound(["emulator", "--ready-file"]);
    command.arg(ready_file);
    command
}

fn read(file: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap()
}

fn mode(file: &Path) -> u32 {
    fs::symlink_metadata(file).unwrap().permissions().mode() & 0o7777
}

/// A pseudoterminal: the reader gets what is written to the device.
fn terminal() -> (Terminal, PathBuf) {
    let end = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&end).unwrap();
    unlockpt(&end).unwrap();
    let device = ptsname(&end, Vec::new()).unwrap().into_string().unwrap();
    // Held open, so that the reader does not reach the end.
    let held = File::options()
        .read(true)
        .write(true)
        .open(&device)
        .unwrap();
    (
        Terminal(BufReader::new(File::from(end)), held),
        device.into(),
    )
}

struct Terminal(
    BufReader<File>,
    #[expect(dead_code, reason = "held open")] File,
);

impl Terminal {
    fn line(&mut self) -> Value {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap()
    }
}

/// An emulator that has printed its ready line.
struct Started {
    child: Child,
    ready: Value,
    /// Held open.
    _stdout: Box<dyn BufRead>,
}

impl Started {
    fn with(ready_file: &Path) -> Self {
        let mut child = spawn(emulator(ready_file).stdout(Stdio::piped()));
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        Self {
            child,
            ready: serde_json::from_str(&line).unwrap(),
            _stdout: Box::new(stdout),
        }
    }

    /// Sends a signal and returns the exit status.
    fn end(&mut self, signal: Signal) -> Option<i32> {
        let id = Pid::from_raw(self.child.id().try_into().unwrap()).unwrap();
        kill_process(id, signal).unwrap();
        self.child.wait().unwrap().code()
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const NOBODY: Option<u32> = Some(65534);
