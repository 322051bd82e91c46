//! The connection pool of one client, and so of one certificate.
use crate::TransportError;
use crate::connection::Connection;
use crate::origin::Origin;
use http::header::HeaderValue;
use http::uri::{Authority, Scheme, Uri};
use keybound_core::lock;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;
use tokio::runtime;
use tokio::task::AbortHandle;
use tokio::time::Instant;

/// The pools of the origins, by the authority of the URIs that named them.
pub(crate) struct Pool {
    origins: Mutex<Origins>,
    idle_timeout: Duration,
}

#[derive(Default)]
struct Origins {
    by_authority: HashMap<Box<str>, Arc<OriginPool>>,
    /// The last that was found. Most clients call one origin, and need no hash.
    last: Option<(Box<str>, Arc<OriginPool>)>,
}

/// The idle connections to one origin.
pub(crate) struct OriginPool {
    pub(crate) origin: Origin,
    /// The value of the header `Host`.
    pub(crate) host: HeaderValue,
    idle: Mutex<IdleConnections>,
    idle_timeout: Duration,
}

#[derive(Default)]
struct IdleConnections {
    /// The last used at the end.
    connections: Vec<Idle>,
    reaper: Option<AbortHandle>,
}

struct Idle {
    connection: Box<Connection>,
    since: Instant,
}

impl Idle {
    /// Another runtime cannot use the connection: it may outlive the one that drives it.
    fn is_driven_by(&self, runtime: runtime::Id) -> bool {
        self.connection.runtime().handle().id() == runtime
    }

    /// Whether its idle timeout has passed, or the server has closed it.
    fn is_expired(&self, now: Instant, idle_timeout: Duration) -> bool {
        now.saturating_duration_since(self.since) >= idle_timeout || self.connection.is_closed()
    }
}

impl Pool {
    pub(crate) fn new(idle_timeout: Duration) -> Self {
        Self {
            origins: Mutex::default(),
            idle_timeout,
        }
    }

    /// The pool of the origin of a URI. A URI is parsed once: later ones with the same authority have the same origin.
    ///
    /// # Errors
    /// Those of [`Origin::of`].
    pub(crate) fn origin(&self, uri: &Uri) -> Result<Arc<OriginPool>, TransportError> {
        let is_https = uri.scheme() == Some(&Scheme::HTTPS);
        let authority = uri.authority().map_or("", Authority::as_str);
        let mut origins = lock(&self.origins);
        if is_https && let Some(known) = origins.get(authority) {
            return Ok(known);
        }
        let origin = Origin::of(uri, &Scheme::HTTPS)?;
        let pool = match origins.of_other_spelling(&origin) {
            Some(known) => known,
            None => Arc::new(OriginPool::new(origin, self.idle_timeout)?),
        };
        origins.insert(authority, Arc::clone(&pool));
        Ok(pool)
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        lock(&self.origins).by_authority.len()
    }
}

impl Origins {
    fn get(&mut self, authority: &str) -> Option<Arc<OriginPool>> {
        if let Some((last, pool)) = &self.last
            && **last == *authority
        {
            return Some(Arc::clone(pool));
        }
        let (authority, pool) = self.by_authority.get_key_value(authority)?;
        self.last = Some((authority.clone(), Arc::clone(pool)));
        Some(Arc::clone(pool))
    }

    fn of_other_spelling(&self, origin: &Origin) -> Option<Arc<OriginPool>> {
        let mut pools = self.by_authority.values();
        pools.find(|known| known.origin == *origin).cloned()
    }

    fn insert(&mut self, authority: &str, pool: Arc<OriginPool>) {
        if self.by_authority.len() >= MAX_ORIGINS {
            self.last = None;
            self.by_authority.retain(|_, pool| pool.is_used());
        }
        if self.by_authority.len() >= MAX_ORIGINS {
            self.evict_any();
        }
        self.by_authority.insert(authority.into(), pool);
    }

    fn evict_any(&mut self) {
        if let Some(authority) = self.by_authority.keys().next().cloned() {
            self.by_authority.remove(&authority);
        }
    }
}

