use crate::error::{self, invalid_request, raise};
use keybound::tls::{Host, ProxyConfig, TlsVersions, TrustAnchors, VersionPolicy};
use keybound::{
    Error, ManagedIdentity, ManagedIdentityClient, ManagedIdentityClientBuilder,
    ManagedIdentitySource,
};
use pyo3::prelude::*;
use std::collections::HashMap;
use std::env;
use std::fs;

/// The settings of a client, from which it is created again after a fork.
pub(crate) struct Settings {
    identity: ManagedIdentity,
    imds_endpoint: Option<String>,
    source: Option<ManagedIdentitySource>,
    trust: TrustAnchors,
    allowed_hosts: Option<Vec<String>>,
    client_capabilities: Vec<String>,
    proxy: Option<ProxyConfig>,
    versions: VersionPolicy,
    retries: bool,
    store: bool,
    simulated: bool,
}

/// Keyword arguments of the client.
#[derive(Default, FromPyObject)]
#[pyo3(from_item_all)]
pub(crate) struct Arguments {
    identity: (String, Option<String>),
    imds_endpoint: Option<String>,
    managed_identity_source: Option<String>,
    ca_pem: Option<Vec<u8>>,
    loopback_ca_pem: Option<Vec<u8>>,
    allowed_hosts: Option<Vec<String>>,
    client_capabilities: Vec<String>,
    proxy: Option<String>,
    no_proxy: Option<String>,
    tls_versions: HashMap<String, String>,
    retries: bool,
    store: bool,
    simulated: Option<bool>,
}

impl Settings {
    /// Checks the arguments and reads the environment.
    pub(crate) fn new(py: Python<'_>, arguments: Arguments) -> PyResult<Self> {
        let (kind, id) = &arguments.identity;
        let imds_is_loopback = imds_is_loopback(arguments.imds_endpoint.as_deref());
        let mut trust = TrustAnchors::system();
        if let Some(pem) = &arguments.ca_pem {
            trust = raise(py, trust.with_pem(pem))?;
        }
        match &arguments.loopback_ca_pem {
            Some(pem) => trust = raise(py, trust.with_loopback_pem(pem))?,
            None if imds_is_loopback => trust = with_ca_file(py, trust)?,
            None => {}
        }
        let is_emulated = imds_is_loopback && is_set(CA_FILE) && is_set(EMULATOR);
        Ok(Self {
            identity: identity(py, kind, id.as_deref())?,
            imds_endpoint: arguments.imds_endpoint,
            source: arguments
                .managed_identity_source
                .map(|name| source(py, &name))
                .transpose()?,
            trust,
            allowed_hosts: arguments.allowed_hosts,
            client_capabilities: arguments.client_capabilities,
            proxy: proxy(
                py,
                arguments.proxy.as_deref(),
                arguments.no_proxy.as_deref(),
            )?,
            versions: versions(py, &arguments.tls_versions)?,
            retries: arguments.retries,
            store: arguments.store,
            simulated: arguments.simulated.unwrap_or(is_emulated),
        })
    }

    /// Those of a client without arguments.
    #[cfg(windows)]
    pub(crate) fn of_environment(py: Python<'_>) -> PyResult<Self> {
        let identity = ("system_assigned".to_owned(), None);
        Self::new(
            py,
            Arguments {
                identity,
                ..Arguments::default()
            },
        )
    }

    /// Builds a client.
    ///
    /// # Errors
    /// Those of the builder; `SimulatedNotAllowed` without the feature `emulator`.
    pub(crate) fn build(&self) -> keybound::Result<ManagedIdentityClient> {
        let mut builder = ManagedIdentityClient::builder()
            .identity(self.identity.clone())
            .trust(self.trust.clone())
            .client_capabilities(&self.client_capabilities)
            .tls_versions(self.versions.clone())
            .retries(self.retries)
            .persistence(self.store);
        if let Some(url) = &self.imds_endpoint {
            builder = builder.imds_endpoint(url);
        }
        if let Some(source) = self.source {
            builder = builder.managed_identity_source(source);
        }
        if let Some(hosts) = &self.allowed_hosts {
            builder = builder.allowed_hosts(hosts);
        }
        if let Some(proxy) = &self.proxy {
            builder = builder.proxy(proxy.clone());
        }
        if self.simulated {
            tracing::info!("keys and attestation are simulated");
            builder = self.simulate(builder)?;
        }
        builder.build()
    }

