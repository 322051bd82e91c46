use crate::native::NativeFailure;
use std::thread;
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
    let listener = dispatcher::get_default(Clone::clone);
    let span = Span::current();
    thread::Builder::new()
        .name("keybound-attestation".to_owned())
        .spawn(move || {
            dispatcher::with_default(&listener, || {
                // Nobody hears it where the caller gave up.
                let _ = answer.send(span.in_scope(work));
            });
        })
        .map_err(|_| NativeFailure::NotCalled("there is no thread for the attestation library"))?;
    answered
        .await
        .map_err(|_| NativeFailure::NotCalled("the call of the attestation library panicked"))
}
