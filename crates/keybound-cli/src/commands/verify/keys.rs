use super::{out, read_config, wrong};
use crate::args::KeysArgs;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::session::run_to_end;
use crate::signals::{self, Signals};
use crate::text::printable_line;
use keybound_verify::{Config, published_keys};
use std::io::{self, Write as _};
use std::path::Path;
use std::time::Duration;

/// Writes the issuers' keys to a file, once or again and again.
pub(super) fn run(args: &KeysArgs) -> Result<Exit, Failure> {
    let config = read_config(&args.config)?;
    let Some(output) = &args.output else {
        let keys = run_to_end(published_keys(&config))?;
        let keys = keys.map_err(|error| Failure::Host(error.to_string()))?;
        out::line(&keys)?;
        return Ok(Exit::Success);
    };
    if config.keys.file.is_some() {
        return Err(wrong(
            &args.config,
            &"[keys] has a file: nothing is fetched",
        ));
    }
    run_to_end(async {
        match args.watch {
            true => watch(&config, output).await,
            false => write(&config, output).await.map(|()| Exit::Success),
        }
    })?
}

/// Until a signal stops it. Where the keys cannot be fetched, the last ones remain in the file.
async fn watch(config: &Config, output: &Path) -> Result<Exit, Failure> {
    let mut signals = Signals::ending().map_err(signals::failure)?;
    loop {
        let wait = match write(config, output).await {
            Ok(()) => REFRESH,
            Err(Failure::Host(error)) => {
                out::log(&format!("error: {}", printable_line(&error)));
                RETRY
            }
            Err(failure) => return Err(failure),
        };
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            received = signals.next() => return Ok(match received.asks_to_stop() {
                true => Exit::Success,
                false => Exit::Stopped(received),
            }),
        }
    }
}

/// A reader finds the old keys or the new ones, and never a part of them.
async fn write(config: &Config, output: &Path) -> Result<(), Failure> {
    let keys = published_keys(config).await;
    let keys = keys.map_err(|error| Failure::Host(error.to_string()))?;
    replace(output, &keys).map_err(|error| {
        let output = printable_line(&output.to_string_lossy());
        Failure::Host(format!("--output {output}: {error}"))
    })
}

fn replace(output: &Path, keys: &str) -> io::Result<()> {
    let folder = match output.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    writeln!(file, "{keys}")?;
    // Public keys, for proxies with other accounts.
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let permissions = std::fs::Permissions::from_mode(0o644);
        file.as_file().set_permissions(permissions)?;
    }
    file.persist(output)?;
    Ok(())
}

/// As Microsoft advises.
const REFRESH: Duration = Duration::from_secs(3600);
const RETRY: Duration = Duration::from_secs(60);
