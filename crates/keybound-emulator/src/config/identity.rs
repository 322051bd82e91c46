use super::{ConfigError, deserialize, is_same_uri};
use keybound_core::Guid;
use serde::Deserialize;
use std::collections::BTreeMap;

/// One managed identity of the host.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Identity {
    /// System-assigned or user-assigned.
    pub kind: IdentityType,
    /// The client id (a GUID).
    #[serde(deserialize_with = "deserialize::guid")]
    pub client_id: Guid,
    /// The object id (a GUID).
    #[serde(deserialize_with = "deserialize::guid")]
    pub object_id: Guid,
    /// The Azure resource id. Required for a user-assigned identity, absent for the system-assigned one.
    #[serde(default)]
    pub resource_id: Option<String>,
    /// Its roles by the URI of the resource: the claim `roles` of tokens for it.
    #[serde(default)]
    pub roles: BTreeMap<String, Vec<String>>,
}

impl Identity {
    /// A system-assigned identity.
    pub fn system_assigned(client_id: Guid, object_id: Guid) -> Self {
        Self {
            kind: IdentityType::System,
            client_id,
            object_id,
            resource_id: None,
            roles: BTreeMap::new(),
        }
    }

    /// A user-assigned identity.
    pub fn user_assigned(client_id: Guid, object_id: Guid, resource_id: String) -> Self {
        Self {
            kind: IdentityType::User,
            client_id,
            object_id,
            resource_id: Some(resource_id),
            roles: BTreeMap::new(),
        }
    }
}

/// The type of an identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum IdentityType {
    /// It belongs to the host.
    System,
    /// It is a resource, and can be assigned to several hosts.
    User,
}

impl IdentityType {
    /// The value of `identity_type` in the response of IMDS.
    pub(crate) fn wire_name(self) -> &'static str {
        match self {
            Self::System => "SystemAssigned",
            Self::User => "UserAssigned",
        }
    }
}

/// The roles for a resource, by a list with URIs of resources.
pub(crate) fn roles_for<'a>(
    roles: &'a BTreeMap<String, Vec<String>>,
    resource: &str,
) -> &'a [String] {
    let mut named = roles.iter();
    let found = named.find(|(uri, _)| is_same_uri(uri, resource));
    found.map_or(&[], |(_, roles)| roles)
}

pub(super) fn check(identities: &[Identity]) -> Result<(), ConfigError> {
    let wrong = |message: &str| Err(ConfigError::new(format!("identities: {message}")));
    if identities.is_empty() || identities.len() > MAX_IDENTITIES {
        return wrong("between 1 and 100 are required");
    }
    let system = |identity: &&Identity| identity.kind == IdentityType::System;
    if identities.iter().filter(system).count() > 1 {
        return wrong("a host has at most one system-assigned identity");
    }
    for (position, identity) in identities.iter().enumerate() {
        check_resource_id(identity)?;
        check_roles(&identity.roles)?;
        if identities[..position]
            .iter()
            .any(|earlier| share_an_id(identity, earlier))
        {
            return wrong("two of them share a client_id, an object_id or a resource_id");
        }
    }
    Ok(())
}

fn share_an_id(one: &Identity, other: &Identity) -> bool {
    let resource_id =
        |identity: &Identity| Some(identity.resource_id.as_ref()?.to_ascii_lowercase());
    one.client_id == other.client_id
        || one.object_id == other.object_id
        || resource_id(one).is_some_and(|id| Some(id) == resource_id(other))
}

fn check_resource_id(identity: &Identity) -> Result<(), ConfigError> {
    let wrong = |message: &str| Err(ConfigError::new(format!("identities: {message}")));
    match (&identity.resource_id, identity.kind) {
        (Some(_), IdentityType::System) => wrong("a system-assigned identity has no resource_id"),
        (None, IdentityType::User) => wrong("a user-assigned identity requires a resource_id"),
        (Some(id), _)
            if !id.starts_with('/') || id.len() > 2048 || id.contains(char::is_control) =>
        {
            wrong("a resource_id begins with /subscriptions/")
        }
        _ => Ok(()),
    }
}

fn check_roles(roles: &BTreeMap<String, Vec<String>>) -> Result<(), ConfigError> {
    let is_name =
        |text: &String| (1..=255).contains(&text.len()) && !text.contains(char::is_control);
    if roles.keys().chain(roles.values().flatten()).all(is_name) {
        return Ok(());
    }
    Err(ConfigError::new(
        "identities: a resource and a role of it have 1 to 255 characters",
    ))
}

pub(super) fn default_identities() -> Vec<Identity> {
    let mut system = Identity::system_assigned(
        known_guid("5a5a5a5a-0000-4000-8000-000000000001"),
        known_guid("5a5a5a5a-0000-4000-8000-0000000000f1"),
    );
    let roles = vec!["Orders.Read.All".into()];
    system
        .roles
        .insert("api://orders.contoso.com".into(), roles);
    vec![
        system,
        Identity::user_assigned(
            known_guid("5a5a5a5a-0000-4000-8000-000000000002"),
            known_guid("5a5a5a5a-0000-4000-8000-0000000000f2"),
            "/subscriptions/5a5a5a5a-0000-4000-8000-0000000000aa/resourceGroups/keybound/providers/\
             Microsoft.ManagedIdentity/userAssignedIdentities/demo"
                .into(),
        ),
    ]
}

/// A GUID that is a constant of this crate.
pub(super) fn known_guid(text: &'static str) -> Guid {
    Guid::parse(text).expect("a constant that the tests parse")
}

const MAX_IDENTITIES: usize = 100;
