use crate::acquire::{ClientContext, Flow, Progress};
use crate::arc_key;
use crate::attestor::Attestor;
use crate::cache::{CacheOwner, Clocks, SharedState};
use crate::capabilities::Capabilities;
use crate::settings::{Chance, ImdsEndpoint, Settings, SharedSettings};
use crate::source_settings::SourceSettings;
use crate::step::{StepEvent, StepListener};
use crate::store::{self, BindingStore, StoredCertificate};
use crate::token_client::token_methods;
#[cfg(test)]
use crate::wire::SimulatedNetwork;
use crate::wire::Wire;
use crate::{AccessToken, Clock, Environment, TokenRequest};
use keybound_attestation::AttestationProvider;
use keybound_core::source::SourceReason;
use keybound_core::{EndpointPolicy, ManagedIdentity, ManagedIdentitySource, Result};
use keybound_keys::ProviderChain;
use keybound_transport::{HttpsSettings, ProxyConfig, TlsEngine, TrustAnchors, VersionPolicy};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

/// Acquires access tokens for a managed identity of this host. Cloning is cheap and shares key, certificates and tokens: create
/// one client and reuse it.
#[derive(Clone)]
pub struct ManagedIdentityClient(Arc<ClientContext>);

impl ManagedIdentityClient {
    /// A client with the defaults: the system-assigned identity, the platform's keys, the process's environment.
    ///
    /// # Errors
    /// Those of [`ManagedIdentityClientBuilder::build`].
    pub fn new() -> Result<Self> {
        Self::builder().build()
    }

    /// A builder with the same defaults.
    pub fn builder() -> ManagedIdentityClientBuilder {
        ManagedIdentityClientBuilder::default()
    }

    /// Acquires a token, from the cache, from Entra or, for [`TokenRequest::bearer`], from the host's source. Concurrent
    /// requests for the same token share one flow and its error; each has its own [`timeout`](TokenRequest::timeout), and the
    /// flow is cancelled when no caller waits for it.
    /// Tokens are refreshed and certificates renewed before they expire, in the background, on the runtime of the caller that
    /// finds them due. While a refresh fails, a token that is still valid is returned, with the error
    /// ([`refresh_failure`](AccessToken::refresh_failure)).
    ///
    /// Needs a tokio runtime with time and I/O; [`blocking`](crate::blocking) has its own.
    ///
    /// # Errors
    /// See [`ErrorKind`](crate::ErrorKind). A weaker token than the requested one is never returned.
    pub async fn acquire_token(&self, request: &TokenRequest) -> Result<AccessToken> {
        self.0.acquire_token(request).await
    }

    token_methods!();

    /// The managed identity source of this client: the [chosen](ManagedIdentityClientBuilder::managed_identity_source) one,
    /// otherwise the one that the environment shows. No request is sent.
    pub fn managed_identity_source(&self) -> ManagedIdentitySource {
        self.0.settings.shared.source.kind()
    }

    /// What this host can do: its source and IMDS versions, its strongest binding and why it has no stronger one. Creates no key
    /// and requests no token, but sends up to three requests to IMDS, with the retries of every request to it: for at most 25
    /// seconds. What is missing is in the result; there is no error.
    ///
    /// The answer is cached in the client's [state](ManagedIdentityClientBuilder::state): as long as it exists, or for 30 seconds
    /// if IMDS failed or did not respond. Concurrent callers share one probe.
    ///
    /// Needs a tokio runtime with time and I/O; [`blocking`](crate::blocking) has its own.
    pub async fn capabilities(&self) -> Capabilities {
        self.capabilities_within(Duration::MAX).await
    }

    /// [`capabilities`](Self::capabilities), waiting no longer than `timeout`: IMDS then counts as not responding, in this answer
    /// only.
    pub async fn capabilities_within(&self, timeout: Duration) -> Capabilities {
        self.0.capabilities(timeout).await
    }

