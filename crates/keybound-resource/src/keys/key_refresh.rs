use super::FetchError;
use super::refresh_target::{Install, RefreshTarget};
use std::fmt;

/// A refresh of an issuer's keys, or of those in a file, which runs once at a time.
///
/// [`run`](Self::run) must be spawned as a separate task: if a request that caused it could cancel it, the keys would not
/// be refreshed for some minutes. One that is dropped while it runs has failed; one that is dropped before may be started again.
#[must_use = "it is cancelled if it is dropped"]
pub struct KeyRefresh(Option<Parts>);

struct Parts {
    is_running: bool,
    /// The number that the schedule gave it.
    run: u64,
    target: RefreshTarget,
}

impl KeyRefresh {
    /// A refresh that the schedule of its target started.
    pub(super) fn new(run: u64, target: RefreshTarget) -> Self {
        Self(Some(Parts {
            is_running: false,
            run,
            target,
        }))
    }

    /// Loads the keys. If it fails, the last ones remain in use until they are too old. With the feature `tokio` and within a runtime, a
    /// file is read on one of its threads for blocking work.
    ///
    /// # Errors
    /// If the documents cannot be fetched, or are not those of the issuer.
    pub async fn run(mut self) -> Result<(), FetchError> {
        // The value in self ends the refresh if this future is dropped.
        let Some(parts) = &mut self.0 else {
            return Ok(());
        };
        parts.is_running = true;
        match parts.target.load().await {
            Ok(install) => self.end(Ok(install)),
            Err(error) => {
                // The error of the target is the first one.
                let _ = self.end(Err(error.chain()));
                Err(error)
            }
        }
    }

    fn end(&mut self, loaded: Result<Install, String>) -> Result<(), FetchError> {
        match self.0.take() {
            Some(parts) if parts.is_running => parts.target.end(parts.run, loaded),
            Some(parts) => {
                parts.target.schedule().cancel(parts.run);
                Ok(())
            }
            None => Ok(()),
        }
    }
}

impl Drop for KeyRefresh {
    fn drop(&mut self) {
        let cancelled = "the refresh of the keys was cancelled";
        // Nobody waits for the result.
        let _ = self.end(Err(cancelled.to_owned()));
    }
}

impl fmt::Debug for KeyRefresh {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyRefresh").finish_non_exhaustive()
    }
}
