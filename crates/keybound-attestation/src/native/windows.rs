//! The library on Windows. This module has all `unsafe` code of the crate.
mod held_file;
mod library;
mod log_callback;
mod private_copy;
mod search;
mod signature;
mod worker_thread;

use super::arguments::Arguments;
use super::{Attested, NativeFailure, NativeProbe, Selection, Settings};
use keybound_core::{Error, Guid, lock};
use keybound_keys::CngHandle;
use library::Library;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock};
use std::thread;
use std::time::{Duration, Instant};
use tokio::sync::{Semaphore, SemaphorePermit, TryAcquireError};
use url::Url;

/// The library, if it is loaded.
#[derive(Default)]
pub(super) struct LoadedLibrary(OnceLock<&'static Library>);

pub(super) async fn attest(
    settings: &Settings,
    loaded: &LoadedLibrary,
    endpoint: &Url,
    client_id: &Guid,
    key: CngHandle,
) -> Attested {
    let library = match loaded.0.get() {
        Some(library) => *library,
        None => {
            let library = load(settings.selection.clone()).await?;
            *loaded.0.get_or_init(|| library)
        }
    };
    let arguments = Arguments::new(endpoint, client_id, settings)?;
    // The call has the permit: if its caller gives up, the next caller still waits for the end of the call.
    let permit = library.acquire().await?;
    worker_thread::run(move || library.attest(permit, &arguments, &key)).await?
}

async fn load(selection: Selection) -> Result<&'static Library, NativeFailure> {
    let permit = LOADING.acquire().await.map_err(|_| CLOSED)?;
    worker_thread::run(move || {
        let _permit = permit;
        search::find(&selection, &Mutex::default())
    })
    .await?
}

pub(super) fn find(settings: &Settings) -> Result<PathBuf, NativeFailure> {
    search::locate(&settings.selection)
}

pub(super) fn probe(settings: &Settings, timeout: Duration) -> NativeProbe {
    let probe = Arc::new(Mutex::new(NativeProbe::default()));
    let (selection, found) = (settings.selection.clone(), Arc::clone(&probe));
    let outcome = acquire_loading(timeout).and_then(|(permit, remaining)| {
        worker_thread::run_with_timeout(remaining, move || {
            let _permit = permit;
            search::find(&selection, &found)
        })
    });
    let mut probe = lock(&probe).clone();
    probe.failure = outcome.and_then(|found| found).err().map(Error::from);
    probe
}

/// Waits on the caller's thread for the permit to load; returns it with the rest of the timeout. While a library hangs,
/// further probes start no threads.
fn acquire_loading(
    timeout: Duration,
) -> Result<(SemaphorePermit<'static>, Duration), NativeFailure> {
    let start = Instant::now();
    loop {
        let remaining = timeout.saturating_sub(start.elapsed());
        match LOADING.try_acquire() {
            Ok(permit) => return Ok((permit, remaining)),
            Err(TryAcquireError::Closed) => return Err(CLOSED),
            Err(TryAcquireError::NoPermits) if remaining.is_zero() => {
                return Err(worker_thread::TIMED_OUT);
            }
            Err(TryAcquireError::NoPermits) => thread::sleep(remaining.min(POLL_INTERVAL)),
        }
    }
}

const POLL_INTERVAL: Duration = Duration::from_millis(10);
/// One thread at a time searches and loads.
static LOADING: Semaphore = Semaphore::const_new(1);
const CLOSED: NativeFailure = NativeFailure::CallFailed("the attestation library takes no calls");