    /// Whether this host's IMDS supports v2. The probe is a metadata request without the required header, which changes nothing
    /// and whose response does not name the identity. Failures are retried as for every request to IMDS. False, without a
    /// request, if `MSAL_MI_DISABLE_IMDS_V2` disables v2 or the [source](Self::managed_identity_source) is another one.
    ///
    /// # Errors
    /// Those of the metadata request, but never [`ImdsV2Unavailable`](crate::ErrorKind::ImdsV2Unavailable).
    pub async fn supports_imds_v2(&self, timeout: Duration) -> Result<bool> {
        let progress = Arc::<Progress>::default();
        let flow = Flow::new(Arc::clone(&self.0), Arc::clone(&progress), Uuid::new_v4());
        match tokio::time::timeout(timeout, flow.supports_imds_v2()).await {
            Ok(result) => result,
            Err(_) => Err(progress.deadline_error()),
        }
    }

    /// The certificates of this identity that are stored for later processes. `None` if this client stores none: see
    /// [`binding_store`](ManagedIdentityClientBuilder::binding_store). The store is only read, and no key is opened.
    ///
    /// Needs a tokio runtime with time; token requests count a store that fails as empty.
    ///
    /// # Errors
    /// [`ErrorKind::KeyFailed`](crate::ErrorKind::KeyFailed) if the store fails,
    /// [`ErrorKind::DeadlineExceeded`](crate::ErrorKind::DeadlineExceeded) if it does not respond within its timeout.
    pub async fn stored_certificates(&self) -> Result<Option<Vec<StoredCertificate>>> {
        self.0.stored_certificates().await
    }

    pub(crate) fn context(&self) -> &Arc<ClientContext> {
        &self.0
    }
}

impl fmt::Debug for ManagedIdentityClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt_as("ManagedIdentityClient", f)
    }
}

/// Settings of a [`ManagedIdentityClient`]; each method names its default.
#[derive(Debug, Default)]
pub struct ManagedIdentityClientBuilder {
    identity: Option<ManagedIdentity>,
    imds_endpoint: Option<String>,
    source: Option<ManagedIdentitySource>,
    #[cfg(test)]
    arc_tokens: Option<String>,
    providers: Option<ProviderChain>,
    attestation: Option<Arc<dyn AttestationProvider>>,
    https: HttpsSettings,
    proxy: Option<ProxyConfig>,
    allowed_hosts: Option<Vec<String>>,
    capabilities: Vec<String>,
    no_retries: bool,
    environment: Option<Environment>,
    clock: Option<Arc<dyn Clock>>,
    state: Option<SharedState>,
    store: Option<Arc<dyn BindingStore>>,
    no_persistence: bool,
    wire: Wire,
    chance: Option<fastrand::Rng>,
    on_step: Option<StepListener>,
}

impl ManagedIdentityClientBuilder {
    /// The caches, for programs that create a client for each request. Default: new caches.
    #[must_use]
    pub fn state(mut self, state: SharedState) -> Self {
        self.state = Some(state);
        self
    }

    /// The store of certificates for later processes. Default: on Windows `CurrentUser\My`, shared with MSAL .NET, if the
    /// key outlives the process and IMDS is not on loopback; none on other platforms, and if
    /// `MSAL_MI_DISABLE_PERSISTENT_CERT_CACHE` is `1` or `true`.
    #[must_use]
    pub fn binding_store(mut self, store: Arc<dyn BindingStore>) -> Self {
        self.store = Some(store);
        self
    }

    /// Whether certificates are stored for later processes. Default: true. With false, no store is used, not even one that
    /// [`binding_store`](Self::binding_store) sets.
    #[must_use]
    pub fn persistence(mut self, persistence: bool) -> Self {
        self.no_persistence = !persistence;
        self
    }

    /// The directory of the key files of Azure Arc, for tests.
    #[cfg(test)]
    pub(crate) fn arc_tokens(mut self, directory: String) -> Self {
        self.arc_tokens = Some(directory);
        self
    }

    /// The network and the seed of random numbers, for tests.
    #[cfg(test)]
    pub(crate) fn simulated(mut self, network: impl SimulatedNetwork + 'static, seed: u64) -> Self {
        // SChannel requires keys of CNG.
        self.https.engine = TlsEngine::OpenSsl;
        self.wire = Wire::Simulated(Arc::new(network));
        self.chance = Some(fastrand::Rng::with_seed(seed));
        self
    }

