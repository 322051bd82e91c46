//! The runtime on which an execution was started: its timers and sockets belong to it, whichever waiter polls it.
use super::Outcome;
use futures_util::FutureExt as _;
use std::cell::Cell;
use std::future::{pending, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;
use tokio::runtime::{EnterGuard, Handle, Id};
use tokio::time::{sleep, timeout};

/// A runtime; none where the caller has none.
#[derive(Clone)]
pub(super) struct RuntimeAffinity(Option<Handle>);

impl RuntimeAffinity {
    /// The caller's runtime.
    pub(super) fn current() -> Self {
        Self(Handle::try_current().ok())
    }

    /// Returns immediately if the current runtime is alive. If it was entered after its shutdown, this stays pending, so that
    /// no work is started on it: the code that entered it notices the shutdown at its next poll and drops this future.
    pub(super) async fn ensure_alive() {
        poll_fn(|context| {
            if Self::current().has_ended() {
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            Poll::Ready(())
        })
        .await
    }

    /// Whether this is the caller's runtime.
    pub(super) fn is_current(&self) -> bool {
        match (&self.0, Handle::try_current()) {
            (Some(own), Ok(current)) => own.id() == current.id(),
            _ => true,
        }
    }

    /// Runs work within this runtime, so that what it opens belongs to it. Once the runtime has ended, the work is no longer
    /// polled and its result is discarded: its timers panic then, and its connections are closed.
    pub(super) async fn run<V>(self, work: impl Future<Output = Outcome<V>>) -> Outcome<V> {
        let Self(Some(runtime)) = &self else {
            return work.await;
        };
        let mut work = pin!(work);
        poll_fn(|context| {
            if self.has_ended() {
                return Poll::Ready(Outcome::RuntimeEnded);
            }
            let polled = {
                let _scope = EnterScope::enter(runtime);
                work.poll_unpin(context)
            };
            match polled {
                Poll::Ready(_) if self.has_ended() => Poll::Ready(Outcome::RuntimeEnded),
                polled => polled,
            }
        })
        .await
    }

    /// Returns when the runtime does not run its tasks: it has ended, or is not driven, as a current-thread runtime between
    /// two calls of `block_on`.
    pub(super) async fn wait_until_stalled(&self) {
        let Some(runtime) = &self.0 else {
            return pending().await;
        };
        loop {
            let mut probe = runtime.spawn(async {});
            if !matches!(timeout(STALL_TIMEOUT, &mut probe).await, Ok(Ok(()))) {
                probe.abort();
                return;
            }
            sleep(PROBE_INTERVAL).await;
        }
    }

    /// Whether it was shut down. Code that runs on it never sees that: its tasks are dropped first.
    fn has_ended(&self) -> bool {
        let Some(runtime) = &self.0 else {
            return false;
        };
        if self.is_current() && !EnterScope::is_entered(runtime) {
            return false;
        }
        // A runtime that is shutting down accepts no tasks, before it drops the first one.
        let probe = runtime.spawn(pending::<()>());
        let ended = probe.is_finished();
        probe.abort();
        ended
    }
}

/// Enters a runtime from a thread that it does not drive. Within this scope it is the current runtime, although it may have
/// ended.
struct EnterScope<'a> {
    before: Option<Id>,
    _entered: EnterGuard<'a>,
}

impl<'a> EnterScope<'a> {
    fn enter(runtime: &'a Handle) -> Self {
        let is_driven_by_it = Handle::try_current()
            .is_ok_and(|current| current.id() == runtime.id())
            && !Self::is_entered(runtime);
        let entered = (!is_driven_by_it).then(|| runtime.id());
        Self {
            before: ENTERED.replace(entered),
            _entered: runtime.enter(),
        }
    }

    fn is_entered(runtime: &Handle) -> bool {
        ENTERED.get() == Some(runtime.id())
    }
}

impl Drop for EnterScope<'_> {
    fn drop(&mut self) {
        ENTERED.set(self.before);
    }
}

thread_local! {
    /// The runtime that was entered last, where it does not drive this thread.
    static ENTERED: Cell<Option<Id>> = const { Cell::new(None) };
}

/// Between two probes of another runtime.
const PROBE_INTERVAL: Duration = Duration::from_secs(1);
/// A runtime that is busy for longer counts as stalled: its execution is then started again on another one, which does no
/// harm.
const STALL_TIMEOUT: Duration = Duration::from_secs(2);
