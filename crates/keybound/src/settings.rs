use crate::Environment;
use crate::attestor::Attestor;
use crate::cache::Clocks;
use crate::source_settings::SourceSettings;
use crate::step::StepListener;
use crate::store::BindingStore;
use crate::wire::Wire;
use keybound_core::tls::Host;
use keybound_core::{
    Attestation, EndpointPolicy, Error, ErrorKind, ManagedIdentity, ManagedIdentitySource, Result,
    Stage, lock,
};
use keybound_keys::ProviderChain;
use keybound_transport::HttpsSettings;
use std::sync::{Arc, Mutex};
use url::Url;

/// The settings of a client. They do not change after it is built.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) identity: ManagedIdentity,
    pub(crate) shared: SharedSettings,
    pub(crate) attestation_cache: bool,
    pub(crate) retries: bool,
    pub(crate) clocks: Clocks,
    pub(crate) wire: Wire,
    pub(crate) chance: Chance,
    pub(crate) store: Option<Arc<dyn BindingStore>>,
    pub(crate) on_step: Option<StepListener>,
    /// Whether the operator disabled managed identity v2: no request of it is sent.
    pub(crate) imds_v2_disabled: bool,
    /// The directory with the key files of the agent of Azure Arc, or why it is not known: an error of a challenge.
    pub(crate) arc_tokens: Result<String>,
}

/// The settings that must be equal in clients that share a state: those that affect results, except the identity.
#[derive(Clone, Debug)]
pub(crate) struct SharedSettings {
    pub(crate) imds: ImdsEndpoint,
    pub(crate) source: SourceSettings,
    pub(crate) policy: EndpointPolicy,
    pub(crate) providers: ProviderChain,
    pub(crate) attestation: Option<Attestor>,
    /// The settings of connections to Entra and resources.
    pub(crate) https: HttpsSettings,
    pub(crate) capabilities: Vec<String>,
}

impl Settings {
    /// Checks that the source of the host issues certificates, with which bound tokens are requested: only IMDS does.
    pub(crate) fn check_issues_certificates(&self) -> Result<()> {
        let source = self.shared.source.kind();
        if source == ManagedIdentitySource::Imds {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::SourceUnsupported,
            Stage::Request,
            format!(
                "the managed identity source of this host is {source}, which issues plain bearer tokens only"
            ),
        ))
    }

    /// Checks that the operator has not disabled managed identity v2.
    pub(crate) fn check_v2_enabled(&self) -> Result<()> {
        if !self.imds_v2_disabled {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::ImdsV2Disabled,
            Stage::Request,
            "managed identity v2 is disabled by MSAL_MI_DISABLE_IMDS_V2",
        ))
    }
}

impl SharedSettings {
    /// Whether simulated keys are accepted: IMDS is on loopback, and the caller added a trust anchor.
    pub(crate) fn allows_simulated_keys(&self) -> bool {
        self.imds.is_loopback() && self.https.trust.is_extended()
    }

    /// Whether the identity is that of the emulator: its keys or attestations are simulated.
    pub(crate) fn simulates_identity(&self) -> bool {
        let mut providers = self.providers.providers();
        self.attested() == Attestation::Simulated
            || providers.any(|provider| provider.is_simulated())
    }

    /// The kind of attestation that the attestation provider makes.
    pub(crate) fn attested(&self) -> Attestation {
        let attestor = self.attestation.as_ref();
        match attestor.is_some_and(|attestor| attestor.provider().is_simulated()) {
            true => Attestation::Simulated,
            false => Attestation::Attested,
        }
    }

    /// The first setting that differs, by the name of its setter.
    pub(crate) fn difference(&self, other: &Self) -> Option<&'static str> {
        let equal = [
            ("imds_endpoint", self.imds == other.imds),
            ("managed_identity_source", self.source == other.source),
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

/// The source of random numbers.
#[derive(Debug)]
pub(crate) struct Chance(Mutex<fastrand::Rng>);

/// Two clones return different numbers.
impl Clone for Chance {
    fn clone(&self) -> Self {
        Self::new(lock(&self.0).fork())
    }
}

impl Chance {
    pub(crate) fn new(source: fastrand::Rng) -> Self {
        Self(Mutex::new(source))
    }

    /// A random number from 0 to 1.
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
    /// Parses the configured address, that of the environment, or the link-local one.
    pub(crate) fn new(configured: Option<&str>, environment: &Environment) -> Result<Self> {
        let text = configured
            .or(environment.imds_endpoint())
            .unwrap_or(LINK_LOCAL);
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

    pub(crate) fn base(&self) -> &Url {
        &self.base
    }

    /// The URL of a request: `name` below `/metadata/identity/`, with these parameters.
    pub(crate) fn url(&self, name: &str, parameters: &[(&str, &str)]) -> Url {
        self.metadata_url(&format!("identity/{name}"), parameters)
    }

    /// The URL of a request: `path` below `/metadata/`, with these parameters.
    pub(crate) fn metadata_url(&self, path: &str, parameters: &[(&str, &str)]) -> Url {
        let mut url = self.base.clone();
        let prefix = self.base.path().trim_end_matches('/');
        url.set_path(&format!("{prefix}/metadata/{path}"));
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
    fn uses_link_local_address_unless_environment_or_caller_overrides_it() {
        let url = |configured, environment: &Environment| {
            ImdsEndpoint::new(configured, environment)
                .unwrap()
                .url("x", &[("a", "b c")])
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
        // A malformed variable is ignored if an address is configured.
        let malformed = Environment::from_lookup(|_| Some("https://?\u{fffd}".to_owned()));
        assert_eq!(
            url(Some("http://[::1]:82"), &malformed),
            "http://[::1]:82/metadata/identity/x?a=b+c"
        );
        assert!(ImdsEndpoint::new(None, &malformed).is_err());
    }

    #[test]
    fn rejects_addresses_that_are_not_plain_http() {
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
    fn distinguishes_loopback_from_other_hosts() {
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
