use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};

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
}

/// In the order in which they were accepted.
#[derive(Default)]
struct Open {
    next: u64,
    usages: BTreeMap<u64, Arc<Usage>>,
}

/// A connection; its place is free when this is dropped.
pub(super) struct Connection {
    number: u64,
    usage: Arc<Usage>,
    open: Arc<Mutex<Open>>,
    _permit: OwnedSemaphorePermit,
}

/// The requests of a connection.
pub(super) struct Usage {
    surplus: Surplus,
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
        }
    }

    /// Waits for a place for a connection that was accepted.
    pub(super) async fn admit(&self) -> Connection {
        let permit = loop {
            if let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() {
                break permit;
            }
            self.make_room();
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
            _permit: permit,
        }
    }

    fn make_room(&self) {
        let open = lock(&self.open);
        if let Some(surplus) = open.usages.values().find(|usage| usage.is_surplus()) {
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
    }
}

impl Usage {
    fn new(surplus: Surplus) -> Self {
        Self {
            surplus,
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

/// How often a connection that can be closed is looked for.
const RETRY: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    #[test]
    fn connection_with_a_request_keeps_its_place() {
        for surplus in [Surplus::Silent, Surplus::Idle] {
            let connections = Connections::new(Limit {
                connections: 1,
                surplus,
            });
            let connection = ready(connections.admit()).unwrap();
            let usage = connection.usage();
            connections.make_room();
            // The request arrives when the connection is chosen already.
            let running = usage.begin();
            assert!(ready(usage.evicted()).is_none(), "{surplus:?}");
            drop(running);
            connections.make_room();
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
