use super::{out, read_config, wrong};
use crate::args::ServeArgs;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::signals::{self, HANGUP, Signals};
use crate::{steps, text};
use keybound_verify::{Config, Daemon, DecisionLog, StartError};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Runs the daemon until a signal stops it.
pub(super) fn run(args: &ServeArgs) -> Result<Exit, Failure> {
    let config = read_config(&args.config)?;
    steps::log_warnings(args.verbose);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::Host(format!("the runtime could not start: {error}")))?;
    let exit = runtime.block_on(serve(config, &args.config))?;
    runtime.shutdown_background();
    Ok(exit)
}

async fn serve(config: Config, path: &Path) -> Result<Exit, Failure> {
    // Before it listens: a signal that arrives then stops it.
    let mut signals = Signals::ending().map_err(signals::failure)?;
    let log = DecisionLog::new(config.log.decisions, io::stdout())
        .map_err(|error| Failure::Host(format!("the decision log could not start: {error}")))?;
    let socket = config.listen.unix.clone();
    let reread = path.to_owned();
    let daemon = Daemon::start(
        config,
        log,
        Arc::new(|_: &str, builder| builder),
        move || Config::read(&reread),
    );
    let daemon = daemon.await.map_err(|error| match error {
        StartError::Config(error) => wrong(path, &error),
        error => Failure::Host(error.to_string()),
    })?;
    let address = daemon.address().map(|address| address.to_string());
    let socket = socket.map(|path| text::printable_line(&path.to_string_lossy()));
    out::log(&format!(
        "listening on {}",
        address.or(socket).unwrap_or_default()
    ));
    if let Some(address) = daemon.admin_address() {
        out::log(&format!("listening on {address} for operators"));
    }
    let mut received = signals.next().await;
    while received.number == HANGUP && cfg!(unix) {
        received = tokio::select! {
            // A signal that has arrived meanwhile: a stop does not wait for keys, and a further reload starts again.
            received = signals.next() => received,
            received = async {
                // Logged, and the current configuration remains.
                let _ = daemon.reload().await;
                std::future::pending().await
            } => received,
        };
    }
    daemon.stop(STOP_TIMEOUT).await;
    Ok(match received.asks_to_stop() {
        true => Exit::Success,
        false => Exit::Stopped(received),
    })
}

/// A decision takes a second at most.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);
