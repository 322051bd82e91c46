use super::LoadedTls;
use crate::{ConfigError, TlsConfig};
use keybound_core::X5tS256;
use keybound_resource::source::TrustedPeers;
use std::sync::Arc;
use tokio::sync::watch;

/// TLS for new connections, and which proxies may connect. A reload replaces it.
#[derive(Clone)]
pub(crate) struct CurrentTls(watch::Sender<Arc<LoadedTls>>);

impl CurrentTls {
    pub(crate) fn read(config: &TlsConfig) -> Result<Self, ConfigError> {
        let loaded = Arc::new(LoadedTls::read(config)?);
        Ok(Self(watch::Sender::new(loaded)))
    }

    /// Connections of proxies whose certificate is no longer pinned are closed.
    pub(crate) fn replace(&self, loaded: LoadedTls) {
        self.0.send_replace(Arc::new(loaded));
    }

    /// Those who can connect now.
    pub(crate) fn trusted(&self) -> TrustedPeers {
        TrustedPeers::certificates(self.0.borrow().pinned.clone())
    }

    pub(super) fn load(&self) -> Arc<LoadedTls> {
        Arc::clone(&self.0.borrow())
    }

    pub(super) fn admission(&self, thumbprint: X5tS256) -> Admission {
        Admission::Pinned(self.0.subscribe(), thumbprint)
    }
}

/// How long a peer may remain connected.
pub(crate) enum Admission {
    /// As long as it wants to.
    Unlimited,
    /// As long as its certificate is pinned.
    Pinned(watch::Receiver<Arc<LoadedTls>>, X5tS256),
}

impl Admission {
    /// Returns when the peer may not remain connected.
    pub(crate) async fn ended(&mut self) {
        if let Self::Pinned(tls, thumbprint) = self
            && tls.wait_for(|tls| !tls.is_pinned(thumbprint)).await.is_ok()
        {
            return;
        }
        // Also without a sender: nothing changes any more.
        std::future::pending().await
    }
}
