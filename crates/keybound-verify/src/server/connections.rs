use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep, timeout};

/// How many connections a server has at a time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limit {
    pub(crate) connections: usize,
    pub(crate) surplus: Surplus,
}

/// Which connection is closed for a new one if there are as many as allowed. If there is no such one, the new one waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Surplus {
    /// The oldest one without any request until now: a connection that a proxy uses remains.
    Silent,
    /// The oldest one on which no request is answered now.
    Idle,
}

/// The connections of a server.
pub(super) struct Connections {
    surplus: Surplus,
    permits: Arc<Semaphore>,
    open: Arc<Mutex<Open>>,
    ended: Arc<Notify>,
}

/// In the order in which they were accepted.
#[derive(Default)]
struct Open {
    next: u64,
    usages: BTreeMap<u64, Arc<Usage>>,
}

/// A connection; its place is free when this is dropped, which is after its stream.
pub(super) struct Connection {
    number: u64,
    usage: Arc<Usage>,
    open: Arc<Mutex<Open>>,
    ended: Arc<Notify>,
    _permit: OwnedSemaphorePermit,
}

/// The requests of a connection.
pub(super) struct Usage {
    surplus: Surplus,
    accepted: Instant,
    begun: AtomicU64,
    ended: AtomicU64,
    evicted: Notify,
}

/// A request that is being answered.
pub(super) struct Running(Arc<Usage>);

impl Connections {
    pub(super) fn new(limit: Limit) -> Self {
        Self {
            surplus: limit.surplus,
            permits: Arc::new(Semaphore::new(limit.connections)),
            open: Arc::default(),
            ended: Arc::default(),
        }
    }

    /// Waits for a place for a connection that was accepted.
    pub(super) async fn admit(&self) -> Connection {
        let permit = loop {
            if let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() {
                break permit;
            }
            self.evict(Duration::ZERO);
            let permit = Arc::clone(&self.permits).acquire_owned();
            // The semaphore is never closed.
            if let Ok(Ok(permit)) = timeout(RETRY, permit).await {
                break permit;
            }
        };
        let usage = Arc::new(Usage::new(self.surplus));
        let mut open = lock(&self.open);
        let number = open.next;
        open.next += 1;
        open.usages.insert(number, Arc::clone(&usage));
        drop(open);
        Connection {
            number,
            usage,
            open: Arc::clone(&self.open),
            ended: Arc::clone(&self.ended),
            _permit: permit,
        }
    }

    /// Closes one that has been without a request for long, as a new one does beyond the limit, and waits until one has ended, for this
    /// time at most.
    pub(super) async fn end_one(&self, limit: Duration) {
        let ended = self.ended.notified();
        tokio::pin!(ended);
        ended.as_mut().enable();
        self.evict(LONG);
        // After the time it is tried again.
        let _ = timeout(limit, ended).await;
    }

    /// Closes one that was accepted at least this time ago.
    fn evict(&self, age: Duration) {
        let open = lock(&self.open);
        let is_surplus =
            |usage: &&Arc<Usage>| usage.is_surplus() && usage.accepted.elapsed() >= age;
        if let Some(surplus) = open.usages.values().find(is_surplus) {
            surplus.evicted.notify_one();
        }
    }
}

impl Connection {
    pub(super) fn usage(&self) -> Arc<Usage> {
        Arc::clone(&self.usage)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        lock(&self.open).usages.remove(&self.number);
        self.ended.notify_waiters();
    }
}

impl Usage {
    fn new(surplus: Surplus) -> Self {
        Self {
            surplus,
            accepted: Instant::now(),
            begun: AtomicU64::new(0),
            ended: AtomicU64::new(0),
            evicted: Notify::new(),
        }
    }

    fn is_surplus(&self) -> bool {
        match self.surplus {
            Surplus::Silent => self.begun() == 0,
            Surplus::Idle => self.begun() == self.ended.load(Relaxed),
        }
    }

    pub(super) fn begin(self: &Arc<Self>) -> Running {
        self.begun.fetch_add(1, Relaxed);
        Running(Arc::clone(self))
    }

    /// Waits until another connection needs the place. One that has got a request since it was chosen keeps it; another is chosen then.
    pub(super) async fn evicted(&self) {
        loop {
            self.evicted.notified().await;
            if self.is_surplus() {
                return;
            }
        }
    }

    /// Waits until no first request has come within one duration, or none for at least the other.
    pub(super) async fn unused(&self, first: Duration, idle: Duration) {
        sleep(first).await;
        let mut before = 0;
        loop {
            let now = self.begun();
            if now == before {
                return;
            }
            before = now;
            sleep(idle).await;
        }
    }

    fn begun(&self) -> u64 {
        self.begun.load(Relaxed)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.ended.fetch_add(1, Relaxed);
    }
}

fn lock(open: &Mutex<Open>) -> MutexGuard<'_, Open> {
    // A panic cannot leave it incomplete.
    open.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A proxy sends its first request sooner.
const LONG: Duration = Duration::from_secs(1);
/// How often a connection that can be closed is looked for.
const RETRY: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};
    use tokio::time::advance;

    /// One that was just accepted, or is used, is not closed for the next one.
    #[tokio::test(start_paused = true)]
    async fn silent_connections_are_closed_for_files() {
        let connections = Connections::new(Limit {
            connections: 4,
            surplus: Surplus::Silent,
        });
        let used = connections.admit().await;
        drop(used.usage().begin());
        let silent = connections.admit().await;
        advance(LONG).await;
        let new = connections.admit().await;
        let closed = tokio::spawn(async move { silent.usage().evicted().await });
        let started = Instant::now();
        connections.end_one(LONG).await;
        assert_eq!(started.elapsed(), Duration::ZERO);
        closed.await.unwrap();
        // It does not try again at once.
        connections.end_one(LONG / 2).await;
        assert_eq!(started.elapsed(), LONG / 2);
        for kept in [used, new] {
            let evicted = timeout(Duration::ZERO, kept.usage.evicted()).await;
            assert!(evicted.is_err());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn connection_with_a_request_keeps_its_place() {
        for surplus in [Surplus::Silent, Surplus::Idle] {
            let connections = Connections::new(Limit {
                connections: 1,
                surplus,
            });
            let connection = ready(connections.admit()).unwrap();
            let usage = connection.usage();
            connections.evict(Duration::ZERO);
            // The request arrives when the connection is chosen already.
            let running = usage.begin();
            assert!(ready(usage.evicted()).is_none(), "{surplus:?}");
            drop(running);
            connections.evict(Duration::ZERO);
            let is_evicted = ready(usage.evicted()).is_some();
            assert_eq!(is_evicted, surplus == Surplus::Idle);
        }
    }

    fn ready<T>(future: impl Future<Output = T>) -> Option<T> {
        match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(value) => Some(value),
            Poll::Pending => None,
        }
    }
}
