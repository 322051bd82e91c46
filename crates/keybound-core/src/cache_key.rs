use crate::{Attestation, KeyStrength, ManagedIdentity, Scope, TokenType};
use url::Url;

/// The cache key of a certificate: all that distinguishes it from others of the same host.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[expect(
    clippy::exhaustive_structs,
    reason = "all inputs are part of the key; a new one must break its users"
)]
pub struct BindingCacheKey {
    /// The identity.
    pub identity: ManagedIdentity,
    /// Whether the key is attested: attested and unattested certificates never share an entry.
    pub attestation: Attestation,
}

/// The cache key of a token: all that distinguishes it from others of the same identity. An entry holds the token and the
/// certificate with which it was requested. Requests with claims are not cached.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[expect(
    clippy::exhaustive_structs,
    reason = "all inputs are part of the key; a new one must break its users"
)]
pub struct TokenCacheKey {
    /// The scope.
    pub scope: Scope,
    /// Bound or bearer.
    pub token_type: TokenType,
    /// Whether it is requested over mutual TLS with a certificate. Otherwise it is a bearer token of the host's source, and the
    /// requirements on the key have no effect.
    pub over_mtls: bool,
    /// Whether the key is attested.
    pub attestation: Attestation,
    /// The minimum key strength.
    pub min_strength: KeyStrength,
}

/// The cache key of an attestation token.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AttestationCacheKey {
    endpoint: String,
    key_id: String,
}

impl AttestationCacheKey {
    /// The key for an endpoint and a binding key. Case and a trailing slash of the endpoint are ignored.
    pub fn new(endpoint: &Url, key_id: &str) -> Self {
        Self {
            endpoint: endpoint.as_str().trim_end_matches('/').to_ascii_lowercase(),
            key_id: key_id.to_owned(),
        }
    }

    /// The id of the binding key.
    pub fn key_id(&self) -> &str {
        &self.key_id
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attested_or_error_never_shares_an_entry() {
        let key = |attestation| BindingCacheKey {
            identity: ManagedIdentity::system_assigned(),
            attestation,
        };
        assert_ne!(key(Attestation::None), key(Attestation::Attested));
        assert_ne!(key(Attestation::Simulated), key(Attestation::Attested));
    }

    #[test]
    fn ignores_case_and_trailing_slash_of_attestation_endpoint() {
        let key = |url: &str| AttestationCacheKey::new(&Url::parse(url).unwrap(), "k");
        assert_eq!(key("https://MAA.example/"), key("https://maa.example"));
        assert_ne!(key("https://maa.example/a"), key("https://maa.example"));
    }
}
