use crate::native::NativeFailure;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;
use tokio::sync::oneshot;
use tracing::{Span, dispatcher};

/// Does the work on a thread of its own, where it may hang without holding up a runtime, neither its threads nor its
/// end. Where the future is dropped, the work goes on, unheard. What it tells belongs to the caller's span.
///
/// # Errors
/// [`NativeFailure::NotCalled`] where there is no more thread to be had, or the work panics.
pub(super) async fn on_own_thread<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, NativeFailure> {
    let (answer, answered) = oneshot::channel();
    // Nobody hears it where the caller gave up.
    begin(move || drop(answer.send(work())))?;
    answered.await.map_err(|_| PANICKED)
}

/// The same for callers without a runtime.
///
/// # Errors
/// Those, and [`NativeFailure::NotCalled`] where it is not over in time.
pub(super) fn within<T: Send + 'static>(
    limit: Duration,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, NativeFailure> {
    let (answer, answered) = mpsc::channel();
    begin(move || drop(answer.send(work())))?;
    answered.recv_timeout(limit).map_err(|error| match error {
        RecvTimeoutError::Timeout => HANGS,
        RecvTimeoutError::Disconnected => PANICKED,
    })
}

fn begin(work: impl FnOnce() + Send + 'static) -> Result<(), NativeFailure> {
    let listener = dispatcher::get_default(Clone::clone);
    let span = Span::current();
    thread::Builder::new()
        .name("keybound-attestation".to_owned())
        .spawn(move || dispatcher::with_default(&listener, || span.in_scope(work)))
        .map_err(|_| NativeFailure::NotCalled("there is no thread for the attestation library"))?;
    Ok(())
}

pub(super) const HANGS: NativeFailure = NativeFailure::NotCalled(
    "the attestation library was not ready in time: it, or what checks it, hangs",
);
const PANICKED: NativeFailure =
    NativeFailure::NotCalled("the call of the attestation library panicked");
