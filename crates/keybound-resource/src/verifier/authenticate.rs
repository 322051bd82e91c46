use super::Verifier;
use crate::keys::KeyRefresh;
use crate::{Authorization, Caller, ConnectionCertificate, Reason, Refusal};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::{JoinHandle, JoinSet};

impl Verifier {
    /// Like [`verify`](Self::verify), and fetches keys where it is needed: those that are due in the background; for a token with
    /// an unknown key, without keys, or with keys that were not refreshed for two hours (those of a file: two minutes), it waits for them,
    /// for at most one second. If the refresh fails or takes longer, the last keys are used. It is used within a tokio runtime with
    /// time enabled.
    ///
    /// # Errors
    /// The response to send instead of the resource's.
    ///
    /// # Panics
    /// Outside of a tokio runtime, if keys are due.
    pub async fn authenticate<'a>(
        &self,
        authorization: impl Into<Authorization<'a>>,
        certificate: impl Into<ConnectionCertificate<'a>>,
    ) -> Result<Arc<Caller>, Refusal> {
        let (authorization, certificate) = (authorization.into(), certificate.into());
        if let Some(refresh) = self.due_key_refresh() {
            spawn(refresh);
        }
        match self.verify(authorization, certificate) {
            Err(refusal) if refusal.waits_for_keys() => {
                // Rare: the future of each request would have room for it.
                Box::pin(self.wait_for_keys(refusal)).await;
                self.verify(authorization, certificate)
            }
            decided => decided,
        }
    }

    /// Fetches the keys that are due, each issuer's once and some concurrently: for the start of a program, before it accepts requests.
    /// Keys that another task fetches already are waited for. Failures are logged; [`has_keys`](Self::has_keys) returns whether the
    /// verifier is ready then.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub async fn fetch_due_keys(&self) {
        let mut due = self.0.keys.all_due().into_iter();
        let mut running = JoinSet::new();
        loop {
            while running.len() < MAX_FETCHES
                && let Some(keys) = due.next()
            {
                let running_before = keys.schedule().lock().running();
                let refresh = self.0.keys.refresh_due(&keys).map(spawn);
                running.spawn(async move {
                    match (refresh, running_before) {
                        // A task that panicked has failed.
                        (Some(refresh), _) => drop(refresh.await),
                        (None, Some(mut running)) => running.ended().await,
                        (None, None) => {}
                    }
                });
            }
            if running.join_next().await.is_none() {
                return;
            }
        }
    }

    /// Until the refresh ends, or for a time: of the requests during one refresh, the later ones then use the last keys at once.
    async fn wait_for_keys(&self, mut refusal: Refusal) {
        if let Some(refresh) = refusal.take_key_refresh() {
            spawn(refresh);
        }
        let ended = tokio::time::timeout(MAX_WAIT, refusal.key_refresh_ended()).await;
        if ended.is_err() && refusal.reason() == Reason::KeysUnavailable {
            refusal.set_key_refresh_slow();
        }
    }
}

/// A separate task: a request that is cancelled must not cancel the refresh.
fn spawn(refresh: KeyRefresh) -> JoinHandle<()> {
    tokio::spawn(async {
        // Its result is in the status of the keys, and is logged there, also of one that is dropped.
        let _ = tokio::time::timeout(MAX_REFRESH, refresh.run()).await;
    })
}

/// For a fetcher without a limit of time.
const MAX_REFRESH: Duration = Duration::from_secs(30);
const MAX_WAIT: Duration = Duration::from_secs(1);
/// Issuers whose keys are fetched at a time.
const MAX_FETCHES: usize = 16;
