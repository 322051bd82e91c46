//! The identity that a source says it used, compared with the one that was asked for.
use super::ManagedIdentitySource;
use crate::{Error, ErrorKind, IdentityKind, ManagedIdentity, Result, Stage, UnverifiedJwt};

/// The ids in a response; empty ones count as absent.
pub(super) struct IdentityEcho<'a> {
    pub(super) client_id: Option<&'a str>,
    pub(super) object_id: Option<&'a str>,
    pub(super) resource_ids: [Option<&'a str>; 2],
}

impl IdentityEcho<'_> {
    /// Checks that the response names the identity that was asked for, ignoring case. A source that names none is trusted,
    /// except for Azure Arc: agents that do not know user-assigned identities ignore the id.
    pub(super) fn check(
        &self,
        source: ManagedIdentitySource,
        identity: &ManagedIdentity,
    ) -> Result<()> {
        let Some(asked) = identity.id() else {
            return Ok(());
        };
        let echoes: &[Option<&str>] = match identity.kind() {
            IdentityKind::SystemAssigned => return Ok(()),
            IdentityKind::ClientId => &[self.client_id],
            IdentityKind::ObjectId => &[self.object_id],
            IdentityKind::ResourceId => &self.resource_ids,
        };
        let mut named = echoes
            .iter()
            .flatten()
            .filter(|id| !id.is_empty())
            .peekable();
        if named.peek().is_none() {
            return match source {
                ManagedIdentitySource::AzureArc => Err(unconfirmed()),
                _ => Ok(()),
            };
        }
        if named.all(|id| id.eq_ignore_ascii_case(asked)) {
            Ok(())
        } else {
            Err(mismatch(
                "the response names another identity than the requested one",
            ))
        }
    }
}

/// Checks the claims that name the identity, as far as the token has them: `appid` and `azp`, `oid`, `xms_mirid`.
pub(super) fn check_claims(jwt: &UnverifiedJwt, identity: &ManagedIdentity) -> Result<()> {
    let names: &[&str] = match identity.kind() {
        IdentityKind::SystemAssigned => &[],
        IdentityKind::ClientId => &["appid", "azp"],
        IdentityKind::ObjectId => &["oid"],
        IdentityKind::ResourceId => &["xms_mirid"],
    };
    for name in names {
        let claim = jwt.claims.get(*name);
        let is_own = |claim: &serde_json::Value| {
            let asked = identity.id().unwrap_or_default();
            claim
                .as_str()
                .is_some_and(|id| id.eq_ignore_ascii_case(asked))
        };
        if !claim.is_none_or(is_own) {
            return Err(mismatch(
                "a claim of the access token names another identity than the requested one",
            ));
        }
    }
    Ok(())
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
        "the agent of Azure Arc does not confirm the identity that was asked for",
    )
    .with_next_step(
        "the token was discarded: update the Connected Machine agent to a version that supports user-assigned \
         identities, and check that the identity is assigned to this server",
    )
}
