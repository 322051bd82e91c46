mod key_folder;

use super::{out, read_config, wrong};
use crate::args::{KeyFormat, KeysArgs};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output_file::{self, replace};
use crate::session::run_to_end;
use crate::signals::{self, Signals};
use crate::text::printable_line;
use keybound_verify::{Config, FetchedKeys, KeyFile, PublishedKeys, regular_file};
use std::io;
use std::path::Path;
use std::time::Duration;

/// Writes the issuers' keys to a file or a directory, once or again and again.
pub(super) fn run(args: &KeysArgs) -> Result<Exit, Failure> {
    let config = read_config(&args.config)?;
    if config.keys.file.is_some() {
        return Err(wrong(
            &args.config,
            &"[keys] has a file: nothing is fetched",
        ));
    }
    if args.format == KeyFormat::KeyFile && args.issuer.is_some() {
        let problem = "--issuer: a key file has the keys of all issuers";
        return Err(Failure::Usage(problem.to_owned()));
    }
    if let Some(output) = &args.output {
        // Before anything is fetched. Whether it can be written is known later.
        let checked = match args.format {
            KeyFormat::Pem => output_file::check_folder(output),
            KeyFormat::KeyFile | KeyFormat::Jwks => output_file::check(output),
        };
        checked.map_err(|error| Failure::Input(output_error(output, &error)))?;
    }
    let mut collector = Collector {
        args,
        config: &config,
        known: KeyFile::default(),
    };
    run_to_end(async {
        match args.watch {
            true => watch(&mut collector).await,
            false => collector.collect().await.map(|()| Exit::Success),
        }
    })?
}

/// Until a signal stops it. Where the keys cannot be fetched, the last ones remain.
async fn watch(collector: &mut Collector<'_>) -> Result<Exit, Failure> {
    let mut signals = Signals::ending().map_err(signals::failure)?;
    collector.read_earlier();
    let mut has_failed = false;
    loop {
        let wait = match collector.collect().await {
            Ok(()) => {
                if std::mem::take(&mut has_failed) {
                    out::log("the keys of all issuers were fetched and written again");
                }
                REFRESH
            }
            Err(Failure::Host(error)) => {
                out::log(&format!("error: {}", printable_line(&error)));
                has_failed = true;
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

/// Fetches keys, and knows the last ones.
struct Collector<'a> {
    args: &'a KeysArgs,
    config: &'a Config,
    known: KeyFile,
}

impl Collector<'_> {
    /// Those of an earlier run: the keys of an issuer that does not respond now remain in the file, with their age.
    fn read_earlier(&mut self) {
        let Some(output) = &self.args.output else {
            return;
        };
        if self.args.format == KeyFormat::KeyFile
            && let Ok(content) = regular_file::read(output, MAX_FILE)
            && let Ok(earlier) = KeyFile::parse(&content)
        {
            self.known = earlier;
        }
    }

    async fn collect(&mut self) -> Result<(), Failure> {
        let fetched = FetchedKeys::fetch(self.config).await;
        let fetched = fetched.map_err(|error| wrong(&self.args.config, &error))?;
        let issuer = self.issuer(&fetched)?;
        let is_needed = |missing: &String| issuer.as_ref().is_none_or(|issuer| issuer == missing);
        let missing = fetched.missing.iter();
        let missing = missing.filter(|(issuer, _)| is_needed(issuer));
        let missing: Vec<_> = missing
            .map(|(issuer, cause)| format!("the keys of {issuer} could not be fetched: {cause}"))
            .collect();
        let failure = (!missing.is_empty()).then(|| Failure::Host(missing.join("; ")));
        match failure {
            Some(failure) if !self.args.watch => return Err(failure),
            _ => self.known = fetched.completed_by(&self.known),
        }
        self.write(issuer.as_deref())?;
        failure.map_or(Ok(()), Err)
    }

    /// The issuer whose keys are written. `None`: all of them.
    fn issuer(&self, fetched: &FetchedKeys) -> Result<Option<String>, Failure> {
        if self.args.format == KeyFormat::KeyFile {
            return Ok(None);
        }
        let names = fetched.file.iter().map(|keys| keys.issuer().to_owned());
        let names: Vec<_> = names.chain(fetched.missing.keys().cloned()).collect();
        let wanted = |problem: &str| {
            Err(Failure::Usage(format!(
                "--issuer: {problem}: {}",
                printable_line(&names.join(", "))
            )))
        };
        match (&self.args.issuer, &names[..]) {
            (Some(issuer), names) if names.contains(issuer) => Ok(Some(issuer.clone())),
            (Some(_), _) => wanted("it is none of the configuration's issuers"),
            (None, [only]) => Ok(Some(only.clone())),
            (None, _) => wanted("the configuration has several issuers"),
        }
    }

    fn write(&self, issuer: Option<&str>) -> Result<(), Failure> {
        let keys = issuer.and_then(|issuer| self.known.issuer(issuer));
        let text = match (self.args.format, keys) {
            (KeyFormat::KeyFile, _) if self.known.iter().next().is_none() => return Ok(()),
            (KeyFormat::KeyFile, _) => self.known.to_json(),
            // Reported by the caller.
            (_, None) => return Ok(()),
            (KeyFormat::Jwks, Some(keys)) => keys.keys().to_json(),
            (KeyFormat::Pem, Some(keys)) => return self.write_folder(keys),
        };
        match &self.args.output {
            None => out::line(&text)?,
            Some(output) => {
                replace(output, &text).map_err(|error| not_written(output, &error))?;
            }
        }
        Ok(())
    }

    fn write_folder(&self, keys: &PublishedKeys) -> Result<(), Failure> {
        // The format requires the option.
        let Some(folder) = &self.args.output else {
            return Ok(());
        };
        key_folder::write(folder, keys).map_err(|error| not_written(folder, &error))
    }
}

fn not_written(output: &Path, error: &io::Error) -> Failure {
    Failure::Host(output_error(output, error))
}

fn output_error(output: &Path, error: &io::Error) -> String {
    let output = printable_line(&output.to_string_lossy());
    format!("--output {output}: {error}")
}

/// As Microsoft advises.
const REFRESH: Duration = Duration::from_secs(3600);
const RETRY: Duration = Duration::from_secs(60);
/// In bytes.
const MAX_FILE: usize = 8 * 1024 * 1024;
