use super::key::sign;
use crate::access_token::Step;
use crate::acquire::Flow;
use keybound_core::csr::{Csr, UnsignedCsr};
use keybound_core::{PlatformMetadata, Result};
use keybound_keys::{BindingKey, SignatureScheme};
use std::sync::Arc;

impl Flow {
    /// Assembles and signs the request, and verifies it before anyone sees it: IMDS answers a broken one with a bare
    /// 400.
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
