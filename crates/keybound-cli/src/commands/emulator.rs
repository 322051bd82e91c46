//! The emulator as a program: by itself until it is stopped, or around a command.
use crate::args::{AttestationChoice, EmulatorArgs};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::session::{read_file, run_to_end};
use crate::signals::{Stop, pass_on, status_of};
use crate::{emulation, out, steps};
use keybound_emulator::{AttestationRule, Config, Emulator};
use std::ffi::OsString;
use std::io::{self, Write as _};
use std::path::Path;
use std::process::ExitStatus;
use tokio::process::{Child, Command};

/// Runs the emulator.
pub(crate) fn run(args: &EmulatorArgs) -> Result<Exit, Failure> {
    let config = config(args)?;
    steps::show(args.verbose, "keybound_emulator");
    run_to_end(async {
        let mut stop = Stop::listen()?;
        let emulator = emulation::start(config, args.state_dir.as_deref())?;
        match args.command.split_first() {
            None => alone(args, &emulator, &mut stop).await,
            Some((program, arguments)) => {
                around(args, &emulator, &mut stop, program, arguments).await
            }
        }
    })?
}

async fn alone(args: &EmulatorArgs, emulator: &Emulator, stop: &mut Stop) -> Result<Exit, Failure> {
    let ready = announce(args, emulator)?;
    out::line(&ready)?;
    stop.asked().await;
    Ok(Exit::Success)
}

async fn around(
    args: &EmulatorArgs,
    emulator: &Emulator,
    stop: &mut Stop,
    program: &OsString,
    arguments: &[OsString],
) -> Result<Exit, Failure> {
    let ready = announce(args, emulator)?;
    if args.verbose > 0 {
        out::talk(&ready);
    }
    let mut child = Command::new(program)
        .args(arguments)
        .envs(&emulator.ready().env)
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| Failure::Host(format!("{}: {error}", program.to_string_lossy())))?;
    let status = wait(&mut child, stop)
        .await
        .map_err(|error| Failure::Host(format!("the command cannot be awaited: {error}")))?;
    Ok(Exit::Child(status_of(status)))
}

/// Waits for the command to end; requests to stop are the command's to obey.
async fn wait(child: &mut Child, stop: &mut Stop) -> io::Result<ExitStatus> {
    loop {
        let asked = tokio::select! {
            status = child.wait() => return status,
            asked = stop.asked() => asked,
        };
        pass_on(asked, child);
    }
}

/// The ready line, written to the file that was named.
fn announce(args: &EmulatorArgs, emulator: &Emulator) -> Result<String, Failure> {
    let ready = serde_json::to_string(emulator.ready())
        .map_err(|error| Failure::Host(format!("the ready line cannot be written: {error}")))?;
    if let Some(path) = &args.ready_file {
        write_whole(path, &format!("{ready}\n"))
            .map_err(|error| Failure::Host(format!("{}: {error}", path.display())))?;
    }
    Ok(ready)
}

/// Whoever waits for the file finds it whole; nobody else reads it, for it holds the control endpoint's secret.
fn write_whole(path: &Path, text: &str) -> io::Result<()> {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    let mut file = tempfile::NamedTempFile::new_in(folder.unwrap_or(Path::new(".")))?;
    file.write_all(text.as_bytes())?;
    file.persist(path)?;
    Ok(())
}

/// The file, then the flags over it.
fn config(args: &EmulatorArgs) -> Result<Config, Failure> {
    let mut config = match &args.config {
        None => Config::default(),
        Some(path) => {
            let wrong =
                |what: String| Failure::Usage(format!("--config {}: {what}", path.display()));
            let text = String::from_utf8(read_file("--config", path, LONGEST_CONFIG)?)
                .map_err(|_| wrong("is not UTF-8".to_owned()))?;
            Config::from_toml(&text).map_err(|error| wrong(error.to_string()))?
        }
    };
    config.faults.extend(args.faults.iter().cloned());
    if let Some(choice) = args.attestation {
        config.imds.attestation = match choice {
            AttestationChoice::Required => AttestationRule::Required,
            AttestationChoice::Optional => AttestationRule::Optional,
        };
    }
    config.imds.lenient_csr |= args.lenient_csr;
    let network = &mut config.network;
    for (port, asked) in [
        (&mut network.imds_port, args.imds_port),
        (&mut network.sts_port, args.sts_port),
        (&mut network.maa_port, args.maa_port),
        (&mut network.vault_port, args.vault_port),
        (&mut network.graph_port, args.graph_port),
        (&mut network.control_port, args.control_port),
    ] {
        *port = asked.unwrap_or(*port);
    }
    Ok(config)
}

const LONGEST_CONFIG: usize = 1024 * 1024;
