//! Callers for the tests of a program's handlers, without tokens and keys. Enable the feature `test-util` in `dev-dependencies` only: a
//! [`Caller`] that was made here was not verified.
use crate::{Caller, TokenVersion};
use keybound_core::{Guid, X5tS256};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

/// Makes a [`Caller`]. What is not set is absent or empty.
///
/// ```
/// use keybound_resource::Guid;
/// use keybound_resource::test_util::TestCaller;
///
/// let tenant = Guid::parse("72f988bf-86f1-41af-91ab-2d7cd011db47").unwrap();
/// let caller = TestCaller::application(tenant, "b1a7c2f0-5c0e-4f6b-9d43-0d7a5f1f2c11")
///     .roles(["Orders.Read.All"])
///     .build();
/// assert!(caller.has_role("Orders.Read.All"));
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct TestCaller(Caller);

impl TestCaller {
    /// An application on its own behalf.
    pub fn application(tenant: Guid, client: &str) -> Self {
        Self(Caller {
            tenant,
            client: client.into(),
            object: None,
            roles: Box::default(),
            scopes: Box::default(),
            token_id: None,
            resource_id: None,
            app_only: true,
            is_user: false,
            supports_claims_challenges: false,
            version: TokenVersion::V2,
            audience: Box::default(),
            issued_at: None,
            not_before: None,
            expires: i64::MAX,
            thumbprint: X5tS256::of_der(b"certificate"),
        })
    }

    /// An application for a user who has granted it scopes.
    pub fn user<'a>(tenant: Guid, client: &str, scopes: impl IntoIterator<Item = &'a str>) -> Self {
        let mut user = Self::application(tenant, client);
        let scopes: Vec<&str> = scopes.into_iter().collect();
        user.0.scopes = scopes.join(" ").into();
        (user.0.app_only, user.0.is_user) = (false, true);
        user
    }

    /// The roles that were assigned to the caller.
    pub fn roles<'a>(mut self, roles: impl IntoIterator<Item = &'a str>) -> Self {
        self.0.roles = roles.into_iter().map(Into::into).collect();
        self
    }

    /// The object id of the service principal or user.
    pub fn object(mut self, object: Guid) -> Self {
        self.0.object = Some(object);
        self
    }

    /// The id of the token.
    pub fn token_id(mut self, id: &str) -> Self {
        self.0.token_id = Some(id.into());
        self
    }

    /// The Azure resource of a managed identity.
    pub fn resource_id(mut self, id: &str) -> Self {
        self.0.resource_id = Some(id.into());
        self
    }

    /// Whether the client supports claims challenges. Default: no.
    pub fn supports_claims_challenges(mut self, supported: bool) -> Self {
        self.0.supports_claims_challenges = supported;
        self
    }

    /// The version of the token. Default: version 2.
    pub fn version(mut self, version: TokenVersion) -> Self {
        self.0.version = version;
        self
    }

    /// The audience that the token names.
    pub fn audience(mut self, audience: &str) -> Self {
        self.0.audience = audience.into();
        self
    }

    /// When the token was issued.
    pub fn issued_at(mut self, time: SystemTime) -> Self {
        self.0.issued_at = Some(seconds(time));
        self
    }

    /// When the token expires. Default: at the end of the year 9999.
    pub fn expires(mut self, time: SystemTime) -> Self {
        self.0.expires = seconds(time);
        self
    }

    /// The thumbprint of the client certificate. Default: one of no certificate.
    pub fn thumbprint(mut self, thumbprint: X5tS256) -> Self {
        self.0.thumbprint = thumbprint;
        self
    }

    /// The caller, as it is in the extensions of a request and in an extractor.
    #[must_use]
    pub fn build(self) -> Arc<Caller> {
        Arc::new(self.0)
    }
}

/// A time before 1970 is 0.
fn seconds(time: SystemTime) -> i64 {
    let duration = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
}
