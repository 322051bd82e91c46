use super::Verifier;
use crate::keys::KeyRefresh;
use crate::{Authorization, Caller, ConnectionCertificate, Refusal};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;

impl Verifier {
    /// Like [`verify`](Self::verify), and fetches keys where it is needed: those that are due in the background; for a token with
    /// an unknown key, or without keys, it waits for them, for at most one second. It is used within a tokio runtime with time
    /// enabled.
    ///
    /// # Errors
    /// The response to send instead of the resource's.
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
                Box::pin(wait_for_keys(refusal)).await;
                self.verify(authorization, certificate)
            }
            decided => decided,
        }
    }

    /// Fetches the keys that are due, one issuer after the other: for the start of a program, before it accepts requests. Failures
    /// are logged; [`has_keys`](Self::has_keys) returns whether all keys are present.
    pub async fn fetch_due_keys(&self) {
        while let Some(refresh) = self.due_key_refresh() {
            // A task that panicked has failed.
            let _ = spawn(refresh).await;
        }
    }
}

/// Until the refresh ends, or for a time: while it runs, the last keys are used if there are any.
async fn wait_for_keys(mut refusal: Refusal) {
    if let Some(refresh) = refusal.take_key_refresh() {
        spawn(refresh);
    }
    let _ = tokio::time::timeout(MAX_WAIT, refusal.key_refresh_ended()).await;
}

/// A separate task: a request that is cancelled must not cancel the refresh.
fn spawn(refresh: KeyRefresh) -> JoinHandle<()> {
    tokio::spawn(async {
        if let Err(error) = refresh.run().await {
            let error: &dyn std::error::Error = &error;
            tracing::warn!(error, "the issuer's keys could not be refreshed");
        }
    })
}

const MAX_WAIT: Duration = Duration::from_secs(1);
