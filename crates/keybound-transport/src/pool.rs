//! Idle connections. A pool belongs to one client, and so to one certificate.
use crate::connection::Connection;
use crate::target::Target;
use keybound_core::lock;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::Duration;
use tokio::task::AbortHandle;
use tokio::time::Instant;

/// Target and runtime of a connection. One runtime drives it, and another cannot use it: it may outlive the first.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct PoolKey {
    pub(crate) target: Target,
    pub(crate) runtime: tokio::runtime::Id,
}

/// Idle connections, the last used at the end.
pub(crate) struct Pool {
    state: Mutex<PoolState>,
    idle_timeout: Duration,
}

#[derive(Default)]
struct PoolState {
    idle: HashMap<PoolKey, Vec<Idle>>,
    reaper: Option<AbortHandle>,
}

struct Idle {
    connection: Connection,
    since: Instant,
}

impl Idle {
    /// Whether its idle timeout is over, or the server has closed it.
    fn is_expired(&self, now: Instant, idle_timeout: Duration) -> bool {
        now.saturating_duration_since(self.since) >= idle_timeout || self.connection.is_closed()
    }
}

impl Pool {
    pub(crate) fn new(idle_timeout: Duration) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::default(),
            idle_timeout,
        })
    }

    /// Takes the connection that was used last, and how long it was idle; with `authenticated`, one on which the server
    /// has requested the certificate is preferred.
    pub(crate) fn take(
        &self,
        key: &PoolKey,
        authenticated: bool,
    ) -> Option<(Connection, Duration)> {
        let now = Instant::now();
        let mut state = self.lock();
        let connections = state.idle.get_mut(key)?;
        // Checks only the one that is taken: each check of another reads a cache line that its task writes.
        loop {
            let wanted = connections
                .iter()
                .rposition(|idle| authenticated && idle.connection.certificate_requested());
            let index = wanted.or_else(|| connections.len().checked_sub(1))?;
            let mut idle = connections.remove(index);
            if idle.is_expired(now, self.idle_timeout) {
                continue;
            }
            idle.connection.set_idle(false);
            return Some((idle.connection, now.saturating_duration_since(idle.since)));
        }
    }

    /// Adds an idle connection; where there are too many for the target, the oldest is closed.
    pub(crate) fn put(self: &Arc<Self>, key: PoolKey, connection: Connection) {
        let now = Instant::now();
        let mut state = self.lock();
        let needs_reaper = state.reaper.as_ref().is_none_or(AbortHandle::is_finished);
        let connections = state.idle.entry(key).or_default();
        if connections.len() >= MAX_IDLE_PER_HOST {
            connections.retain(|idle| !idle.is_expired(now, self.idle_timeout));
        }
        if connections.len() >= MAX_IDLE_PER_HOST {
            connections.remove(0);
        }
        let handle = needs_reaper.then(|| connection.place().handle().clone());
        connections.push(Idle {
            connection,
            since: now,
        });
        if let Some(handle) = handle {
            let reaper = handle.spawn(reap(Arc::downgrade(self), self.idle_timeout));
            state.reaper = Some(reaper.abort_handle());
        }
    }

    fn lock(&self) -> MutexGuard<'_, PoolState> {
        lock(&self.state)
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        if let Some(reaper) = self.lock().reaper.take() {
            reaper.abort();
        }
    }
}

impl PoolState {
    /// Drops what has rested too long or has been closed by the server.
    fn purge(&mut self, now: Instant, idle_timeout: Duration) {
        self.idle.retain(|_, connections| {
            connections.retain(|idle| !idle.is_expired(now, idle_timeout));
            !connections.is_empty()
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
            let mut state = pool.lock();
            state.purge(Instant::now(), idle_timeout);
            let Some(oldest) = state.oldest() else {
                state.reaper = None;
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
