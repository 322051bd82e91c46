//! The library on Windows. All `unsafe` code of the crate is below here.
mod call;
mod callback;
mod copy;
mod file;
mod library;
mod search;
mod signature;

use super::exchange::Question;
use super::{Attested, NativeFailure, NativeProbe, Selection, Settings};
use crate::AttestationRequest;
use keybound_core::{Error, lock};
use keybound_keys::CngHandle;
use library::Library;
use std::sync::{Arc, Mutex, OnceLock};
use std::thread;
use std::time::{Duration, Instant};
use tokio::sync::{Semaphore, SemaphorePermit, TryAcquireError};

/// The library, once it was loaded.
#[derive(Default)]
pub(super) struct Loaded(OnceLock<&'static Library>);

pub(super) fn not_attestable() -> NativeFailure {
    NativeFailure::KeyNotAttestable
}

pub(super) async fn attest(
    settings: &Settings,
    loaded: &Loaded,
    request: &AttestationRequest<'_>,
    key: CngHandle,
) -> Attested {
    let library = match loaded.0.get() {
        Some(library) => *library,
        None => {
            let library = load(settings.selection.clone()).await?;
            *loaded.0.get_or_init(|| library)
        }
    };
    let question = Question::new(request.endpoint, request.client_id, settings)?;
    // The turn goes with the call: where a caller gives up, the next one still waits for the end of it.
    let turn = library.turn().await?;
    call::on_own_thread(move || library.attest(turn, &question, &key)).await?
}

async fn load(selection: Selection) -> Result<&'static Library, NativeFailure> {
    let turn = LOADING.acquire().await.map_err(|_| CLOSED)?;
    call::on_own_thread(move || {
        let _turn = turn;
        search::find(&selection, &Mutex::default())
    })
    .await?
}

pub(super) fn probe(settings: &Settings, limit: Duration) -> NativeProbe {
    let probe = Arc::new(Mutex::new(NativeProbe::default()));
    let (selection, found) = (settings.selection.clone(), Arc::clone(&probe));
    let outcome = turn_within(limit).and_then(|(turn, left)| {
        call::within(left, move || {
            let _turn = turn;
            search::find(&selection, &found)
        })
    });
    let mut probe = lock(&probe).clone();
    probe.failure = outcome.and_then(|found| found).err().map(Error::from);
    probe
}

/// The turn to look and load, and what is left of the limit. It waits on the caller's thread: while a library hangs, further
/// probes start no threads.
fn turn_within(limit: Duration) -> Result<(SemaphorePermit<'static>, Duration), NativeFailure> {
    let begun = Instant::now();
    loop {
        let left = limit.saturating_sub(begun.elapsed());
        match LOADING.try_acquire() {
            Ok(turn) => return Ok((turn, left)),
            Err(TryAcquireError::Closed) => return Err(CLOSED),
            Err(TryAcquireError::NoPermits) if left.is_zero() => return Err(call::HANGS),
            Err(TryAcquireError::NoPermits) => thread::sleep(left.min(INTERVAL)),
        }
    }
}

const INTERVAL: Duration = Duration::from_millis(10);
/// One thread looks and loads at a time, however many wait for it.
static LOADING: Semaphore = Semaphore::const_new(1);
const CLOSED: NativeFailure = NativeFailure::NotCalled("the attestation library takes no calls");
