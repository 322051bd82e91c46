use crate::{KeyError, KeyErrorKind};
use keybound_core::lock;
use std::fmt;
use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

/// Runs the blocking operations of one key (to sign, to look it up by name), one at a time, each on a thread of its own.
///
/// Key stores, TPMs and HSMs hang. The permit to run moves into the thread that runs the operation, so a key that hangs
/// occupies one thread, however many callers time out, and none of the caller's runtime. From then on the gate refuses
/// further operations with a clear error until that one returns. Clones share the one gate.
#[derive(Clone)]
pub struct KeyGate(Arc<Inner>);

struct Inner {
    turn: Arc<Semaphore>,
    /// When the operation in progress started.
    started: Mutex<Option<Instant>>,
    patience: Duration,
}

/// The right to run one operation.
struct Permit {
    gate: KeyGate,
    _turn: OwnedSemaphorePermit,
}

impl KeyGate {
    /// A gate that considers an operation to hang after `patience`. [`default`](Self::default) waits 30 seconds.
    pub fn new(patience: Duration) -> Self {
        Self(Arc::new(Inner {
            turn: Arc::new(Semaphore::new(1)),
            started: Mutex::new(None),
            patience,
        }))
    }

    /// Runs an operation and waits for it without blocking. It needs no tokio runtime; where the caller is in one, so is
    /// the operation. Where the future is dropped, an operation
    /// that has started runs to its end, and one that waits for its turn never starts.
    ///
    /// # Errors
    /// [`Failed`](KeyErrorKind::Failed) where another operation hangs, the operation panics, or the host gives no thread;
    /// otherwise the operation's own error.
    pub async fn run<T: Send + 'static>(
        &self,
        operation: impl FnOnce() -> Result<T, KeyError> + Send + 'static,
    ) -> Result<T, KeyError> {
        let permit = self.permit().await?;
        let (sender, receiver) = oneshot::channel();
        let runtime = Handle::try_current().ok();
        thread::Builder::new()
            .name("keybound-key".into())
            .spawn(move || {
                let _runtime = runtime.as_ref().map(Handle::enter);
                let result = operation();
                // First, so that a caller with the result can run the next operation.
                drop(permit);
                let _ = sender.send(result);
            })
            .map_err(|error| {
                failed("the host gives no thread for the key's work").with_source(error)
            })?;
        receiver
            .await
            .unwrap_or_else(|_| Err(failed("the key panicked")))
    }

    /// Runs an operation and blocks until it ends, at most as long as the gate's patience, to wait for its turn included.
    ///
    /// # Errors
    /// As [`run`](Self::run), and [`Failed`](KeyErrorKind::Failed) where the time is over: because an operation hangs, or
    /// because others, none of which does, left it no turn.
    pub fn run_blocking<T: Send + 'static>(
        &self,
        operation: impl FnOnce() -> Result<T, KeyError> + Send + 'static,
    ) -> Result<T, KeyError> {
        let has_begun = Arc::new(AtomicBool::new(false));
        let begins = Arc::clone(&has_begun);
        let marked = move || {
            begins.store(true, Ordering::Release);
            operation()
        };
        block_on(self.run(marked), self.0.patience).unwrap_or_else(|| {
            let hangs = has_begun.load(Ordering::Acquire) || self.is_hanging();
            Err(if hangs { self.hangs() } else { self.is_busy() })
        })
    }

    async fn permit(&self) -> Result<Permit, KeyError> {
        if self.0.turn.available_permits() == 0 && self.is_hanging() {
            return Err(self.hangs());
        }
        // The semaphore is never closed.
        let turn = Arc::clone(&self.0.turn).acquire_owned().await;
        let permit = Permit {
            gate: self.clone(),
            _turn: turn.map_err(|_| failed("the key is gone"))?,
        };
        permit.gate.set_started(Some(Instant::now()));
        Ok(permit)
    }

    /// Whether an operation has been in progress for longer than the gate's patience.
    pub fn is_hanging(&self) -> bool {
        let started = *lock(&self.0.started);
        started.is_some_and(|started| started.elapsed() >= self.0.patience)
    }

    fn set_started(&self, started: Option<Instant>) {
        *lock(&self.0.started) = started;
    }

    fn hangs(&self) -> KeyError {
        failed(format!(
            "the key hangs: an operation has not returned within {} s",
            self.0.patience.as_secs()
        ))
    }

    fn is_busy(&self) -> KeyError {
        failed(format!(
            "the key is busy: its other operations have taken {} s",
            self.0.patience.as_secs()
        ))
    }
}

impl Default for KeyGate {
    fn default() -> Self {
        Self::new(PATIENCE)
    }
}

impl fmt::Debug for KeyGate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyGate").finish_non_exhaustive()
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.gate.set_started(None);
    }
}