impl OriginPool {
    pub(crate) fn new(origin: Origin, idle_timeout: Duration) -> Result<Self, TransportError> {
        Ok(Self {
            host: origin.host_header(&Scheme::HTTPS)?,
            origin,
            idle: Mutex::default(),
            idle_timeout,
        })
    }

    /// Removes and returns the connection of a runtime that was used last, and how long it was idle. With `authenticated`,
    /// one on which the server has requested the certificate is preferred.
    pub(crate) fn take(
        &self,
        runtime: runtime::Id,
        authenticated: bool,
    ) -> Option<(Box<Connection>, Duration)> {
        let now = Instant::now();
        let mut idle = lock(&self.idle);
        let connections = &mut idle.connections;
        // Checks only the selected one: each check of another reads a cache line that its task writes.
        loop {
            let preferred = connections.iter().rposition(|idle| {
                authenticated
                    && idle.is_driven_by(runtime)
                    && idle.connection.certificate_requested()
            });
            let last = || {
                connections
                    .iter()
                    .rposition(|idle| idle.is_driven_by(runtime))
            };
            let mut idle = connections.remove(preferred.or_else(last)?);
            if idle.is_expired(now, self.idle_timeout) {
                continue;
            }
            idle.connection.set_idle(false);
            return Some((idle.connection, now.saturating_duration_since(idle.since)));
        }
    }

    /// Adds an idle connection. Closes the oldest of its runtime if there are too many.
    pub(crate) fn put(self: &Arc<Self>, connection: Box<Connection>) {
        let now = Instant::now();
        let handle = connection.runtime().handle().clone();
        let mut idle = lock(&self.idle);
        let has_reaper = idle
            .reaper
            .as_ref()
            .is_some_and(|reaper| !reaper.is_finished());
        if !has_reaper || idle.count(handle.id()) >= MAX_IDLE_PER_HOST {
            idle.remove_expired(now, self.idle_timeout);
        }
        if idle.count(handle.id()) >= MAX_IDLE_PER_HOST {
            idle.remove_oldest(handle.id());
        }
        idle.connections.push(Idle {
            connection,
            since: now,
        });
        if !has_reaper && let Some(expiry) = now.checked_add(self.idle_timeout) {
            let reaper = handle.spawn(reap(Arc::downgrade(self), expiry));
            idle.reaper = Some(reaper.abort_handle());
        }
    }

    /// Whether a connection is idle or in use: one in use refers to its pool.
    fn is_used(self: &Arc<Self>) -> bool {
        Arc::weak_count(self) > 0 || !lock(&self.idle).connections.is_empty()
    }
}

impl Drop for OriginPool {
    fn drop(&mut self) {
        if let Some(reaper) = lock(&self.idle).reaper.take() {
            reaper.abort();
        }
    }
}

impl IdleConnections {
    fn count(&self, runtime: runtime::Id) -> usize {
        let driven = self.connections.iter();
        driven.filter(|idle| idle.is_driven_by(runtime)).count()
    }

    /// Removes expired and closed connections.
    fn remove_expired(&mut self, now: Instant, idle_timeout: Duration) {
        self.connections
            .retain(|idle| !idle.is_expired(now, idle_timeout));
    }

    fn remove_oldest(&mut self, runtime: runtime::Id) {
        let mut connections = self.connections.iter();
        if let Some(oldest) = connections.position(|idle| idle.is_driven_by(runtime)) {
            self.connections.remove(oldest);
        }
    }
}

/// Closes connections when their idle timeout passes. Ends when none is left then.
async fn reap(pool: Weak<OriginPool>, mut expiry: Instant) {
    loop {
        tokio::time::sleep_until(expiry).await;
        let Some(pool) = pool.upgrade() else { return };
        let mut idle = lock(&pool.idle);
        idle.remove_expired(Instant::now(), pool.idle_timeout);
        let oldest = idle.connections.iter().map(|idle| idle.since).min();
        match oldest.and_then(|oldest| oldest.checked_add(pool.idle_timeout)) {
            Some(next) => expiry = next,
            None => {
                idle.reaper = None;
                return;
            }
        }
    }
}

const MAX_IDLE_PER_HOST: usize = 16;
/// Beyond this number, origins without connections are evicted, and any of them if that is not enough.
const MAX_ORIGINS: usize = 1024;