    /// The identity. Default: the system-assigned one.
    #[must_use]
    pub fn identity(mut self, identity: ManagedIdentity) -> Self {
        self.identity = Some(identity);
        self
    }

    /// The address of IMDS, a plain http URL; IMDS is then the default [source](Self::managed_identity_source). Default:
    /// `AZURE_POD_IDENTITY_AUTHORITY_HOST`, else `http://169.254.169.254`.
    #[must_use]
    pub fn imds_endpoint(mut self, url: impl Into<String>) -> Self {
        self.imds_endpoint = Some(url.into());
        self
    }

    /// The managed identity source. Default: IMDS if [`imds_endpoint`](Self::imds_endpoint) sets its address, otherwise the one
    /// that the environment shows, in this order: Service Fabric (`IDENTITY_ENDPOINT`, `IDENTITY_HEADER`,
    /// `IDENTITY_SERVER_THUMBPRINT`), App Service and Container Apps (`IDENTITY_ENDPOINT`, `IDENTITY_HEADER`), Machine Learning
    /// (`MSI_ENDPOINT`, `MSI_SECRET`), Cloud Shell (`MSI_ENDPOINT`), Azure Arc (`IDENTITY_ENDPOINT`, `IMDS_ENDPOINT`, or its
    /// agent is installed), otherwise IMDS. An empty variable counts as absent.
    ///
    /// Only IMDS has v2: with another source, every request but [`TokenRequest::bearer`] is an error
    /// ([`SourceUnsupported`](crate::ErrorKind::SourceUnsupported)). If a variable of the source is missing or malformed,
    /// requests to it fail with [`InvalidRequest`](crate::ErrorKind::InvalidRequest).
    #[must_use]
    pub fn managed_identity_source(mut self, source: ManagedIdentitySource) -> Self {
        self.source = Some(source);
        self
    }

    /// The key providers. Default: [`ProviderChain::platform`]; on Windows the KeyGuard key is the one that
    /// `MSAL_MSI_V2_KEY_NAME` names, if it is set.
    #[must_use]
    pub fn key_providers(mut self, providers: ProviderChain) -> Self {
        self.providers = Some(providers);
        self
    }

    /// The attestation provider. Default: on Windows the native library of this host
    /// ([`Environment::native_attestation`]); none on other platforms, where a request for attestation is an error.
    #[must_use]
    pub fn attestation(mut self, provider: Arc<dyn AttestationProvider>) -> Self {
        self.attestation = Some(provider);
        self
    }

    /// The trust anchors for server certificates. Default: the system's trust store. No environment variable extends it.
    #[must_use]
    pub fn trust(mut self, trust: TrustAnchors) -> Self {
        self.https.trust = trust;
        self
    }

    /// TLS versions by host. Default: [`VersionPolicy::default`].
    #[must_use]
    pub fn tls_versions(mut self, versions: VersionPolicy) -> Self {
        self.https.versions = versions;
        self
    }

    /// The TLS library. Default: [`TlsEngine::Automatic`], the system's, whatever features are enabled.
    #[must_use]
    pub fn tls_engine(mut self, engine: TlsEngine) -> Self {
        self.https.engine = engine;
        self
    }

    /// The proxy for Entra and resources. Default: the one in `HTTPS_PROXY` (or `https_proxy`, `ALL_PROXY`); a blank
    /// value means none. If these are not set, the system's ([`ProxyConfig::system`]). The hosts in `NO_PROXY` are exempt.
    /// Requests to managed identity sources never use a proxy. If a variable is malformed, requests that would use that proxy
    /// fail with [`InvalidRequest`](crate::ErrorKind::InvalidRequest).
    #[must_use]
    pub fn proxy(mut self, proxy: ProxyConfig) -> Self {
        self.proxy = Some(proxy);
        self
    }

