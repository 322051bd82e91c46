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

/// Runs the blocking operations of one key (signing, opening by name), one at a time, each on a separate thread.
///
/// Key stores, TPMs and HSMs can hang. The permit moves into the thread that runs the operation, so a key that hangs
/// blocks one thread, regardless of how many callers time out, and none of the caller's runtime. Further operations fail
/// immediately until the operation returns. Clones share the gate.
#[derive(Clone)]
pub struct KeyGate(Arc<Inner>);

struct Inner {
    semaphore: Arc<Semaphore>,
    /// The start of the operation in progress.
    started: Mutex<Option<Instant>>,
    timeout: Duration,
}

/// The permit to run one operation.
struct Permit {
    gate: KeyGate,
    _permit: OwnedSemaphorePermit,
}

impl KeyGate {
    /// A gate that considers an operation to hang after this timeout, by [`default`](Self::default) 30 seconds.
    pub fn new(timeout: Duration) -> Self {
        Self(Arc::new(Inner {
            semaphore: Arc::new(Semaphore::new(1)),
            started: Mutex::new(None),
            timeout,
        }))
    }

    /// Runs an operation and waits for it without blocking. No tokio runtime is required; the operation runs in the context of
    /// the caller's, if there is one. If the future is dropped, an operation that has started continues, and one that waits
    /// for the permit never starts.
    ///
    /// # Errors
    /// [`Failed`](KeyErrorKind::Failed) if another operation hangs, the operation panics, or no thread can be created;
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
                // Before the result is sent, so that the caller can then run the next operation.
                drop(permit);
                let _ = sender.send(result);
            })
            .map_err(|error| {
                failed("no thread could be created for the key's operation").with_source(error)
            })?;
        receiver
            .await
            .unwrap_or_else(|_| Err(failed("the key panicked")))
    }

    /// Runs an operation and blocks until it returns, at most for the gate's timeout, including the wait for the permit.
    ///
    /// # Errors
    /// As [`run`](Self::run), and [`Failed`](KeyErrorKind::Failed) after the timeout: an operation hangs, or other operations,
    /// none of which hangs, kept the key busy.
    pub fn run_blocking<T: Send + 'static>(
        &self,
        operation: impl FnOnce() -> Result<T, KeyError> + Send + 'static,
    ) -> Result<T, KeyError> {
        let has_started = Arc::new(AtomicBool::new(false));
        let starts = Arc::clone(&has_started);
        let operation = move || {
            starts.store(true, Ordering::Release);
            operation()
        };
        block_on(self.run(operation), self.0.timeout).unwrap_or_else(|| {
            let hangs = has_started.load(Ordering::Acquire) || self.is_hanging();
            Err(if hangs { self.hangs() } else { self.is_busy() })
        })
    }

    async fn permit(&self) -> Result<Permit, KeyError> {
        if self.0.semaphore.available_permits() == 0 && self.is_hanging() {
            return Err(self.hangs());
        }
        // The semaphore is never closed.
        let permit = Arc::clone(&self.0.semaphore).acquire_owned().await;
        let permit = Permit {
            gate: self.clone(),
            _permit: permit.map_err(|_| failed("the key's gate is closed"))?,
        };
        permit.gate.set_started(Some(Instant::now()));
        Ok(permit)
    }

    /// Whether an operation has been in progress for longer than the gate's timeout.
    pub fn is_hanging(&self) -> bool {
        let started = *lock(&self.0.started);
        started.is_some_and(|started| started.elapsed() >= self.0.timeout)
    }

    fn set_started(&self, started: Option<Instant>) {
        *lock(&self.0.started) = started;
    }

    fn hangs(&self) -> KeyError {
        failed(format!(
            "the key hangs: an operation has not returned within {} s",
            self.0.timeout.as_secs()
        ))
    }

    fn is_busy(&self) -> KeyError {
        failed(format!(
            "the key is busy: its other operations have taken {} s",
            self.0.timeout.as_secs()
        ))
    }
}

