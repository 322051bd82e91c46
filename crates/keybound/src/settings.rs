use crate::Environment;
use crate::attestor::Attestor;
use crate::cache::Clocks;
use crate::store::BindingStore;
use crate::wire::Wire;
use keybound_core::tls::Host;
use keybound_core::{EndpointPolicy, Error, ErrorKind, ManagedIdentity, Result, Stage, lock};
use keybound_keys::ProviderChain;
use keybound_transport::HttpsSettings;
use std::sync::{Arc, Mutex};
use url::Url;

/// What a client was built with: nothing here changes afterwards.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) identity: ManagedIdentity,
    pub(crate) imds: ImdsEndpoint,
    pub(crate) policy: EndpointPolicy,
    pub(crate) providers: ProviderChain,
    pub(crate) attestation: Option<Attestor>,
    pub(crate) attestation_cache: bool,
    /// The settings of connections to Entra and to resources.
    pub(crate) https: HttpsSettings,
    pub(crate) capabilities: Vec<String>,
    pub(crate) retries: bool,
    pub(crate) clocks: Clocks,
    pub(crate) wire: Box<dyn Wire>,
    pub(crate) chance: Chance,
    pub(crate) store: Option<Arc<dyn BindingStore>>,
    /// The operator's switch: no request of managed identity v2 is sent.
    pub(crate) imds_v2_disabled: bool,
}

impl Settings {
    /// Whether simulated keys have a place here: IMDS on loopback, and a CA that the caller named.
    pub(crate) fn is_simulated_world(&self) -> bool {
        self.imds.is_loopback() && self.https.trust.is_extended()
    }

    /// Whether what attests keys vouches for simulated ones only.
    pub(crate) fn attests_simulated(&self) -> bool {
        self.attestation
            .as_ref()
            .is_some_and(|attestor| attestor.provider().is_simulated())
    }

    /// Checks that the operator has not switched v2 off.
    pub(crate) fn check_v2_enabled(&self) -> Result<()> {
        if !self.imds_v2_disabled {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::ImdsV2Disabled,
            Stage::Request,
            "managed identity v2 is switched off by MSAL_MI_DISABLE_IMDS_V2",
        ))
    }

    pub(crate) fn shared(&self) -> SharedSettings {
        SharedSettings {
            imds: self.imds.clone(),
            policy: self.policy.clone(),
            providers: self.providers.clone(),
            attestation: self.attestation.clone(),
            https: self.https.clone(),
            capabilities: self.capabilities.clone(),
        }
    }
}

/// The settings in which clients that share a state must agree: all that change a result, except the identity.
#[derive(Clone)]
pub(crate) struct SharedSettings {
    imds: ImdsEndpoint,
    policy: EndpointPolicy,
    providers: ProviderChain,
    attestation: Option<Attestor>,
    https: HttpsSettings,
    capabilities: Vec<String>,
}

impl SharedSettings {
    /// The first setting that differs, by the name of its setter.
    pub(crate) fn difference(&self, other: &Self) -> Option<&'static str> {
        let equal = [
            ("imds_endpoint", self.imds == other.imds),
            ("allowed_hosts", self.policy == other.policy),
            ("key_providers", self.providers == other.providers),
            ("attestation", self.attestation == other.attestation),
            ("trust", self.https.trust == other.https.trust),
            ("tls_versions", self.https.versions == other.https.versions),
            ("tls_engine", self.https.engine == other.https.engine),
            ("proxy", self.https.proxy == other.https.proxy),
            (
                "client_capabilities",
                self.capabilities == other.capabilities,
            ),
        ];
        let differing = equal.into_iter().find(|(_, is_equal)| !is_equal);
        differing.map(|(setting, _)| setting)
    }
}

/// Where chance comes from.
#[derive(Debug)]
pub(crate) struct Chance(Mutex<fastrand::Rng>);

impl Chance {
    pub(crate) fn new(source: fastrand::Rng) -> Self {
        Self(Mutex::new(source))
    }