    /// The only hosts to which the endpoints that IMDS supplies, and the authorities of app registrations with tokens of this
    /// client, may point: names, or `*.domain`. Default: any public https host. If the operator's `MSAL_MI_IMDSV2_ALLOWED_HOSTS` holds a list, a host must be on both.
    #[must_use]
    pub fn allowed_hosts(mut self, hosts: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.allowed_hosts = Some(hosts.into_iter().map(Into::into).collect());
        self
    }

    /// The client capabilities, such as `cp1` (claims challenges). Default: none.
    #[must_use]
    pub fn client_capabilities(
        mut self,
        capabilities: impl IntoIterator<Item = impl Into<String>>,
    ) -> Self {
        self.capabilities = capabilities.into_iter().map(Into::into).collect();
        self
    }

    /// Whether failed attempts are retried. Default: true. Disable it if the caller retries.
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

    /// Called with each finished step of an acquisition, also of a failed one and of background refreshes; it must not block.
    /// Acquisitions that share one flow report its steps once, to the client that started it. Default: none. Independently,
    /// each step is logged with the target `keybound::step` and its name, duration, correlation id and error code.
    #[must_use]
    pub fn on_step(mut self, listener: impl Fn(&StepEvent) + Send + Sync + 'static) -> Self {
        self.on_step = Some(StepListener(Arc::new(listener)));
        self
    }

    /// Builds the client. Nothing is opened or requested yet.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidRequest`](crate::ErrorKind::InvalidRequest) if the address of IMDS or of a proxy is
    /// malformed.
    pub fn build(mut self) -> Result<ManagedIdentityClient> {
        let state = self.state.take().unwrap_or_default();
        let settings = self.settings()?;
        state.check_compatible(&settings.shared)?;
        let owner = CacheOwner::ManagedIdentity(settings.identity.clone());
        let identity = state.identity(&owner);
        Ok(ManagedIdentityClient(Arc::new(ClientContext {
            attested: settings.shared.attested(),
            settings,
            state,
            identity,
            app: None,
        })))
    }

