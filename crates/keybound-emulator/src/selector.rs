use crate::config::{Identity, IdentityType};

/// The identity that a request names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Selector {
    pub id: IdentityId,
    pub value: String,
}

/// The kind of id in a selector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum IdentityId {
    Client,
    Object,
    Resource,
}

impl Selector {
    pub fn new(id: IdentityId, value: impl Into<String>) -> Self {
        let value = value.into();
        Self { id, value }
    }

    /// The named identity. Ids are case-insensitive.
    pub fn find<'a>(&self, identities: &'a [Identity]) -> Option<&'a Identity> {
        let value = &self.value;
        let matches = |identity: &&Identity| match self.id {
            IdentityId::Client => identity.client_id.matches(value),
            IdentityId::Object => identity.object_id.matches(value),
            IdentityId::Resource => {
                let own = identity.resource_id.as_deref();
                own.is_some_and(|own| own.eq_ignore_ascii_case(value))
            }
        };
        identities.iter().find(matches)
    }
}

/// The system-assigned identity of a host.
pub(crate) fn system_assigned(identities: &[Identity]) -> Option<&Identity> {
    let is_system = |identity: &&Identity| identity.kind == IdentityType::System;
    identities.iter().find(is_system)
}
