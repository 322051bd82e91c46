use super::Flow;
use crate::access_token::Step;
use keybound_attestation::AttestationRequest;
use keybound_core::{AttestationToken, Error, ErrorKind, PlatformMetadata, Result, Stage};
use keybound_keys::BindingKey;
use std::sync::Arc;

impl Flow<'_> {
    /// Has the key attested. Asked for and not had is an error, never an unattested request.
    pub(super) async fn attest(
        &self,
        metadata: &PlatformMetadata,
        key: &Arc<dyn BindingKey>,
    ) -> Result<AttestationToken> {
        self.step(Step::Attestation, async {
            let Some(provider) = &self.shared.settings.attestation else {
                return Err(unavailable("nothing here can attest the binding key"));
            };
            if provider.is_simulated() != key.is_simulated() {
                return Err(unavailable("the attestation provider and the binding key are of different worlds, one simulated"));
            }
            let request = AttestationRequest::new(&metadata.attestation_endpoint, &**key, &metadata.client_id);
            provider.attest(request).await
        })
        .await
    }
}

fn unavailable(message: &'static str) -> Error {
    Error::new(
        ErrorKind::AttestationUnavailable,
        Stage::Attestation,
        message,
    )
}
