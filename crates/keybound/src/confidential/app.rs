use super::ClientCredential;
use crate::Binding;
use crate::settings::SharedSettings;
use keybound_core::tls::Host;
use keybound_core::{Authority, Error, ErrorKind, Guid, Result, Stage};
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

    /// The token endpoint, if an assertion, and the certificate of a bound one, may be sent there: its host is on the allow-lists, and it
    /// is on loopback for a simulated identity.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidRequest`] if it is unknown, [`ErrorKind::EndpointNotAllowed`], [`ErrorKind::SimulatedNotAllowed`].
    pub(crate) fn allowed_url(&self, bound: bool, settings: &SharedSettings) -> Result<Url> {
        let url = self.token_url(bound)?;
        settings.policy.check_listed(&url).map_err(|reason| {
            Error::new(
                ErrorKind::EndpointNotAllowed,
                Stage::Request,
                format!("the host of the app registration's authority {reason}"),
            )
            .with_next_step(CHECK_LISTS)
        })?;
        let is_of_identity = self.credential.managed_identity_context().is_some();
        if is_of_identity && settings.simulates_identity() {
            check_loopback(&url)?;
        }
        Ok(url)
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

/// Checks the binding of an assertion before it is sent: a simulated one is for the emulator.
pub(crate) fn check_receiver(binding: &Binding, url: &Url) -> Result<()> {
    match binding.is_simulated() {
        true => check_loopback(url),
        false => Ok(()),
    }
}

fn check_loopback(url: &Url) -> Result<()> {
    if Host::from_url(url).is_some_and(|host| host.is_loopback()) {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::SimulatedNotAllowed,
        Stage::Request,
        "the assertion of a simulated identity is not sent to an authority that is not on loopback",
    )
    .with_next_step(NAME_EMULATOR))
}

const CHECK_LISTS: &str = "nothing was sent to the authority: add its host, or for bound assertions its host for mutual TLS, to the allow-list of \
                           hosts, or name another authority";
const NAME_EMULATOR: &str = "nothing was sent to the authority: name that of the emulator; a simulated identity has no access to a cloud";