    #[cfg(feature = "emulator")]
    fn simulate(
        &self,
        builder: ManagedIdentityClientBuilder,
    ) -> keybound::Result<ManagedIdentityClientBuilder> {
        use keybound::keys::ProviderChain;
        use keybound_emulator::{SimulatedAttestation, SimulatedKeyProvider};
        use std::sync::Arc;

        let keys = ProviderChain::new(vec![Arc::new(SimulatedKeyProvider::new())]);
        let attestation = SimulatedAttestation::new(self.trust.clone())?;
        Ok(builder
            .key_providers(keys)
            .attestation(Arc::new(attestation)))
    }

    #[cfg(not(feature = "emulator"))]
    fn simulate(
        &self,
        _: ManagedIdentityClientBuilder,
    ) -> keybound::Result<ManagedIdentityClientBuilder> {
        Err(Error::new(
            keybound::ErrorKind::SimulatedNotAllowed,
            keybound::Stage::Request,
            "this build of the package has no simulated keys",
        ))
    }
}

/// Checks the id of an identity.
#[pyfunction]
#[pyo3(signature = (kind, id, /))]
pub(crate) fn check_identity(py: Python<'_>, kind: &str, id: Option<&str>) -> PyResult<()> {
    identity(py, kind, id).map(drop)
}

fn identity(py: Python<'_>, kind: &str, id: Option<&str>) -> PyResult<ManagedIdentity> {
    let identity = match (kind, id) {
        ("system_assigned", None) => Ok(ManagedIdentity::system_assigned()),
        ("client_id", Some(id)) => ManagedIdentity::client_id(id),
        ("object_id", Some(id)) => ManagedIdentity::object_id(id),
        ("resource_id", Some(id)) => ManagedIdentity::resource_id(id),
        _ => Err(Error::invalid_request("an identity needs an id")),
    };
    raise(py, identity)
}

fn source(py: Python<'_>, name: &str) -> PyResult<ManagedIdentitySource> {
    ManagedIdentitySource::ALL
        .into_iter()
        .find(|source| source.as_str() == name)
        .ok_or_else(|| {
            let names = ManagedIdentitySource::ALL.map(ManagedIdentitySource::as_str);
            invalid_request(
                py,
                format!("managed_identity_source is one of {}", names.join(", ")),
            )
        })
}

fn proxy(
    py: Python<'_>,
    url: Option<&str>,
    no_proxy: Option<&str>,
) -> PyResult<Option<ProxyConfig>> {
    match (url, no_proxy) {
        (None, None) => Ok(None),
        (None, Some(_)) => Err(invalid_request(py, "no_proxy needs proxy")),
        (url, no_proxy) => raise(py, ProxyConfig::from_values(url, no_proxy)).map(Some),
    }
}

fn versions(py: Python<'_>, by_host: &HashMap<String, String>) -> PyResult<VersionPolicy> {
    let mut policy = VersionPolicy::default();
    for (host, versions) in by_host {
        let versions = match versions.as_str() {
            "1.2" => TlsVersions::Tls12,
            "1.3" => TlsVersions::Tls13,
            "1.2-1.3" => TlsVersions::Tls12Or13,
            _ => {
                return Err(invalid_request(py, "tls_versions are 1.2, 1.3 or 1.2-1.3"));
            }
        };
        policy = policy.with_host(host, versions);
    }
    Ok(policy)
}

/// Whether IMDS is that of an emulator.
fn imds_is_loopback(endpoint: Option<&str>) -> bool {
    let variable = env::var(IMDS).ok();
    let url = endpoint.or(variable.as_deref()).unwrap_or_default();
    let uri: Option<http::Uri> = url.parse().ok();
    let host = uri.as_ref().and_then(http::Uri::host).unwrap_or_default();
    Host::parse(host).is_some_and(|host| host.is_loopback())
}

/// Adds the authorities that the environment names, for hosts on loopback only.
fn with_ca_file(py: Python<'_>, trust: TrustAnchors) -> PyResult<TrustAnchors> {
    let Some(path) = env::var_os(CA_FILE).filter(|path| !path.is_empty()) else {
        return Ok(trust);
    };
    let pem = fs::read(&path).map_err(|error| {
        let message = "the file that KEYBOUND_CA_FILE names cannot be read";
        error::to_python(py, &Error::invalid_request(message).with_source(error))
    })?;
    tracing::info!(
        ?path,
        "trusting the CA certificates of KEYBOUND_CA_FILE for hosts on loopback"
    );
    raise(py, trust.with_loopback_pem(&pem))
}

fn is_set(variable: &str) -> bool {
    env::var_os(variable).is_some_and(|value| !value.is_empty())
}

const IMDS: &str = "AZURE_POD_IDENTITY_AUTHORITY_HOST";
const CA_FILE: &str = "KEYBOUND_CA_FILE";
/// Set for programs that an emulator starts.
const EMULATOR: &str = "KEYBOUND_EMULATOR_VAULT";
