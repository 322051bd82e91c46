use crate::TokenVersion;
use keybound_core::{Guid, X5tS256};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Who sent a request: claims of a token whose signature and binding were verified. It does not contain the token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    pub(crate) tenant: Guid,
    pub(crate) client: Box<str>,
    pub(crate) object: Option<Guid>,
    pub(crate) roles: Box<[Box<str>]>,
    pub(crate) scopes: Box<str>,
    pub(crate) token_id: Option<Box<str>>,
    pub(crate) resource_id: Option<Box<str>>,
    pub(crate) app_only: bool,
    pub(crate) is_user: bool,
    pub(crate) supports_claims_challenges: bool,
    pub(crate) version: TokenVersion,
    pub(crate) audience: Box<str>,
    pub(crate) issued_at: Option<i64>,
    pub(crate) not_before: Option<i64>,
    pub(crate) expires: i64,
    pub(crate) thumbprint: X5tS256,
}

impl Caller {
    /// The tenant of the caller, the claim `tid`.
    pub fn tenant(&self) -> &Guid {
        &self.tenant
    }

    /// The client id: the claim `appid` of version 1, `azp` of version 2.
    pub fn client(&self) -> &str {
        &self.client
    }

    /// The object id of the caller's service principal or user, the claim `oid`. With the tenant, it identifies the caller.
    pub fn object(&self) -> Option<&Guid> {
        self.object.as_ref()
    }

    /// The roles that were assigned to the caller.
    pub fn roles(&self) -> impl Iterator<Item = &str> {
        self.roles.iter().map(|role| &**role)
    }

    /// Whether the caller has a role. Roles are compared exactly.
    pub fn has_role(&self, role: &str) -> bool {
        self.roles().any(|assigned| assigned == role)
    }

    /// The scopes that a user has granted, the claim `scp`. Empty for an application.
    pub fn scopes(&self) -> impl Iterator<Item = &str> {
        self.scopes.split(' ').filter(|scope| !scope.is_empty())
    }

    /// Whether a user has granted a scope. Scopes are compared exactly.
    pub fn has_scope(&self, scope: &str) -> bool {
        self.scopes().any(|granted| granted == scope)
    }

    /// The id of the token, the claim `uti`, by which Entra's sign-in logs name it.
    pub fn token_id(&self) -> Option<&str> {
        self.token_id.as_deref()
    }

    /// The Azure resource of a managed identity, the claim `xms_mirid`.
    pub fn resource_id(&self) -> Option<&str> {
        self.resource_id.as_deref()
    }

    /// Whether the token was issued to an application on its own behalf: `idtyp` is `app`, or the token has roles and no scopes.
    pub fn is_app_only(&self) -> bool {
        self.app_only
    }

    /// Whether the token was issued to an application for a user: it has scopes, or `idtyp` is not `app`. A token without `idtyp`, roles
    /// and scopes is neither a user's nor certainly an application's.
    pub fn is_user(&self) -> bool {
        self.is_user
    }

    /// Whether the client supports claims challenges (`xms_cc` contains `cp1`).
    pub fn supports_claims_challenges(&self) -> bool {
        self.supports_claims_challenges
    }

    /// The version of the token.
    pub fn version(&self) -> TokenVersion {
        self.version
    }

    /// The accepted audience that the token names.
    pub fn audience(&self) -> &str {
        &self.audience
    }

    /// When the token was issued.
    pub fn issued_at(&self) -> Option<SystemTime> {
        self.issued_at.map(time)
    }

    /// When the token expires.
    pub fn expires(&self) -> SystemTime {
        time(self.expires)
    }

    /// The thumbprint of the client certificate, to which the token is bound.
    pub fn thumbprint(&self) -> &X5tS256 {
        &self.thumbprint
    }

    /// About how much memory it occupies, in bytes.
    pub(crate) fn size(&self) -> usize {
        let roles: usize = self.roles.iter().map(|role| role.len() + 16).sum();
        let texts = [self.token_id.as_deref(), self.resource_id.as_deref()];
        let texts: usize = texts.into_iter().flatten().map(str::len).sum();
        size_of::<Self>()
            + self.client.len()
            + self.scopes.len()
            + self.audience.len()
            + roles
            + texts
            + 128
    }
}

/// The claim is not negative.
fn time(seconds: i64) -> SystemTime {
    let time = UNIX_EPOCH.checked_add(Duration::from_secs(seconds.unsigned_abs()));
    // Later than the platform can represent.
    time.unwrap_or(UNIX_EPOCH + Duration::from_secs(MAX_TIME))
}

/// In seconds: the end of the year 9999.
const MAX_TIME: u64 = 253_402_300_799;