impl Default for KeyGate {
    fn default() -> Self {
        Self::new(TIMEOUT)
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

/// Waits for a future on this thread; `None` after the timeout.
fn block_on<T>(future: impl Future<Output = T>, timeout: Duration) -> Option<T> {
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
        // Checked after the poll, so that a result counts that is ready by then.
        let left = timeout
            .checked_sub(start.elapsed())
            .filter(|left| !left.is_zero())?;
        thread::park_timeout(left);
    }
}

/// A TPM signs within a second, and other operations may precede.
const TIMEOUT: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    /// An operation that returns when the sender sends or is dropped; the receiver is notified when it starts.
    fn blocking_operation() -> (
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
    fn a_hanging_operation_blocks_one_thread_and_further_ones_fail_immediately() {
        let gate = KeyGate::new(Duration::ZERO);
        let (operation, started, release) = blocking_operation();
        let hangs = "the key hangs: an operation has not returned within 0 s";
        assert_eq!(message(gate.run_blocking(operation)), hangs);
        started.recv().unwrap();
        assert!(gate.is_hanging());
        for _ in 0..100 {
            let rejected = pin!(gate.run(|| -> Result<(), KeyError> { panic!("runs") }));
            match rejected.poll(&mut Context::from_waker(Waker::noop())) {
                Poll::Ready(rejected) => assert_eq!(message(rejected), hangs),
                Poll::Pending => panic!("waits"),
            }
        }
        drop(release);
        while gate.0.semaphore.available_permits() == 0 {
            thread::yield_now();
        }
        assert!(!gate.is_hanging());
        assert!(block_on(gate.run(|| Ok(2)), TIMEOUT).unwrap().is_ok());
    }

    #[test]
    fn a_busy_key_is_not_reported_as_hanging() {
        let gate = KeyGate::new(Duration::ZERO);
        // Other operations have the permit, and none of them is in progress for too long.
        let permit = gate.0.semaphore.try_acquire().unwrap();
        let rejected = gate.run_blocking(|| -> Result<(), KeyError> { panic!("runs") });
        assert_eq!(
            message(rejected),
            "the key is busy: its other operations have taken 0 s"
        );
        drop(permit);
        assert!(!gate.is_hanging());
    }

    #[test]
    fn runs_one_operation_at_a_time_even_where_callers_drop_the_future() {
        let gate = KeyGate::default();
        let (first, started, release) = blocking_operation();
        let waker = Waker::noop();
        let mut context = Context::from_waker(waker);
        {
            // Dropped while the operation is in progress.
            let mut running = pin!(gate.run(first));
            assert!(running.as_mut().poll(&mut context).is_pending());
            started.recv().unwrap();
        }
        let (start, started) = mpsc::channel();
        let mut waiting = Box::pin(gate.run(move || {
            start.send(()).unwrap();
            Ok(2)
        }));
        assert!(waiting.as_mut().poll(&mut context).is_pending());
        // An operation whose future is dropped while it waits never starts.
        let mut dropped = Box::pin(gate.run(|| -> Result<(), KeyError> { panic!("runs") }));
        assert!(dropped.as_mut().poll(&mut context).is_pending());
        drop(dropped);
        assert_eq!(started.try_recv(), Err(mpsc::TryRecvError::Empty));
        release.send(()).unwrap();
        assert_eq!(block_on(waiting, TIMEOUT).unwrap().unwrap(), 2);
        started.recv().unwrap();
        assert_eq!(gate.run_blocking(|| Ok(3)).unwrap(), 3);
    }

    #[test]
    fn errors_and_panics_of_the_operation_release_the_gate() {
        let gate = KeyGate::default();
        let own = gate.run_blocking(|| -> Result<(), _> { Err(failed("no power")) });
        assert_eq!(message(own), "no power");
        let panicked = gate.run_blocking(|| -> Result<(), _> { panic!("on purpose, in a test") });
        assert_eq!(message(panicked), "the key panicked");
        assert_eq!(gate.run_blocking(|| Ok(4)).unwrap(), 4);
    }
}
