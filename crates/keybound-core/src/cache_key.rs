use crate::{Attestation, KeyStrength, ManagedIdentity, Scope, TokenType};
use url::Url;

/// Everything that changes which certificate is answered, beside the host.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[expect(
    clippy::exhaustive_structs,
    reason = "a key names every input; a new input must break its makers"
)]
pub struct BindingCacheKey {
    /// Kind and id of the identity.
    pub identity: ManagedIdentity,
    /// Attested and unattested certificates never share an entry.
    pub attestation: Attestation,
}

/// Everything that changes which token is answered, beside the identity. An entry is a token with the certificate that it
/// was issued over, so that the two never part. Requests with claims are not cached.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[expect(
    clippy::exhaustive_structs,
    reason = "a key names every input; a new input must break its makers"
)]
pub struct TokenCacheKey {
    /// The scope.
    pub scope: Scope,
    /// Bound or bearer.
    pub token_type: TokenType,
    /// Attested or not.
    pub attestation: Attestation,
    /// The floor asked for.
    pub min_strength: KeyStrength,
}

/// Everything that changes which attestation token is answered.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AttestationCacheKey {
    endpoint: String,
    key_id: String,
}

impl AttestationCacheKey {
    /// The key's id.
    pub fn key_id(&self) -> &str {
        &self.key_id
    }

    /// The endpoint counts in lower case and without a trailing slash.
    pub fn new(endpoint: &Url, key_id: &str) -> Self {
        Self {
            endpoint: endpoint.as_str().trim_end_matches('/').to_ascii_lowercase(),
            key_id: key_id.to_owned(),
        }
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
    fn attestation_endpoint_counts_without_case_and_slash() {
        let key = |url: &str| AttestationCacheKey::new(&Url::parse(url).unwrap(), "k");
        assert_eq!(key("https://MAA.example/"), key("https://maa.example"));
        assert_ne!(key("https://maa.example/a"), key("https://maa.example"));
    }
}
