use super::issuer_keys::Loaded;
use super::key_file::{KeysByIssuer, read_each, unusable};
use super::refresh_schedule::{Intervals, RefreshSchedule};
use super::{FetchError, IssuerKeys, KeyFileError, KeyOrigin};
use crate::clock::{DualTime, GuardedClock};
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// A key file, which is read once for all issuers and verifiers that use it.
pub(crate) struct KeyFileSource {
    path: PathBuf,
    schedule: Arc<RefreshSchedule>,
    state: Mutex<State>,
    is_being_read: Arc<AtomicBool>,
}

struct State {
    /// What was read last.
    content: KeysByIssuer,
    /// Since the first verifier.
    used: Option<Used>,
    /// The keys that verifiers use, by issuer and maximum age.
    keys: HashMap<(String, i64), Weak<IssuerKeys>>,
}

struct Used {
    /// Of the first verifier.
    clock: Arc<GuardedClock>,
    /// When the content was read, by this clock.
    read_at: i64,
}

impl KeyFileSource {
    /// Reads a file, all of whose keys have to be usable.
    pub(super) fn open(path: PathBuf) -> Result<Self, FetchError> {
        let content = read_each(&path)?;
        if let Some(error) = content.values().find_map(|keys| keys.as_ref().err()) {
            return Err(unusable(&path, error.clone()));
        }
        Ok(Self {
            path,
            schedule: RefreshSchedule::new(Intervals::FILE),
            state: Mutex::new(State {
                content,
                used: None,
                keys: HashMap::new(),
            }),
            is_being_read: Arc::default(),
        })
    }

    /// The keys of an issuer. What is missing in the file, or cannot be used, is missing there.
    pub(super) fn keys(
        &self,
        issuer: String,
        max_age: i64,
        clock: &Arc<GuardedClock>,
    ) -> Arc<IssuerKeys> {
        let mut state = self.state();
        let id = (issuer, max_age);
        if let Some(keys) = state.keys.get(&id).and_then(Weak::upgrade) {
            return keys;
        }
        let used = state.used.get_or_insert_with(|| Used {
            clock: Arc::clone(clock),
            read_at: clock.now(),
        });
        let (clock, read_at) = (Arc::clone(&used.clock), used.read_at);
        let origin = KeyOrigin::File {
            path: self.path.clone(),
            issuer: id.0.clone(),
        };
        let now = clock.now();
        let keys = IssuerKeys::new(origin, max_age, clock, Arc::clone(&self.schedule));
        let keys = Arc::new(keys);
        if let Some(Ok(published)) = state.content.get(&id.0)
            && let Ok(loaded) = published.loaded(now)
        {
            keys.install(loaded, read_at);
        }
        state.keys.retain(|_, keys| keys.strong_count() > 0);
        state.keys.insert(id, Arc::downgrade(&keys));
        keys
    }

    pub(super) fn schedule(&self) -> &Arc<RefreshSchedule> {
        &self.schedule
    }

    /// Reads the file on a blocking thread (`spawn_blocking`), within a runtime of tokio: reading and parsing take long for a large file.
    pub(super) async fn read(&self) -> Result<KeysByIssuer, FetchError> {
        let reading = Reading::start(&self.is_being_read)?;
        let path = self.path.clone();
        let read = move || {
            let _reading = reading;
            read_each(&path)
        };
        #[cfg(feature = "tokio")]
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let read = runtime.spawn_blocking(read).await;
            return read.unwrap_or_else(|error| {
                Err(FetchError::new("reading the key file was stopped").with_source(error))
            });
        }
        read()
    }

    /// Takes over what was read, while the schedule is locked.
    ///
    /// # Errors
    /// If the keys of an issuer are missing or not usable; the others are used.
    pub(super) fn install(&self, content: KeysByIssuer, now: DualTime) -> Result<(), FetchError> {
        let mut result = Ok(());
        for keys in self.used_keys() {
            match self.loaded(&content, keys.origin(), now.wall) {
                Ok(loaded) => keys.end_refresh(Ok(loaded), now),
                Err(error) => {
                    keys.end_refresh(Err(error.chain()), now);
                    result = Err(error);
                }
            }
        }
        let mut state = self.state();
        state.content = content;
        if let Some(used) = &mut state.used {
            used.read_at = now.wall;
        }
        result
    }

    /// The keys of an issuer in what was read.
    fn loaded(
        &self,
        content: &KeysByIssuer,
        origin: &KeyOrigin,
        wall: i64,
    ) -> Result<Loaded, FetchError> {
        let name = origin.issuer();
        let loaded = match content.get(name) {
            Some(Ok(published)) => published.loaded(wall),
            Some(Err(error)) => Err(unusable(&self.path, error.clone())),
            None => Err(unusable(&self.path, KeyFileError::missing(name))),
        };
        loaded.map_err(|error| error.of_keys(origin))
    }

    /// The keys for which the file is read.
    pub(super) fn used_keys(&self) -> Vec<Arc<IssuerKeys>> {
        let state = self.state();
        state.keys.values().filter_map(Weak::upgrade).collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic cannot leave it incomplete.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One at a time: a file system that hangs occupies one thread.
struct Reading(Arc<AtomicBool>);

impl Reading {
    fn start(is_being_read: &Arc<AtomicBool>) -> Result<Self, FetchError> {
        match is_being_read.swap(true, Ordering::AcqRel) {
            true => Err(FetchError::new("the key file is still being read")),
            false => Ok(Self(Arc::clone(is_being_read))),
        }
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}
