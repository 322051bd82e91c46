//! Connections at rest. A pool belongs to one client and so to one certificate.
use crate::connection::Connection;
use crate::target::Target;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;
use tokio::task::AbortHandle;
use tokio::time::Instant;

/// What connections are for. A connection is driven by one runtime and is of no use to another, which may go on while
/// the first one rests.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct PoolKey {
    pub(crate) target: Target,
    pub(crate) runtime: tokio::runtime::Id,
}

/// Idle connections, the last used on top.
pub(crate) struct Pool {
    shelves: Mutex<Shelves>,
    idle_timeout: Duration,
}

#[derive(Default)]
struct Shelves {
    idle: HashMap<PoolKey, Vec<Idle>>,
    reaper: Option<AbortHandle>,
}

struct Idle {
    connection: Connection,
    since: Instant,
}

impl Idle {
    /// Whether it has rested too long, or the server has closed it.
    fn is_spent(&self, now: Instant, idle_timeout: Duration) -> bool {
        now.saturating_duration_since(self.since) >= idle_timeout || self.connection.is_closed()
    }
}

impl Pool {
    pub(crate) fn new(idle_timeout: Duration) -> Arc<Self> {
        Arc::new(Self {
            shelves: Mutex::default(),
            idle_timeout,
        })
    }

    /// Takes the connection that was used last, and how long it has rested; where `authenticated` is wanted, rather one
    /// on which the server has asked for the certificate.
    pub(crate) fn take(
        &self,
        key: &PoolKey,
        authenticated: bool,
    ) -> Option<(Connection, Duration)> {
        let now = Instant::now();
        let mut shelves = self.lock();
        let shelf = shelves.idle.get_mut(key)?;
        // Only the one that is taken is looked at: each look at another reads what the processor of its driver writes.
        loop {
            let wanted = shelf
                .iter()
                .rposition(|idle| authenticated && idle.connection.certificate_requested());
            let index = wanted.or_else(|| shelf.len().checked_sub(1))?;
            let mut idle = shelf.remove(index);
            if idle.is_spent(now, self.idle_timeout) {
                continue;
            }
            idle.connection.set_idle(false);
            return Some((idle.connection, now.saturating_duration_since(idle.since)));
        }
    }

    /// Puts a connection to rest; the oldest of a full shelf goes.
    pub(crate) fn put(self: &Arc<Self>, key: PoolKey, connection: Connection) {
        let now = Instant::now();
        let mut shelves = self.lock();
        let needs_reaper = shelves.reaper.as_ref().is_none_or(AbortHandle::is_finished);
        let shelf = shelves.idle.entry(key).or_default();
        if shelf.len() >= MAX_IDLE_PER_HOST {
            shelf.retain(|idle| !idle.is_spent(now, self.idle_timeout));
        }
        if shelf.len() >= MAX_IDLE_PER_HOST {
            shelf.remove(0);
        }
        let handle = needs_reaper.then(|| connection.place().handle().clone());
        shelf.push(Idle {
            connection,
            since: now,
        });
        if let Some(handle) = handle {
            let reaper = handle.spawn(reap(Arc::downgrade(self), self.idle_timeout));
            shelves.reaper = Some(reaper.abort_handle());
        }
    }

    fn lock(&self) -> MutexGuard<'_, Shelves> {
        self.shelves.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        if let Some(reaper) = self.lock().reaper.take() {
            reaper.abort();
        }
    }
}

impl Shelves {
    /// Drops what has rested too long or has been closed by the server.
    fn purge(&mut self, now: Instant, idle_timeout: Duration) {
        self.idle.retain(|_, shelf| {
            shelf.retain(|idle| !idle.is_spent(now, idle_timeout));
            !shelf.is_empty()
        });
    }

    fn oldest(&self) -> Option<Instant> {
        self.idle.values().flatten().map(|idle| idle.since).min()
    }
}

/// Closes connections that rest too long. Ends when none rests.
async fn reap(pool: Weak<Pool>, idle_timeout: Duration) {
    loop {
        let oldest = {
            let Some(pool) = pool.upgrade() else { return };
            let mut shelves = pool.lock();
            shelves.purge(Instant::now(), idle_timeout);
            let Some(oldest) = shelves.oldest() else {
                shelves.reaper = None;
                return;
            };
            oldest
        };
        match oldest.checked_add(idle_timeout) {
            Some(expiry) => tokio::time::sleep_until(expiry).await,
            None => return,
        }
    }
}

const MAX_IDLE_PER_HOST: usize = 16;
