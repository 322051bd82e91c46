use crate::access_token::Step;
use crate::acquire::ClientContext;
use crate::acquire::Flow;
use keybound_attestation::AttestationRequest;
use keybound_core::{
    AttestationCacheKey, AttestationToken, Error, ErrorKind, Guid, PlatformMetadata, Result, Stage,
};
use keybound_keys::BindingKey;
use std::sync::Arc;
use url::Url;

impl Flow {
    /// Has the key attested, once for all who want it. Asked for and not had is an error, never an unattested request.
    pub(in crate::acquire) async fn attest(
        &self,
        metadata: &PlatformMetadata,
        key: &Arc<dyn BindingKey>,
    ) -> Result<AttestationToken> {
        self.step(Step::Attestation, async {
            let attestations = &self.shared.state.inner().attestations;
            let cache_key = AttestationCacheKey::new(&metadata.attestation_endpoint, key.id());
            if self.shared.settings.attestation_cache
                && let Some(token) = attestations.get(&cache_key, self.shared.now())
            {
                return Ok(token);
            }
            let endpoint = metadata.attestation_endpoint.clone();
            let client_id = metadata.client_id.clone();
            let (shared, key, kept_as) =
                (Arc::clone(&self.shared), Arc::clone(key), cache_key.clone());
            let waiter = attestations.flights.join(&cache_key, move |_| {
                Box::pin(attest(
                    Arc::clone(&shared),
                    kept_as.clone(),
                    endpoint.clone(),
                    Arc::clone(&key),
                    client_id.clone(),
                ))
            });
            waiter.work.await
        })
        .await
    }
}

async fn attest(
    shared: Arc<ClientContext>,
    cache_key: AttestationCacheKey,
    endpoint: Url,
    key: Arc<dyn BindingKey>,
    client_id: Guid,
) -> Result<AttestationToken> {
    let Some(attestor) = &shared.settings.attestation else {
        return Err(unavailable(
            "no attestation provider is configured on this platform",
        ));
    };
    let provider = attestor.provider();
    if provider.is_simulated() != key.is_simulated() {
        return Err(unavailable(
            "a simulated key needs a simulated attestation provider, and no other key does",
        ));
    }
    let token = provider
        .attest(AttestationRequest::new(&endpoint, &*key, &client_id))
        .await?;
    if shared.settings.attestation_cache {
        let attestations = &shared.state.inner().attestations;
        attestations.put(cache_key, &token, shared.now());
    }
    Ok(token)
}

fn unavailable(message: &'static str) -> Error {
    Error::new(
        ErrorKind::AttestationUnavailable,
        Stage::Attestation,
        message,
    )
}
