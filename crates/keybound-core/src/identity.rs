use crate::text::is_unprintable;
use crate::{Error, Guid, MAX_TEXT, Result};
use std::fmt;
use std::hash::{Hash, Hasher};

/// A managed identity of the host. The case of ids that are GUIDs is ignored.
#[derive(Clone)]
pub struct ManagedIdentity {
    kind: IdentityKind,
    id: Option<String>,
    /// The id in its original case.
    configured: Option<String>,
}

/// How an identity is selected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(clippy::exhaustive_enums, reason = "IMDS supports these four")]
pub enum IdentityKind {
    /// The identity that belongs to the host.
    SystemAssigned,
    /// A user-assigned identity by its client id (a GUID).
    ClientId,
    /// A user-assigned identity by its object id (a GUID).
    ObjectId,
    /// A user-assigned identity by its Azure resource id.
    ResourceId,
}

impl ManagedIdentity {
    /// The identity that belongs to the host.
    ///
    /// The request names no identity, and the source chooses: IMDS is documented to use the user-assigned identity of a virtual
    /// machine that has exactly one and no system-assigned identity. Programs that must not use another identity name it. Any
    /// other source that returns a plain bearer token of a user-assigned identity is an error
    /// ([`ErrorKind::IdentityMismatch`](crate::ErrorKind::IdentityMismatch)).
    pub fn system_assigned() -> Self {
        Self {
            kind: IdentityKind::SystemAssigned,
            id: None,
            configured: None,
        }
    }

    /// A user-assigned identity by its client id.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidRequest`](crate::ErrorKind::InvalidRequest) if `id` is not a GUID.
    pub fn client_id(id: &str) -> Result<Self> {
        Self::guid(
            IdentityKind::ClientId,
            id,
            "the client id of an identity is a GUID",
        )
    }

    /// As [`client_id`](Self::client_id), for an id that is a GUID.
    pub(crate) fn from_client_id(id: &Guid) -> Self {
        Self {
            kind: IdentityKind::ClientId,
            id: Some(id.as_str().to_ascii_lowercase()),
            configured: Some(id.as_str().to_owned()),
        }
    }

    /// A user-assigned identity by its object id.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidRequest`](crate::ErrorKind::InvalidRequest) if `id` is not a GUID.
    pub fn object_id(id: &str) -> Result<Self> {
        Self::guid(
            IdentityKind::ObjectId,
            id,
            "the object id of an identity is a GUID",
        )
    }

    /// A user-assigned identity by its resource id,
    /// `/subscriptions/…/resourceGroups/…/providers/Microsoft.ManagedIdentity/userAssignedIdentities/…`.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidRequest`](crate::ErrorKind::InvalidRequest) if `id` does not begin with a slash, is only a
    /// slash, is longer than 2048 bytes, or contains characters that are not printable.
    pub fn resource_id(id: &str) -> Result<Self> {
        let is_path = id.starts_with('/') && id.len() > 1;
        if !is_path || id.len() > MAX_TEXT || id.chars().any(is_unprintable) {
            return Err(Error::invalid_request(
                "the resource id of an identity is one line of text that begins with /subscriptions/",
            ));
        }
        Ok(Self {
            kind: IdentityKind::ResourceId,
            id: Some(id.to_owned()),
            configured: Some(id.to_owned()),
        })
    }

    /// How it is selected.
    pub fn kind(&self) -> IdentityKind {
        self.kind
    }

    /// Its id, a GUID in lower case; `None` for the system-assigned identity.
    pub fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// Its id in the case of the caller, as certificate stores shared with MSAL use it. `None` for the system-assigned
    /// identity.
    pub fn configured_id(&self) -> Option<&str> {
        self.configured.as_deref()
    }

    /// Whether a response for this client id can be one for this identity. Always true unless the identity is selected by
    /// its client id.
    pub(crate) fn accepts_client_id(&self, client_id: &Guid) -> bool {
        self.kind != IdentityKind::ClientId || self.id().is_some_and(|id| client_id.matches(id))
    }

