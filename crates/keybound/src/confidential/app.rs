use super::ClientCredential;
use keybound_core::{Authority, Guid, Result, Stage};
use keybound_transport::{HttpsClient, HttpsSettings};
use std::sync::OnceLock;
use url::Url;

/// An app registration and its credential.
pub(crate) struct App {
    pub(crate) key: AppKey,
    pub(crate) credential: ClientCredential,
    /// The connections to the authority, which present no certificate. Built on first use.
    pub(super) authority_client: OnceLock<HttpsClient>,
}

/// What distinguishes the tokens of app registrations with assertions of the same identity.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct AppKey {
    pub(crate) tenant_id: Guid,
    pub(crate) client_id: Guid,
    pub(crate) authority: Authority,
    pub(super) capabilities: Vec<String>,
}

impl App {
    /// The token endpoint for a bound assertion, or one that is not bound.
    pub(crate) fn token_url(&self, bound: bool) -> Result<Url> {
        let authority = &self.key.authority;
        match bound {
            true => authority.mtls_token_url(&self.key.tenant_id),
            false => Ok(authority.token_url(&self.key.tenant_id)),
        }
    }

    /// The client for the authority.
    pub(crate) fn authority_client(&self, https: &HttpsSettings) -> Result<&HttpsClient> {
        if let Some(client) = self.authority_client.get() {
            return Ok(client);
        }
        let client =
            HttpsClient::new(None, https.clone()).map_err(|error| error.at(Stage::Exchange))?;
        Ok(self.authority_client.get_or_init(|| client))
    }
}
