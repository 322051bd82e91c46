use super::key::sign;
use crate::acquire::Flow;
use crate::step::Step;
use keybound_core::csr::{Csr, UnsignedCsr};
use keybound_core::{PlatformMetadata, Result};
use keybound_keys::{BindingKey, SignatureScheme};
use std::sync::Arc;

impl Flow {
    /// Encodes and signs the certificate signing request, and verifies the signature: IMDS rejects an invalid one with a 400
    /// that does not say why.
    pub(in crate::acquire) async fn signing_request(
        &self,
        metadata: &PlatformMetadata,
        key: &Arc<dyn BindingKey>,
    ) -> Result<Csr> {
        self.step(Step::Csr, async {
            let unsigned = UnsignedCsr::new(
                &metadata.client_id,
                &metadata.tenant_id,
                &metadata.cu_id,
                key.public_key_der(),
            )?;
            let digest = unsigned.digest();
            let signature = sign(key, SignatureScheme::PssSha256, digest).await?;
            unsigned.finish(&signature)
        })
        .await
    }
}
