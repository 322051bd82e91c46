use keybound_core::{Claims, KeyStrength, Result, Scope, TokenType};
use std::time::Duration;

/// What the caller wants of the binding key and its certificate.
///
/// The default floor is [`KeyStrength::KeyGuard`]. A floor never lowers what the host offers: the best key is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pop {
    pub(crate) attested: bool,
    pub(crate) min_strength: KeyStrength,
}

impl Pop {
    /// The attestation service vouches for the key before IMDS certifies it.
    pub fn attested() -> Self {
        Self {
            attested: true,
            min_strength: KeyStrength::KeyGuard,
        }
    }

    /// Without attestation, where IMDS allows it.
    pub fn unattested() -> Self {
        Self {
            attested: false,
            min_strength: KeyStrength::KeyGuard,
        }
    }

    /// Sets the floor below which no key is used.
    #[must_use]
    pub fn min_strength(mut self, floor: KeyStrength) -> Self {
        self.min_strength = floor;
        self
    }
}

/// A request for an access token. Cloning is cheap; make one for each resource and keep it.
#[derive(Clone, Debug)]
pub struct TokenRequest {
    pub(crate) scope: Result<Scope>,
    pub(crate) kind: Option<(TokenType, Pop)>,
    pub(crate) claims: Option<Claims>,
    pub(crate) force_refresh: bool,
    pub(crate) timeout: Duration,
}

impl TokenRequest {
    /// A request for a token to a resource (`https://vault.azure.net`) or its `/.default` scope. Say next which kind of
    /// token: [`proof_of_possession`](Self::proof_of_possession) or [`bearer_over_mtls`](Self::bearer_over_mtls).
    pub fn new(resource: impl AsRef<str>) -> Self {
        Self {
            scope: Scope::for_resource(resource.as_ref()),
            kind: None,
            claims: None,
            force_refresh: false,
            timeout: DEFAULT_TIMEOUT,
        }
    }

    /// A token bound to the certificate (`mtls_pop`).
    #[must_use]
    pub fn proof_of_possession(mut self, pop: Pop) -> Self {
        self.kind = Some((TokenType::MtlsPop, pop));
        self
    }

    /// An ordinary bearer token, got over the same mutual TLS: for resources that take no bound tokens. Whoever holds
    /// it can use it.
    #[must_use]
    pub fn bearer_over_mtls(mut self, certificate: Pop) -> Self {
        self.kind = Some((TokenType::Bearer, certificate));
        self
    }

    /// The claims of a resource's challenge. A fresh certificate is minted first, and the token is not cached.
    #[must_use]
    pub fn claims(mut self, claims: Claims) -> Self {
        self.claims = Some(claims);
        self
    }

    /// Asks for a new token although one is cached. The certificate stays. Default: false.
    #[must_use]
    pub fn force_refresh(mut self, force: bool) -> Self {
        self.force_refresh = force;
        self
    }

    /// How long the whole acquisition may take. Default: 60 s.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }
}

const DEFAULT_TIMEOUT: Duration = Duration::from_secs(60);
