use crate::native::NativeFailure;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;
use tokio::sync::oneshot;
use tracing::{Span, dispatcher};

/// Runs a function on its own thread: if it hangs, it delays neither the threads of a runtime nor its shutdown. If the future
/// is dropped, the function continues. Its log events belong to the caller's span.
///
/// # Errors
/// [`NativeFailure::CallFailed`] if no thread can be started, or the function panics.
pub(super) async fn run<T: Send + 'static>(
    function: impl FnOnce() -> T + Send + 'static,
) -> Result<T, NativeFailure> {
    let (sender, receiver) = oneshot::channel();
    // There is no receiver if the caller gave up.
    spawn(move || drop(sender.send(function())))?;
    receiver.await.map_err(|_| PANICKED)
}

/// As [`run`], for callers without a runtime, with a timeout.
///
/// # Errors
/// As [`run`], and [`NativeFailure::CallFailed`] after the timeout.
pub(super) fn run_with_timeout<T: Send + 'static>(
    timeout: Duration,
    function: impl FnOnce() -> T + Send + 'static,
) -> Result<T, NativeFailure> {
    let (sender, receiver) = mpsc::channel();
    spawn(move || drop(sender.send(function())))?;
    receiver.recv_timeout(timeout).map_err(|error| match error {
        RecvTimeoutError::Timeout => TIMED_OUT,
        RecvTimeoutError::Disconnected => PANICKED,
    })
}

fn spawn(function: impl FnOnce() + Send + 'static) -> Result<(), NativeFailure> {
    let subscriber = dispatcher::get_default(Clone::clone);
    let span = Span::current();
    thread::Builder::new()
        .name("keybound-attestation".to_owned())
        .spawn(move || dispatcher::with_default(&subscriber, || span.in_scope(function)))
        .map_err(|_| {
            NativeFailure::CallFailed("no thread could be started for the attestation library")
        })?;
    Ok(())
}

pub(super) const TIMED_OUT: NativeFailure = NativeFailure::CallFailed(
    "the attestation library was not ready in time: it hangs, or its verification does",
);
const PANICKED: NativeFailure =
    NativeFailure::CallFailed("the call of the attestation library panicked");