    /// The settings of the client.
    pub(crate) fn settings(self) -> Result<Settings> {
        let environment = self.environment.unwrap_or_else(Environment::from_process);
        let imds = ImdsEndpoint::new(self.imds_endpoint.as_deref(), &environment)?;
        let mut policy = EndpointPolicy::new(imds.is_loopback());
        if let Some(hosts) = self.allowed_hosts {
            policy = policy.with_allowed_hosts(hosts);
        }
        if let Some(list) = environment.allowed_hosts() {
            policy = policy.with_operator_hosts(list);
        }
        // A caller that names the address of IMDS uses it, whatever the host shows.
        let names_imds = self.imds_endpoint.is_some();
        let source = match self.source {
            Some(source) => Some((source, SourceReason::Chosen)),
            None if names_imds => Some((ManagedIdentitySource::Imds, SourceReason::ImdsEndpoint)),
            None => None,
        };
        let proxy = match self.proxy {
            Some(proxy) => proxy,
            None => environment.proxy(),
        };
        let store = match self.store {
            _ if self.no_persistence || environment.no_binding_store() => None,
            // Certificates of an emulator are not stored.
            None if !imds.is_loopback() => store::platform_store(&environment),
            store => store,
        };
        #[cfg(not(test))]
        let arc_tokens = arc_key::directory(&environment);
        #[cfg(test)]
        let arc_tokens = match self.arc_tokens {
            Some(directory) => Ok(directory),
            None => arc_key::directory(&environment),
        };
        Ok(Settings {
            identity: self
                .identity
                .unwrap_or_else(ManagedIdentity::system_assigned),
            shared: SharedSettings {
                source: SourceSettings::new(source, &environment, &imds),
                imds,
                policy,
                providers: self
                    .providers
                    .unwrap_or_else(|| environment.key_providers()),
                attestation: match self.attestation {
                    Some(provider) => Some(Attestor::of_caller(provider)),
                    None => Attestor::of_platform(&environment),
                },
                https: HttpsSettings {
                    proxy,
                    ..self.https
                },
                capabilities: self.capabilities,
            },
            attestation_cache: environment.attestation_cache(),
            retries: !self.no_retries,
            clocks: Clocks::new(self.clock),
            wire: self.wire,
            chance: Chance::new(self.chance.unwrap_or_default()),
            store,
            on_step: self.on_step,
            imds_v2_disabled: environment.imds_v2_disabled(),
            arc_tokens,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(variables: &'static [(&str, &str)]) -> Environment {
        Environment::from_lookup(|name| {
            let found = variables.iter().find(|(variable, _)| *variable == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn prefers_proxy_of_environment_to_that_of_system() {
        let proxy = |variables| environment(variables).proxy();
        let named = |proxy, exempt| ProxyConfig::from_values(Some(proxy), exempt).unwrap();
        assert_eq!(proxy(&[]), ProxyConfig::system());
        assert_eq!(proxy(&[("HTTPS_PROXY", "p:1")]), named("p:1", None));
        assert_eq!(
            proxy(&[("all_proxy", "p:1"), ("no_proxy", "a,b")]),
            named("p:1", Some("a,b"))
        );
        assert_eq!(proxy(&[("HTTPS_PROXY", " ")]), ProxyConfig::none());
        assert_eq!(
            proxy(&[("NO_PROXY", "a,b")]),
            ProxyConfig::system().with_no_proxy("a,b")
        );
        // A malformed proxy is an error of the requests that would use it, not of the client.
        assert_eq!(
            proxy(&[("HTTPS_PROXY", "https://p")]),
            ProxyConfig::from_environment(Some("https://p"), None)
        );
    }

    #[test]
    fn explicit_address_of_imds_chooses_imds_unless_a_source_is_chosen() {
        use ManagedIdentitySource::{AppService, AzureArc, Imds};
        let source = |address: Option<&str>, chosen: Option<ManagedIdentitySource>| {
            let variables = &[
                ("IDENTITY_ENDPOINT", "http://127.0.0.1:40342"),
                ("IMDS_ENDPOINT", "http://127.0.0.1:40342"),
                ("AZURE_POD_IDENTITY_AUTHORITY_HOST", "http://127.0.0.1:1"),
            ];
            let mut builder = ManagedIdentityClient::builder().environment(environment(variables));
            if let Some(address) = address {
                builder = builder.imds_endpoint(address);
            }
            if let Some(chosen) = chosen {
                builder = builder.managed_identity_source(chosen);
            }
            builder.build().unwrap().managed_identity_source()
        };
        let address = Some("http://127.0.0.1:2");
        assert_eq!(source(None, None), AzureArc);
        assert_eq!(source(address, None), Imds);
        assert_eq!(source(address, Some(AppService)), AppService);
    }

    /// At an address that reaches the loopback interface, but is not exempt from proxies as a loopback host.
    #[cfg(unix)]
    #[tokio::test]
    async fn never_uses_proxy_for_imds() {
        let server = imds().await;
        let imds = format!("http://0.0.0.0:{}", server.address.port());
        // No proxy listens there: a request that uses it fails.
        let nowhere = "127.0.0.1:1";
        for proxy in [
            None,
            Some(ProxyConfig::from_values(Some(nowhere), None).unwrap()),
            Some(ProxyConfig::from_windows_settings(nowhere, "")),
        ] {
            let builder = ManagedIdentityClient::builder()
                .imds_endpoint(&imds)
                .environment(environment(&[("HTTPS_PROXY", "127.0.0.1:1")]))
                .retries(false);
            let client = match proxy {
                Some(proxy) => builder.proxy(proxy),
                None => builder,
            };
            let client = client.build().unwrap();
            assert!(
                client
                    .supports_imds_v2(Duration::from_secs(60))
                    .await
                    .unwrap()
            );
        }
    }

    /// Responds to every request as IMDS does if the header is missing.
    #[cfg(unix)]
    async fn imds() -> keybound_testing::server::Server {
        use tokio::io::AsyncWriteExt as _;
        keybound_testing::server::tcp_server(|mut stream, _, _| async move {
            keybound_testing::http1::read_head(&mut stream)
                .await
                .unwrap();
            let response =
                b"HTTP/1.1 400 Bad Request\r\nServer: IMDS/1\r\nContent-Length: 0\r\n\r\n";
            let _ = stream.write_all(response).await;
        })
        .await
    }
}