    /// A number from 0 to 1.
    pub(crate) fn next(&self) -> f64 {
        lock(&self.0).f64()
    }
}

/// The address of IMDS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ImdsEndpoint {
    base: Url,
    loopback: bool,
}

impl ImdsEndpoint {
    /// Reads the address that was set, or takes the link-local one.
    pub(crate) fn new(set: Option<&str>, environment: &Environment) -> Result<Self> {
        let text = set.or(environment.imds_endpoint()).unwrap_or(LINK_LOCAL);
        let url =
            Url::parse(text).map_err(|error| Error::invalid_request(RULE).with_source(error))?;
        let plain = url.scheme() == "http" && url.username().is_empty() && url.password().is_none();
        if !plain || url.host().is_none() || url.query().is_some() || url.fragment().is_some() {
            return Err(Error::invalid_request(RULE));
        }
        let loopback = Host::from_url(&url).is_some_and(|host| host.is_loopback());
        Ok(Self {
            base: url,
            loopback,
        })
    }

    pub(crate) fn is_loopback(&self) -> bool {
        self.loopback
    }

    /// The URL of a call: `name` below `/metadata/identity/`, with these parameters.
    pub(crate) fn call(&self, name: &str, parameters: &[(&str, &str)]) -> Url {
        let mut url = self.base.clone();
        let prefix = self.base.path().trim_end_matches('/');
        url.set_path(&format!("{prefix}/metadata/identity/{name}"));
        url.query_pairs_mut().extend_pairs(parameters);
        url
    }
}

const LINK_LOCAL: &str = "http://169.254.169.254";
const RULE: &str = "the address of IMDS (AZURE_POD_IDENTITY_AUTHORITY_HOST overrides it) is a plain http URL, such as http://169.254.169.254";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_link_local_address_is_the_default_and_the_environment_overrides_it() {
        let url = |set, environment: &Environment| {
            ImdsEndpoint::new(set, environment)
                .unwrap()
                .call("x", &[("a", "b c")])
                .to_string()
        };
        let environment = Environment::from_lookup(|name| {
            (name == "AZURE_POD_IDENTITY_AUTHORITY_HOST").then(|| "http://127.0.0.1:81/".to_owned())
        });
        assert_eq!(
            url(None, &Environment::empty()),
            "http://169.254.169.254/metadata/identity/x?a=b+c"
        );
        assert_eq!(
            url(None, &environment),
            "http://127.0.0.1:81/metadata/identity/x?a=b+c"
        );
        assert_eq!(
            url(Some("http://[::1]:82"), &environment),
            "http://[::1]:82/metadata/identity/x?a=b+c"
        );
        // A malformed variable does not concern a client that was given an address.
        let malformed = Environment::from_lookup(|_| Some("https://?\u{fffd}".to_owned()));
        assert_eq!(
            url(Some("http://[::1]:82"), &malformed),
            "http://[::1]:82/metadata/identity/x?a=b+c"
        );
        assert!(ImdsEndpoint::new(None, &malformed).is_err());
    }

    #[test]
    fn only_plain_http_addresses_are_taken() {
        for text in [
            "https://169.254.169.254",
            "169.254.169.254",
            "http://u@h",
            "http://h?x",
            "ftp://h",
            "",
        ] {
            assert!(
                ImdsEndpoint::new(Some(text), &Environment::empty()).is_err(),
                "{text:?}"
            );
        }
    }

    #[test]
    fn loopback_is_distinguished_from_other_hosts() {
        for (text, loopback) in [
            ("http://127.0.0.1:1", true),
            ("http://127.9.9.9", true),
            ("http://[::1]", true),
            ("http://localhost:80", true),
            ("http://169.254.169.254", false),
            ("http://localhost.example.com", false),
            ("http://10.0.0.1", false),
        ] {
            let endpoint = ImdsEndpoint::new(Some(text), &Environment::empty()).unwrap();
            assert_eq!(endpoint.is_loopback(), loopback, "{text}");
        }
    }
}
