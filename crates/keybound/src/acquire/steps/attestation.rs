use crate::acquire::{ClientContext, Flow};
use crate::step::Step;
use keybound_attestation::AttestationRequest;
use keybound_core::{
    AttestationCacheKey, AttestationToken, Error, ErrorKind, Guid, PlatformMetadata, Result, Stage,
};
use keybound_keys::BindingKey;
use std::sync::Arc;
use url::Url;

impl Flow {
    /// The attestation token of the key, from the cache or the provider. Concurrent requests for the same key share one
    /// attestation. A failure is an error, never an unattested request.
    pub(in crate::acquire) async fn attest(
        &self,
        metadata: &PlatformMetadata,
        key: &Arc<dyn BindingKey>,
    ) -> Result<AttestationToken> {
        self.step(Step::Attestation, async {
            let attestations = &self.context.state.inner().attestations;
            let cache_key = AttestationCacheKey::new(&metadata.attestation_endpoint, key.id());
            if self.context.settings.attestation_cache
                && let Some(token) = attestations.get(&cache_key, self.context.now())
            {
                return Ok(token);
            }
            let endpoint = metadata.attestation_endpoint.clone();
            let client_id = metadata.client_id.clone();
            let (context, key) = (Arc::clone(&self.context), Arc::clone(key));
            let key_in_cache = cache_key.clone();
            let waiter = attestations.flights.join(&cache_key, move |_| {
                Box::pin(attest(
                    Arc::clone(&context),
                    key_in_cache.clone(),
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
    context: Arc<ClientContext>,
    cache_key: AttestationCacheKey,
    endpoint: Url,
    key: Arc<dyn BindingKey>,
    client_id: Guid,
) -> Result<AttestationToken> {
    let Some(attestor) = &context.settings.shared.attestation else {
        return Err(unavailable(
            "no attestation provider is configured on this platform",
        ));
    };
    let provider = attestor.provider();
    if provider.is_simulated() != key.is_simulated() {
        return Err(unavailable(
            "key and attestation provider must both be simulated, or neither",
        ));
    }
    let token = provider
        .attest(AttestationRequest::new(&endpoint, &*key, &client_id))
        .await?;
    if context.settings.attestation_cache {
        let attestations = &context.state.inner().attestations;
        attestations.put(cache_key, &token, context.now());
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