    /// The query parameter of IMDS v2 that selects this identity, not URL-encoded; `None` for the system-assigned identity.
    pub fn v2_selector(&self) -> Option<(&'static str, &str)> {
        let name = match self.kind {
            IdentityKind::SystemAssigned => return None,
            IdentityKind::ClientId => "client_id",
            IdentityKind::ObjectId => "object_id",
            IdentityKind::ResourceId => "mi_res_id",
        };
        Some((name, self.id()?))
    }

    fn guid(kind: IdentityKind, text: &str, rule: &'static str) -> Result<Self> {
        match Guid::parse(text) {
            Some(id) => Ok(Self {
                kind,
                id: Some(id.as_str().to_ascii_lowercase()),
                configured: Some(text.to_owned()),
            }),
            None => Err(Error::invalid_request(rule)),
        }
    }
}

impl PartialEq for ManagedIdentity {
    fn eq(&self, other: &Self) -> bool {
        self.kind == other.kind && self.id == other.id
    }
}

impl Eq for ManagedIdentity {}

impl Hash for ManagedIdentity {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.kind.hash(state);
        self.id.hash(state);
    }
}

impl fmt::Debug for ManagedIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.id {
            None => write!(f, "{:?}", self.kind),
            Some(id) => write!(f, "{:?}({id})", self.kind),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn selects_identity_by_query_parameter() {
        let guid = "11111111-2222-3333-4444-55555555555A";
        let lower = "11111111-2222-3333-4444-55555555555a";
        assert_eq!(ManagedIdentity::system_assigned().v2_selector(), None);
        assert_eq!(
            ManagedIdentity::client_id(guid).unwrap().v2_selector(),
            Some(("client_id", lower))
        );
        assert_eq!(
            ManagedIdentity::object_id(guid).unwrap().v2_selector(),
            Some(("object_id", lower))
        );
        assert_eq!(
            ManagedIdentity::resource_id("/subscriptions/s")
                .unwrap()
                .v2_selector(),
            Some(("mi_res_id", "/subscriptions/s"))
        );
    }

    #[test]
    fn keeps_case_of_id_and_compares_without_it() {
        let id = "AAAAAAAA-2222-3333-4444-55555555555a";
        for create in [ManagedIdentity::client_id, ManagedIdentity::object_id] {
            let identity = create(id).unwrap();
            assert_eq!(identity.configured_id(), Some(id));
            let lower = create(&id.to_lowercase()).unwrap();
            assert_eq!(identity.id(), lower.configured_id());
            assert_eq!(HashSet::from([identity, lower]).len(), 1);
        }
        let resource = ManagedIdentity::resource_id("/Subscriptions/S").unwrap();
        assert_eq!(resource.configured_id(), Some("/Subscriptions/S"));
        assert_eq!(ManagedIdentity::system_assigned().configured_id(), None);
    }

    #[test]
    fn rejects_malformed_ids() {
        assert!(ManagedIdentity::client_id("not-a-guid").is_err());
        assert!(ManagedIdentity::object_id("").is_err());
        for id in [
            "",
            "/",
            "subscriptions/s",
            "/subscriptions/\r\nX: y",
            "/subscriptions/\0",
            "/subscriptions/\u{202e}",
        ] {
            assert!(ManagedIdentity::resource_id(id).is_err(), "{id:?}");
        }
    }

    #[test]
    fn bounded_input() {
        let id = |length: usize| format!("/{}", "x".repeat(length - 1));
        assert!(ManagedIdentity::resource_id(&id(MAX_TEXT)).is_ok());
        assert!(ManagedIdentity::resource_id(&id(MAX_TEXT + 1)).is_err());
    }

    #[test]
    fn identities_of_different_kinds_differ() {
        let guid = "11111111-2222-3333-4444-555555555555";
        assert_ne!(
            ManagedIdentity::client_id(guid).unwrap(),
            ManagedIdentity::object_id(guid).unwrap()
        );
        assert_eq!(
            ManagedIdentity::client_id("AAAAAAAA-2222-3333-4444-555555555555").unwrap(),
            ManagedIdentity::client_id("aaaaaaaa-2222-3333-4444-555555555555").unwrap()
        );
    }
}
