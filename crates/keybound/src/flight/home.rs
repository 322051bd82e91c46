//! The runtime on which a flight was begun: its timers and sockets are that one's, whoever drives it.
use super::End;
use futures_util::FutureExt as _;
use std::cell::Cell;
use std::future::{pending, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;
use tokio::runtime::{EnterGuard, Handle, Id};
use tokio::time::{sleep, timeout};

/// A runtime; none where there is none.
#[derive(Clone)]
pub(super) struct Home(Option<Handle>);

impl Home {
    /// The caller's.
    pub(super) fn here() -> Self {
        Self(Handle::try_current().ok())
    }

    /// Ends at once, unless the caller's runtime has ended and is only played: nothing is to be begun on it then. Whoever plays
    /// it sees that when it polls again, and polls this no more.
    pub(super) async fn lives() {
        poll_fn(|context| {
            if Self::here().has_ended() {
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            Poll::Ready(())
        })
        .await
    }

    /// Whether it is the caller's.
    pub(super) fn is_here(&self) -> bool {
        match (&self.0, Handle::try_current()) {
            (Some(home), Ok(here)) => home.id() == here.id(),
            _ => true,
        }
    }

    /// Runs work so that all it opens is of this runtime. Nothing of it is run, and nothing that it says is believed, once
    /// the runtime has ended: its timers panic then, and its connections are cut.
    pub(super) async fn keep<V>(self, work: impl Future<Output = End<V>>) -> End<V> {
        let Self(Some(home)) = &self else {
            return work.await;
        };
        let mut work = pin!(work);
        poll_fn(|context| {
            if self.has_ended() {
                return Poll::Ready(End::Stranded);
            }
            let ended = {
                let _within = Within::enter(home);
                work.poll_unpin(context)
            };
            match ended {
                Poll::Ready(_) if self.has_ended() => Poll::Ready(End::Stranded),
                ended => ended,
            }
        })
        .await
    }

    /// Ends when the runtime does not run what it is given: it has ended, or nobody drives it, as is the case with one of
    /// a single thread between two calls of `block_on`.
    pub(super) async fn stands_still(&self) {
        let Some(home) = &self.0 else {
            return pending().await;
        };
        loop {
            let mut beat = home.spawn(async {});
            if !matches!(timeout(PATIENCE, &mut beat).await, Ok(Ok(()))) {
                beat.abort();
                return;
            }
            sleep(BEAT).await;
        }
    }

    /// Whether it was shut down. Seen from within it is not yet: what runs there is dropped by it.
    fn has_ended(&self) -> bool {
        let Some(home) = &self.0 else {
            return false;
        };
        if self.is_here() && !Within::is_played(home) {
            return false;
        }
        // A runtime that is being shut down takes no task any more, and says so before it drops the first one.
        let probe = home.spawn(pending::<()>());
        let ended = probe.is_finished();
        probe.abort();
        ended
    }
}

/// A runtime is entered by somebody who is not run by it. While that lasts, it is the current one and may end all the same.
struct Within<'a> {
    before: Option<Id>,
    _entered: EnterGuard<'a>,
}

impl<'a> Within<'a> {
    fn enter(home: &'a Handle) -> Self {
        let is_run_by_it = Handle::try_current().is_ok_and(|here| here.id() == home.id())
            && !Self::is_played(home);
        let played = (!is_run_by_it).then(|| home.id());
        Self {
            before: PLAYED.replace(played),
            _entered: home.enter(),
        }
    }

    fn is_played(home: &Handle) -> bool {
        PLAYED.get() == Some(home.id())
    }
}

impl Drop for Within<'_> {
    fn drop(&mut self) {
        PLAYED.set(self.before);
    }
}

thread_local! {
    /// The runtime that was entered last, where it does not run this thread.
    static PLAYED: Cell<Option<Id>> = const { Cell::new(None) };
}

/// Between two looks at another runtime.
const BEAT: Duration = Duration::from_secs(1);
/// A runtime that is busy for longer counts as one that stands still: its flight is then begun anew elsewhere, which is no
/// harm.
const PATIENCE: Duration = Duration::from_secs(2);
