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
    /// `None`: without a certificate; for a managed identity, from the host's source.
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

    /// A bearer token without a certificate, for a resource that accepts no bound tokens, or on a host without IMDS v2. Anyone who
    /// holds it can use it. It is from the managed identity source of this host (v1):
    /// [`ManagedIdentitySource`](crate::ManagedIdentitySource). For an app registration, Entra issues it in exchange for an assertion
    /// that is not bound either.
    ///
    /// The resource is sent as it is, but for one `/.default` at its end: it becomes the token's audience, and a trailing slash
    /// counts. For an app registration, it is sent as a scope: `https://database.windows.net/` as
    /// `https://database.windows.net//.default`, of which Entra removes `/.default` again.
    ///
    /// With claims, a new token is requested. A source does not receive them, and its token replaces the cached one; Service Fabric
    /// receives the hash of the cached token. For an app registration they are sent to Entra, and the token is not cached.
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

    /// The claims of a resource's challenge. A new certificate is minted first, and the token is not cached. A token of
    /// [`bearer`](Self::bearer) is without a certificate, and if a source issues it, it replaces the cached one.
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
