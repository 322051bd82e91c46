//! The connection pool of one client, and so of one certificate.
use crate::connection::Connection;
use crate::origin::Origin;
use keybound_core::lock;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::Duration;
use tokio::task::AbortHandle;
use tokio::time::Instant;

/// Origin and runtime of a connection. Another runtime cannot use it: it may outlive the one that drives the connection.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct PoolKey {
    pub(crate) origin: Origin,
    pub(crate) runtime: tokio::runtime::Id,
}

/// Idle connections by key, the last used at the end.
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
    /// Whether its idle timeout has passed, or the server has closed it.
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

    /// Removes and returns the connection that was used last, and how long it was idle. With `authenticated`, one on which
    /// the server has requested the certificate is preferred.
    pub(crate) fn take(
        &self,
        key: &PoolKey,
        authenticated: bool,
    ) -> Option<(Connection, Duration)> {
        let now = Instant::now();
        let mut state = self.lock();
        let connections = state.idle.get_mut(key)?;
        // Checks only the selected one: each check of another reads a cache line that its task writes.
        loop {
            let preferred = connections
                .iter()
                .rposition(|idle| authenticated && idle.connection.certificate_requested());
            let index = preferred.or_else(|| connections.len().checked_sub(1))?;
            let mut idle = connections.remove(index);
            if idle.is_expired(now, self.idle_timeout) {
                continue;
            }
            idle.connection.set_idle(false);
            return Some((idle.connection, now.saturating_duration_since(idle.since)));
        }
    }

    /// Adds an idle connection. Closes the oldest where the origin has too many.
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
        let handle = needs_reaper.then(|| connection.runtime().handle().clone());
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
    /// Removes expired and closed connections.
    fn remove_expired(&mut self, now: Instant, idle_timeout: Duration) {
        self.idle.retain(|_, connections| {
            connections.retain(|idle| !idle.is_expired(now, idle_timeout));
            !connections.is_empty()
        });
    }

    fn oldest(&self) -> Option<Instant> {
        self.idle.values().flatten().map(|idle| idle.since).min()
    }
}

/// Closes connections when their idle timeout passes. Ends when none is left.
async fn reap(pool: Weak<Pool>, idle_timeout: Duration) {
    loop {
        let oldest = {
            let Some(pool) = pool.upgrade() else { return };
            let mut state = pool.lock();
            state.remove_expired(Instant::now(), idle_timeout);
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
