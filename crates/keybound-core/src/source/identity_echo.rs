//! The identity that a source says it used, compared with the requested one.
use super::ManagedIdentitySource;
use crate::{Error, ErrorKind, IdentityKind, ManagedIdentity, Result, Stage, UnverifiedJwt};
use serde_json::value::RawValue;

/// The ids in a response, as they are.
pub(super) struct IdentityEcho<'a> {
    pub(super) client_id: Option<&'a RawValue>,
    pub(super) object_id: Option<&'a RawValue>,
    pub(super) resource_ids: [Option<&'a RawValue>; 2],
}

impl IdentityEcho<'_> {
    /// Checks that the response names the requested identity, ignoring case. A source that names none is trusted,
    /// except for Azure Arc: agents that do not know user-assigned identities ignore the id. An id that is not a string is
    /// another identity.
    pub(super) fn check(
        &self,
        source: ManagedIdentitySource,
        identity: &ManagedIdentity,
    ) -> Result<()> {
        let echoes: &[Option<&RawValue>] = match identity.kind() {
            IdentityKind::SystemAssigned => &self.resource_ids,
            IdentityKind::ClientId => &[self.client_id],
            IdentityKind::ObjectId => &[self.object_id],
            IdentityKind::ResourceId => &self.resource_ids,
        };
        let mut named = echoes
            .iter()
            .flatten()
            .map(|raw| serde_json::from_str::<String>(raw.get()).ok())
            .filter(|id| id.as_ref().is_none_or(|id| !id.is_empty()))
            .peekable();
        let unnamed = named.peek().is_none();
        if unnamed && source == ManagedIdentitySource::AzureArc && identity.id().is_some() {
            return Err(unconfirmed());
        }
        if named.all(|id| is_requested(id.as_deref(), source, identity)) {
            Ok(())
        } else {
            Err(mismatch(
                "the response names another identity than the requested one",
            ))
        }
    }
}

/// Checks the claims that name the identity, as far as the token has them: `appid` and `azp`, `oid`, `xms_mirid`.
pub(super) fn check_claims(
    jwt: &UnverifiedJwt,
    source: ManagedIdentitySource,
    identity: &ManagedIdentity,
) -> Result<()> {
    let names: &[&str] = match identity.kind() {
        IdentityKind::ClientId => &["appid", "azp"],
        IdentityKind::ObjectId => &["oid"],
        IdentityKind::SystemAssigned | IdentityKind::ResourceId => &["xms_mirid"],
    };
    let mut claims = names.iter().filter_map(|name| jwt.claims.get(*name));
    if claims.all(|claim| is_requested(claim.as_str(), source, identity)) {
        Ok(())
    } else {
        Err(mismatch(
            "a claim of the access token names another identity than the requested one",
        ))
    }
}

/// Whether an id, `None` if it is not a string, names the requested identity. Without an id in the request it must not be that
/// of a user-assigned identity; but IMDS is documented to use one if it is the only identity of the virtual machine.
fn is_requested(
    id: Option<&str>,
    source: ManagedIdentitySource,
    identity: &ManagedIdentity,
) -> bool {
    match (identity.id(), id) {
        (Some(requested), Some(id)) => id.eq_ignore_ascii_case(requested),
        (Some(_), None) => false,
        (None, _) if source == ManagedIdentitySource::Imds => true,
        (None, Some(id)) => !id.to_ascii_lowercase().contains(USER_ASSIGNED),
        (None, None) => false,
    }
}

fn mismatch(message: &'static str) -> Error {
    Error::new(ErrorKind::IdentityMismatch, Stage::Source, message).with_next_step(
        "the token was discarded: check that the identity is assigned to this host, and its id",
    )
}

fn unconfirmed() -> Error {
    Error::new(
        ErrorKind::IdentityMismatch,
        Stage::Source,
        "the agent of Azure Arc does not confirm the requested identity",
    )
    .with_next_step(
        "the token was discarded: update the Connected Machine agent to a version that supports user-assigned \
         identities, and check that the identity is assigned to this server",
    )
}

/// Part of the resource id of a user-assigned identity, in lower case.
const USER_ASSIGNED: &str = "/userassignedidentities/";
