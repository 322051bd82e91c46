use keybound_core::{Claims, KeyStrength, Result, Scope, TokenType};
use std::time::Duration;

/// The requirements of a token request on the binding key and its certificate.
///
/// The default minimum strength is [`KeyStrength::KeyGuard`]. A lower minimum does not select a weaker key: the best key of
/// the host is always used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyRequirements {
    pub(crate) attested: bool,
    pub(crate) min_strength: KeyStrength,
}

impl KeyRequirements {
    /// The key is attested before IMDS issues the certificate.
    pub fn attested() -> Self {
        Self {
            attested: true,
            min_strength: KeyStrength::KeyGuard,
        }
    }

    /// The key is not attested; IMDS may reject the request.
    pub fn unattested() -> Self {
        Self {
            attested: false,
            min_strength: KeyStrength::KeyGuard,
        }
    }

    /// Sets the minimum key strength. A weaker key is an error
    /// ([`KeyTooWeak`](crate::ErrorKind::KeyTooWeak)).
    #[must_use]
    pub fn min_strength(mut self, strength: KeyStrength) -> Self {
        self.min_strength = strength;
        self
    }
}

/// A request for an access token. Cloning is cheap; create one for each resource and reuse it.
#[derive(Clone, Debug)]
pub struct TokenRequest {
    pub(crate) scope: Result<Scope>,
    pub(crate) token_type: TokenType,
    /// `None`: from the host's managed identity source, without a certificate.
    pub(crate) requirements: Option<KeyRequirements>,
    pub(crate) claims: Option<Claims>,
    pub(crate) force_refresh: bool,
    pub(crate) timeout: Duration,
}

impl TokenRequest {
    /// A token that is bound to the certificate (`mtls_pop`), for a resource (`https://vault.azure.net`) or its `/.default`
    /// scope. A malformed resource is an error of the call that sends the request.
    pub fn pop(resource: impl AsRef<str>, requirements: KeyRequirements) -> Self {
        let scope = Scope::for_resource(resource.as_ref());
        Self::new(TokenType::MtlsPop, scope, Some(requirements))
    }

    /// A bearer token from the managed identity source of this host (v1), for a resource that accepts no bound tokens, or on a
    /// host without IMDS v2: [`ManagedIdentitySource`](crate::ManagedIdentitySource). Anyone who holds it can use it.
    ///
    /// The resource is sent as it is, but for one `/.default` at its end: it becomes the token's audience, and a trailing slash
    /// counts. With claims, a new token is requested and replaces the cached one; the claims are not sent. Service Fabric also
    /// receives the hash of the cached token.
    pub fn bearer(resource: impl AsRef<str>) -> Self {
        Self::new(TokenType::Bearer, Scope::verbatim(resource.as_ref()), None)
    }

    /// A bearer token, which is requested over the same mutual TLS as a bound one, for a resource that accepts no bound tokens.
    /// Anyone who holds it can use it.
    pub fn bearer_over_mtls(resource: impl AsRef<str>, requirements: KeyRequirements) -> Self {
        let scope = Scope::for_resource(resource.as_ref());
        Self::new(TokenType::Bearer, scope, Some(requirements))
    }

    fn new(
        token_type: TokenType,
        scope: Result<Scope>,
        requirements: Option<KeyRequirements>,
    ) -> Self {
        Self {
            scope,
            token_type,
            requirements,
            claims: None,
            force_refresh: false,
            timeout: DEFAULT_TIMEOUT,
        }
    }

    /// The claims of a resource's challenge. A new certificate is minted first, and the token is not cached; a token of
    /// [`bearer`](Self::bearer) replaces the cached one.
    #[must_use]
    pub fn claims(mut self, claims: Claims) -> Self {
        self.claims = Some(claims);
        self
    }

    /// Whether a new token is fetched although one is cached. The certificate is reused. Default: false.
    #[must_use]
    pub fn force_refresh(mut self, force: bool) -> Self {
        self.force_refresh = force;
        self
    }

    /// The timeout of the whole acquisition. Default: 60 s.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }
}

const DEFAULT_TIMEOUT: Duration = Duration::from_secs(60);
