use super::ClientCredential;
use crate::Binding;
use crate::settings::SharedSettings;
use keybound_core::tls::Host;
use keybound_core::{Attestation, Authority, Error, ErrorKind, Guid, Result, Stage, lock};
use keybound_transport::{HttpsClient, HttpsSettings};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock};
use url::Url;

/// An app registration and its credential.
pub(crate) struct App {
    pub(crate) key: AppKey,
    pub(crate) credential: ClientCredential,
    /// The connections to the authority, which present no certificate. Built on first use.
    pub(super) authority_client: OnceLock<HttpsClient>,
    /// The last bindings of assertions from the caller, each with the same one over connections of this client.
    pub(super) bindings: Mutex<HashMap<Attestation, [Arc<Binding>; 2]>>,
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

    /// A binding of the caller's over connections with the settings of this client: they are the same as long as it is.
    pub(crate) fn own_binding(
        &self,
        binding: &Arc<Binding>,
        https: &HttpsSettings,
    ) -> Result<Arc<Binding>> {
        let attestation = binding.attestation();
        if let Some([callers, own]) = lock(&self.bindings).get(&attestation)
            && Arc::ptr_eq(callers, binding)
        {
            return Ok(Arc::clone(own));
        }
        let own = binding.with_https(https);
        let own = Arc::new(own.map_err(|error| error.with_stage(Stage::Assertion))?);
        let pair = [Arc::clone(binding), Arc::clone(&own)];
        lock(&self.bindings).insert(attestation, pair);
        Ok(own)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::CacheOwner;
    use keybound_core::ManagedIdentity;
    use std::collections::HashSet;

    /// The owner of the caches of an app registration, by the digits that distinguish tenant, client and identity.
    fn owner(
        [tenant, client, identity]: [u8; 3],
        authority: &str,
        capabilities: &[&str],
    ) -> CacheOwner {
        let guid = |digit: u8| format!("11111111-2222-4333-8444-00000000000{digit}");
        let key = AppKey {
            tenant_id: Guid::parse(&guid(tenant)).unwrap(),
            client_id: Guid::parse(&guid(client)).unwrap(),
            authority: Authority::parse(authority).unwrap(),
            capabilities: capabilities.iter().map(ToString::to_string).collect(),
        };
        let identity = ManagedIdentity::client_id(&guid(identity)).unwrap();
        CacheOwner::App(identity, Box::new(key))
    }

    #[test]
    fn identity_as_asked_in_the_caches_of_app_registrations() {
        let public = "https://login.microsoftonline.com";
        let government = "https://login.microsoftonline.us";
        let owners = [
            owner([1, 1, 1], public, &[]),
            owner([2, 1, 1], public, &[]),
            owner([1, 2, 1], public, &[]),
            owner([1, 1, 2], public, &[]),
            owner([1, 1, 1], government, &[]),
            owner([1, 1, 1], public, &["cp1"]),
        ];
        let different: HashSet<_> = owners.iter().cloned().collect();
        assert_eq!(different.len(), owners.len());
        assert!(different.contains(&owner([1, 1, 1], public, &[])));
    }
}
