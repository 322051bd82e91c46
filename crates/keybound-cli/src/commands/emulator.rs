//! The emulator as a program: alone until it is stopped, or with a command.
pub(crate) mod command;
mod private_tokens;
mod ready_file;

use crate::args::{AttestationChoice, EmulatorArgs};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::session::{read_file, run_to_end};
use crate::signals::Signals;
use crate::text::printable_line;
use crate::{emulation, out, steps};
use command::Running;
use keybound_emulator::{AttestationRule, Config, Emulator, Source};
use private_tokens::PrivateTokens;
use ready_file::ReadyFile;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

/// Runs the emulator.
pub(crate) fn run(args: &EmulatorArgs) -> Result<Exit, Failure> {
    // First: a program that waits for the file must not read the file of an earlier emulator, even if this one fails.
    let ready_file = args.ready_file.as_deref();
    let mut ready_file = ready_file.map(ReadyFile::prepare).transpose()?;
    let mut config = config(args)?;
    let tokens = private_tokens(args, &mut config)?;
    let state_dir = state_dir(args)?;
    steps::log(args.verbose, "keybound_emulator");
    run_to_end(async {
        let signals = match args.command.is_empty() {
            true => Signals::ending(),
            false => Signals::for_command(),
        };
        let mut signals = signals.map_err(crate::signals::failure)?;
        let emulator = emulation::start(config, state_dir.as_deref())?;
        let ready = writes_ready_line(args)
            .then(|| ready_line(&emulator))
            .transpose()?;
        if let (Some(file), Some(ready)) = (&mut ready_file, &ready) {
            file.write(ready)?;
        }
        match args.command.is_empty() {
            true => run_alone(ready, &mut signals).await,
            false => {
                let command = tokens.as_ref().map(|tokens| tokens.wrap(&args.command));
                let command = command.as_deref().unwrap_or(&args.command);
                run_command(args, command, &emulator, ready, &mut signals).await
            }
        }
    })?
}

/// Removes the file of `--ready-file` that an earlier emulator left, if the arguments cannot be parsed.
pub(crate) fn remove_stale_ready_file(arguments: impl Iterator<Item = OsString>) {
    let own: Vec<_> = arguments.take_while(|argument| argument != "--").collect();
    if !own.iter().any(|argument| argument == "emulator") {
        return;
    }
    let separate = own.windows(2).filter(|pair| pair[0] == "--ready-file");
    let joined = own.iter().filter_map(|argument| {
        let path = argument.to_str()?.strip_prefix("--ready-file=")?;
        Some(OsStr::new(path))
    });
    for path in separate.map(|pair| &*pair[1]).chain(joined) {
        // The usage error is reported in any case.
        let _ = ReadyFile::prepare(Path::new(path));
    }
}

async fn run_alone(ready: Option<String>, signals: &mut Signals) -> Result<Exit, Failure> {
    if let Some(ready) = ready {
        out::line(&ready)?;
    }
    let received = signals.next().await;
    Ok(match received.asks_to_stop() {
        true => Exit::Success,
        false => Exit::Stopped(received),
    })
}

async fn run_command(
    args: &EmulatorArgs,
    command: &[OsString],
    emulator: &Emulator,
    ready: Option<String>,
    signals: &mut Signals,
) -> Result<Exit, Failure> {
    if let Some(ready) = ready.filter(|_| args.verbose > 0) {
        out::log(&ready);
    }
    // Signals that arrived before the start of the command.
    while let Some(received) = signals.pending() {
        if received.ends() {
            return Ok(Exit::Stopped(received));
        }
    }
    let mut running = match Running::start(command, emulator.ready(), args.source) {
        Ok(running) => running,
        Err(status) => return Ok(Exit::Child(status)),
    };
    let status = running
        .wait(signals)
        .await
        .map_err(|error| Failure::Host(format!("the command cannot be awaited: {error}")))?;
    Ok(Exit::Child(status))
}

/// Whether the ready line is written to any output.
fn writes_ready_line(args: &EmulatorArgs) -> bool {
    args.command.is_empty() || args.ready_file.is_some() || args.verbose > 0
}

fn ready_line(emulator: &Emulator) -> Result<String, Failure> {
    serde_json::to_string(emulator.ready())
        .map_err(|error| Failure::Host(format!("the ready line cannot be written: {error}")))
}

/// The directory of the CA as an absolute path: readers of the ready line may run in another directory.
fn state_dir(args: &EmulatorArgs) -> Result<Option<PathBuf>, Failure> {
    let wrong = |named_by: &str, path: &Path, what: &dyn std::fmt::Display| {
        let path = path.to_string_lossy();
        Failure::Usage(format!("{named_by} {}: {what}", printable_line(&path)))
    };
    let state_dir = args.state_dir.as_deref();
    let state_dir = state_dir
        .map(|path| std::path::absolute(path).map_err(|error| wrong("--state-dir", path, &error)))
        .transpose()?;
    let (named_by, folder) = match &state_dir {
        Some(folder) => ("--state-dir", folder.clone()),
        None => ("the temporary directory", std::env::temp_dir()),
    };
    let is_text = std::path::absolute(&folder).is_ok_and(|folder| folder.to_str().is_some());
    if writes_ready_line(args) && !is_text {
        let what = "the ready line is JSON and cannot name this directory: its path is not UTF-8";
        return Err(wrong(named_by, &folder, &what));
    }
    Ok(state_dir)
}

/// A directory for Azure Arc's key files that only the command finds at the path that client libraries accept, unless one is configured.
fn private_tokens(
    args: &EmulatorArgs,
    config: &mut Config,
) -> Result<Option<PrivateTokens>, Failure> {
    if args.command.is_empty() || args.source != Source::Arc || config.arc.tokens_dir.is_some() {
        return Ok(None);
    }
    let tokens = PrivateTokens::create()?;
    config.arc.tokens_dir = Some(tokens.written());
    config.arc.client_tokens_dir = Some(tokens.found().to_owned());
    Ok(Some(tokens))
}

/// The configuration file, overridden by the options.
fn config(args: &EmulatorArgs) -> Result<Config, Failure> {
    let mut config = match &args.config {
        None => Config::default(),
        Some(path) => {
            let name = printable_line(&path.to_string_lossy());
            let wrong = |what: String| Failure::Usage(format!("--config {name}: {what}"));
            let text = String::from_utf8(read_file("--config", path, MAX_CONFIG_BYTES)?)
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
    if let Some(folder) = &args.arc_tokens_dir {
        let folder = std::path::absolute(folder)
            .map_err(|error| Failure::Usage(format!("--arc-tokens-dir: {error}")))?;
        config.arc.tokens_dir = Some(folder);
        config.arc.client_tokens_dir = None;
    }
    let network = &mut config.network;
    for (port, option) in [
        (&mut network.imds_port, args.imds_port),
        (&mut network.sts_port, args.sts_port),
        (&mut network.maa_port, args.maa_port),
        (&mut network.vault_port, args.vault_port),
        (&mut network.graph_port, args.graph_port),
        (&mut network.app_service_port, args.app_service_port),
        (&mut network.service_fabric_port, args.service_fabric_port),
        (&mut network.arc_port, args.arc_port),
        (
            &mut network.machine_learning_port,
            args.machine_learning_port,
        ),
        (&mut network.cloud_shell_port, args.cloud_shell_port),
        (&mut network.control_port, args.control_port),
    ] {
        *port = option.unwrap_or(*port);
    }
    Ok(config)
}

const MAX_CONFIG_BYTES: usize = 1024 * 1024;