fn failed(message: impl Into<std::borrow::Cow<'static, str>>) -> KeyError {
    KeyError::new(KeyErrorKind::Failed, message)
}

/// Waits for a future on this thread; `None` where it takes longer than the limit.
fn block_on<T>(future: impl Future<Output = T>, limit: Duration) -> Option<T> {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = pin!(future);
    let start = Instant::now();
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return Some(output);
        }
        // Checked after the poll: what has ended by then counts.
        let left = limit
            .checked_sub(start.elapsed())
            .filter(|left| !left.is_zero())?;
        thread::park_timeout(left);
    }
}

/// A TPM signs within a second, and others may wait before.
const PATIENCE: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    /// An operation that returns when the sender sends or is dropped; the receiver gets a word when it starts.
    fn held() -> (
        impl FnOnce() -> Result<u8, KeyError> + Send + 'static,
        mpsc::Receiver<()>,
        mpsc::Sender<()>,
    ) {
        let (start, started) = mpsc::channel();
        let (release, released) = mpsc::channel();
        let operation = move || {
            start.send(()).unwrap();
            let _ = released.recv();
            Ok(1)
        };
        (operation, started, release)
    }

    fn message<T: fmt::Debug>(result: Result<T, KeyError>) -> String {
        result.unwrap_err().to_string()
    }

    #[test]
    fn a_hanging_operation_costs_one_thread_and_further_ones_fail_at_once() {
        let gate = KeyGate::new(Duration::ZERO);
        let (operation, started, release) = held();
        let hangs = "the key hangs: an operation has not returned within 0 s";
        assert_eq!(message(gate.run_blocking(operation)), hangs);
        started.recv().unwrap();
        assert!(gate.is_hanging());
        for _ in 0..100 {
            let refused = pin!(gate.run(|| -> Result<(), KeyError> { panic!("runs") }));
            match refused.poll(&mut Context::from_waker(Waker::noop())) {
                Poll::Ready(refused) => assert_eq!(message(refused), hangs),
                Poll::Pending => panic!("waits"),
            }
        }
        drop(release);
        while gate.0.turn.available_permits() == 0 {
            thread::yield_now();
        }
        assert!(!gate.is_hanging());
        let patient = KeyGate(Arc::clone(&gate.0));
        assert!(block_on(patient.run(|| Ok(2)), PATIENCE).unwrap().is_ok());
    }

    #[test]
    fn a_key_that_is_only_busy_is_not_said_to_hang() {
        let gate = KeyGate::new(Duration::ZERO);
        // Others have the turn, and none of them is in progress for too long.
        let turn = gate.0.turn.try_acquire().unwrap();
        let refused = gate.run_blocking(|| -> Result<(), KeyError> { panic!("runs") });
        assert_eq!(
            message(refused),
            "the key is busy: its other operations have taken 0 s"
        );
        drop(turn);
        assert!(!gate.is_hanging());
    }

    #[test]
    fn operations_run_one_at_a_time_and_a_caller_that_leaves_keeps_the_gate_closed() {
        let gate = KeyGate::default();
        let (first, started, release) = held();
        let waker = Waker::noop();
        let mut context = Context::from_waker(waker);
        {
            // Dropped while the operation is in progress.
            let mut running = pin!(gate.run(first));
            assert!(running.as_mut().poll(&mut context).is_pending());
            started.recv().unwrap();
        }
        let (begin, begun) = mpsc::channel();
        let mut waiting = Box::pin(gate.run(move || {
            begin.send(()).unwrap();
            Ok(2)
        }));
        assert!(waiting.as_mut().poll(&mut context).is_pending());
        // One that leaves before its turn never starts.
        let mut impatient = Box::pin(gate.run(|| -> Result<(), KeyError> { panic!("runs") }));
        assert!(impatient.as_mut().poll(&mut context).is_pending());
        drop(impatient);
        assert_eq!(begun.try_recv(), Err(mpsc::TryRecvError::Empty));
        release.send(()).unwrap();
        assert_eq!(block_on(waiting, PATIENCE).unwrap().unwrap(), 2);
        begun.recv().unwrap();
        assert_eq!(gate.run_blocking(|| Ok(3)).unwrap(), 3);
    }

    #[test]
    fn errors_and_panics_of_the_operation_are_errors_and_free_the_gate() {
        let gate = KeyGate::default();
        let own = gate.run_blocking(|| -> Result<(), _> { Err(failed("no power")) });
        assert_eq!(message(own), "no power");
        let panicked = gate.run_blocking(|| -> Result<(), _> { panic!("on purpose, in a test") });
        assert_eq!(message(panicked), "the key panicked");
        assert_eq!(gate.run_blocking(|| Ok(4)).unwrap(), 4);
    }
}
