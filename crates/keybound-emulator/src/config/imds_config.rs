use super::ConfigError;
use super::lifetime::{DAY, YEAR, check_lifetime};
use serde::Deserialize;

/// IMDS: the ids of the host and how requests are checked.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct ImdsConfig {
    /// The id of the virtual machine. Empty: omitted from the metadata.
    pub vm_id: String,
    /// The id of the scale set. Empty: an empty member, as on some hosts; a CSR that contains it is rejected.
    /// Absent: omitted from the metadata.
    pub vmss_id: Option<String>,
    /// Whether IMDS requires attestation of the key.
    pub attestation: AttestationRule,
    /// Also accepts the signing requests of the Python implementation: CN first, as UTF8String, hash identifiers with NULL parameters.
    pub lenient_csr: bool,
    /// Lifetime of the certificates, in seconds: 1 minute to 1 year. Default: 7 days.
    pub certificate_lifetime_seconds: u32,
    /// The time from the issue of a certificate to its `token_not_after`, in seconds: at least 1 minute, shorter than
    /// `certificate_lifetime_seconds`. Later Entra responds with AADSTS1000901. Default: absent; certificates have no such
    /// extension, and Entra accepts them until they expire.
    pub token_not_after_seconds: Option<u32>,
    /// How `token_not_after` is encoded. Default: a GeneralizedTime in a SEQUENCE.
    pub token_not_after_encoding: TokenNotAfterEncoding,
    /// The handling of `bypass_cache=true`.
    pub bypass_cache: BypassCache,
    /// The member of the response that contains the URL of the token endpoint.
    pub token_url: TokenUrlMember,
}

impl ImdsConfig {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let ids = [Some(&self.vm_id), self.vmss_id.as_ref()];
        if ids.iter().flatten().all(|id| id.is_empty()) {
            return Err(ConfigError::new("imds: vm_id or vmss_id is required"));
        }
        for id in ids.iter().flatten() {
            if id.len() > 128 || id.contains(char::is_control) {
                return Err(ConfigError::new(
                    "imds: vm_id and vmss_id have at most 128 characters and no control characters",
                ));
            }
        }
        let life = self.certificate_lifetime_seconds;
        check_lifetime("imds.certificate_lifetime_seconds", life, YEAR)?;
        match self.token_not_after_seconds {
            Some(seconds) => check_lifetime("imds.token_not_after_seconds", seconds, life - 1),
            None => Ok(()),
        }
    }
}

impl Default for ImdsConfig {
    fn default() -> Self {
        Self {
            vm_id: "5a5a5a5a-0000-4000-8000-0000000000e1".into(),
            vmss_id: None,
            attestation: AttestationRule::Required,
            lenient_csr: false,
            certificate_lifetime_seconds: 7 * DAY,
            token_not_after_seconds: None,
            token_not_after_encoding: TokenNotAfterEncoding::GeneralizedTimeInSequence,
            bypass_cache: BypassCache::Supported,
            token_url: TokenUrlMember::None,
        }
    }
}

/// Whether IMDS requires attestation of the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum AttestationRule {
    /// A request without an attestation token is rejected.
    Required,
    /// A request without an attestation token is accepted; an invalid token is rejected nevertheless.
    Optional,
}

/// How the extension `token_not_after` is encoded (DER).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum TokenNotAfterEncoding {
    /// A GeneralizedTime.
    GeneralizedTime,
    /// A GeneralizedTime in a SEQUENCE.
    GeneralizedTimeInSequence,
    /// A UTCTime; from 2050 on a GeneralizedTime.
    UtcTime,
    /// A UTCTime in a SEQUENCE; from 2050 on a GeneralizedTime.
    UtcTimeInSequence,
}

/// The handling of `bypass_cache=true`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum BypassCache {
    /// IMDS issues a new certificate.
    Supported,
    /// IMDS responds with 400, as for every unknown parameter.
    Refused,
    /// The parameter is ignored.
    Ignored,
}

/// The member of the response of IMDS that contains the URL of the token endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum TokenUrlMember {
    /// None: clients build the URL from origin and tenant.
    None,
    /// `token_endpoint`.
    TokenEndpoint,
    /// `regional_token_url`.
    RegionalTokenUrl,
}
