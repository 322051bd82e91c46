use keybound::http::BoundClient;
use keybound::{Attestation, Binding, Certificate};

/// A certificate with its key, wherever both come from.
pub(crate) trait CertificateIdentity: Send + Sync {
    fn certificate(&self) -> &Certificate;

    /// The client whose connections present it.
    fn bound_client(&self) -> BoundClient;

    /// The client id of the identity; `""` if it is not known.
    fn client_id(&self) -> &str;

    /// The tenant id of the identity; `""` if it is not known.
    fn tenant_id(&self) -> &str;

    fn key_strength(&self) -> &'static str;

    /// The name of the key in the key store of the host; `""` if there is none.
    fn key_name(&self) -> &str;

    /// Where the certificate is stored; `""` if it is in memory only.
    fn store_path(&self) -> String;

    fn is_attested(&self) -> bool {
        false
    }

    fn is_simulated(&self) -> bool {
        false
    }
}

/// A certificate that IMDS issued.
impl CertificateIdentity for Binding {
    fn certificate(&self) -> &Certificate {
        self.certificate()
    }

    fn bound_client(&self) -> BoundClient {
        self.client()
    }

    fn client_id(&self) -> &str {
        self.client_id().as_str()
    }

    fn tenant_id(&self) -> &str {
        self.tenant_id().as_str()
    }

    fn key_strength(&self) -> &'static str {
        self.key_strength_label()
    }

    fn key_name(&self) -> &str {
        self.key().persistent_name().unwrap_or_default()
    }

    fn store_path(&self) -> String {
        let is_stored = cfg!(windows) && self.key().persistent_name().is_some();
        String::from(if is_stored { "CurrentUser/My" } else { "" })
    }

    fn is_attested(&self) -> bool {
        self.attestation() != Attestation::None
    }

    fn is_simulated(&self) -> bool {
        self.is_simulated()
    }
}
