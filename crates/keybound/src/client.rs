use crate::cache::Caches;
use crate::settings::{ImdsEndpoint, Settings};
use crate::{AccessToken, Clock, Environment, SystemClock, TokenRequest, flow};
use keybound_attestation::AttestationProvider;
use keybound_core::{EndpointPolicy, Error, ManagedIdentity, Result};
use keybound_keys::{BindingKey, ProviderChain};
use keybound_tls::{PlainClient, ProxyConfig, TrustAnchors, VersionPolicy};
use std::fmt;
use std::sync::Arc;

/// Gets access tokens for a managed identity of this host. Cloning is cheap and shares key, certificates and tokens:
/// make one and keep it.
#[derive(Clone)]
pub struct ManagedIdentityClient(Arc<Shared>);

/// What the clones of a client share.
pub(crate) struct Shared {
    pub(crate) settings: Settings,
    pub(crate) caches: Caches,
    pub(crate) key: Arc<tokio::sync::Mutex<Option<Arc<dyn BindingKey>>>>,
}

impl ManagedIdentityClient {
    /// Starts with the defaults: the system-assigned identity, the platform's keys, the process's environment.
    pub fn builder() -> ManagedIdentityClientBuilder {
        ManagedIdentityClientBuilder::default()
    }

    /// Gets a token: from the cache, or by the whole flow. Within [`TokenRequest::timeout`]; dropping the future gives
    /// up. It needs a tokio runtime with time and I/O; [`blocking`](crate::blocking) brings its own.
    ///
    /// # Errors
    /// Of the stage at which it failed: see [`ErrorKind`](crate::ErrorKind). There is never a weaker token than the one
    /// asked for.
    pub async fn acquire_token(&self, request: TokenRequest) -> Result<AccessToken> {
        flow::acquire(&self.0, &request).await
    }
}

impl fmt::Debug for ManagedIdentityClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ManagedIdentityClient")
            .field("identity", &self.0.settings.identity)
            .finish_non_exhaustive()
    }
}

/// Settings of a [`ManagedIdentityClient`]; each method names its default.
#[derive(Debug, Default)]
pub struct ManagedIdentityClientBuilder {
    identity: Option<ManagedIdentity>,
    imds_endpoint: Option<String>,
    providers: Option<ProviderChain>,
    attestation: Option<Arc<dyn AttestationProvider>>,
    trust: TrustAnchors,
    versions: VersionPolicy,
    proxy: Option<ProxyConfig>,
    allowed_hosts: Option<Vec<String>>,
    capabilities: Vec<String>,
    no_retries: bool,
    environment: Option<Environment>,
    clock: Option<Arc<dyn Clock>>,
}

impl ManagedIdentityClientBuilder {
    /// Which identity. Default: the system-assigned one.
    #[must_use]
    pub fn identity(mut self, identity: ManagedIdentity) -> Self {
        self.identity = Some(identity);
        self
    }

    /// The address of IMDS, a plain http URL. Default: `AZURE_POD_IDENTITY_AUTHORITY_HOST`, else
    /// `http://169.254.169.254`.
    #[must_use]
    pub fn imds_endpoint(mut self, url: impl Into<String>) -> Self {
        self.imds_endpoint = Some(url.into());
        self
    }

    /// Where keys come from. Default: [`ProviderChain::platform`].
    #[must_use]
    pub fn key_providers(mut self, providers: ProviderChain) -> Self {
        self.providers = Some(providers);
        self
    }

    /// What attests the key. Default: nothing, so that a request for attestation is an error.
    #[must_use]
    pub fn attestation(mut self, provider: Arc<dyn AttestationProvider>) -> Self {
        self.attestation = Some(provider);
        self
    }

    /// Which server certificates are trusted. Default: the system's trust store. No environment variable widens it.
    #[must_use]
    pub fn trust(mut self, trust: TrustAnchors) -> Self {
        self.trust = trust;
        self
    }

    /// TLS versions by host. Default: [`VersionPolicy::default`].
    #[must_use]
    pub fn tls_versions(mut self, versions: VersionPolicy) -> Self {
        self.versions = versions;
        self
    }

    /// The way to Entra and resources. Default: `HTTPS_PROXY` (or `https_proxy`, `ALL_PROXY`) and `NO_PROXY`. IMDS is
    /// never reached through a proxy.
    #[must_use]
    pub fn proxy(mut self, proxy: ProxyConfig) -> Self {
        self.proxy = Some(proxy);
        self
    }

    /// The only hosts to which the endpoints that IMDS supplies may point: names, or `*.domain`. Default: any public
    /// https host.
    #[must_use]
    pub fn allowed_hosts(mut self, hosts: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.allowed_hosts = Some(hosts.into_iter().map(Into::into).collect());
        self
    }

    /// What the program can handle, such as `cp1` (claims challenges). Default: nothing.
    #[must_use]
    pub fn client_capabilities(
        mut self,
        capabilities: impl IntoIterator<Item = impl Into<String>>,
    ) -> Self {
        self.capabilities = capabilities.into_iter().map(Into::into).collect();
        self
    }

    /// Whether failed attempts are repeated. Default: true. Switch it off where the caller repeats.
    #[must_use]
    pub fn retries(mut self, retries: bool) -> Self {
        self.no_retries = !retries;
        self
    }

    /// The environment variables to read. Default: those of the process.
    #[must_use]
    pub fn environment(mut self, environment: Environment) -> Self {
        self.environment = Some(environment);
        self
    }

    /// The wall clock. Default: the system's.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = Some(clock);
        self
    }

    /// Makes the client. Nothing is opened or asked yet.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidRequest`](crate::ErrorKind::InvalidRequest) where the address of IMDS or of a proxy is
    /// malformed.
    pub fn build(self) -> Result<ManagedIdentityClient> {
        let environment = self.environment.unwrap_or_else(Environment::from_process);
        let imds = ImdsEndpoint::new(self.imds_endpoint.as_deref(), &environment)?;
        let mut policy = EndpointPolicy::new(imds.is_loopback());
        if let Some(hosts) = self.allowed_hosts {
            policy = policy.with_allowed_hosts(hosts);
        }
        let proxy = match self.proxy {
            Some(proxy) => proxy,
            None => ProxyConfig::from_values(environment.https_proxy(), environment.no_proxy())
                .map_err(|error| {
                    Error::invalid_request("the proxy named by the environment is malformed")
                        .with_source(error)
                })?,
        };
        let settings = Settings {
            identity: self
                .identity
                .unwrap_or_else(ManagedIdentity::system_assigned),
            imds,
            policy,
            providers: self.providers.unwrap_or_else(ProviderChain::platform),
            attestation: self.attestation,
            trust: self.trust,
            versions: self.versions,
            proxy,
            capabilities: self.capabilities,
            retries: !self.no_retries,
            clock: self.clock.unwrap_or_else(|| Arc::new(SystemClock)),
            plain: PlainClient::new(),
        };
        Ok(ManagedIdentityClient(Arc::new(Shared {
            settings,
            caches: Caches::default(),
            key: Arc::default(),
        })))
    }
}
