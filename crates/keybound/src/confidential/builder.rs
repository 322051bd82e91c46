use super::{App, AppKey, ClientCredential, Cloud, ConfidentialClient};
use crate::acquire::ClientContext;
use crate::cache::{CacheOwner, SharedState};
use crate::settings::Settings;
use crate::step::{StepEvent, StepListener};
use crate::{Clock, Environment, ManagedIdentityClient, ManagedIdentityClientBuilder};
use keybound_core::{Attestation, Authority, Error, Guid, Result};
use keybound_transport::{ProxyConfig, TlsEngine, TrustAnchors, VersionPolicy};
use std::sync::{Arc, Mutex, OnceLock};

/// Settings of a [`ConfidentialClient`]; each method names its default.
///
/// If the assertions are tokens of a managed identity, connections and clock are those of its client. The certificate of a function's
/// assertion is presented on connections with these settings, whatever client the [`Binding`](crate::Binding) is from: to Entra, and
/// to resources with the token that is bound to it.
#[derive(Debug)]
pub struct ConfidentialClientBuilder {
    tenant_id: String,
    client_id: String,
    credential: ClientCredential,
    cloud: Option<Cloud>,
    authority: Option<String>,
    mtls_authority: Option<String>,
    region: Option<String>,
    exchange_audience: Option<String>,
    capabilities: Option<Vec<String>>,
    retries: Option<bool>,
    environment: Option<Environment>,
    on_step: Option<StepListener>,
    /// The settings that only the client of a managed identity has, if there is one.
    connections: ManagedIdentityClientBuilder,
    /// The first of them that was set.
    connection_setting: Option<&'static str>,
}

impl ConfidentialClientBuilder {
    pub(super) fn new(tenant_id: String, client_id: String, credential: ClientCredential) -> Self {
        Self {
            tenant_id,
            client_id,
            credential,
            cloud: None,
            authority: None,
            mtls_authority: None,
            region: None,
            exchange_audience: None,
            capabilities: None,
            retries: None,
            environment: None,
            on_step: None,
            connections: ManagedIdentityClient::builder(),
            connection_setting: None,
        }
    }

    /// The cloud. Default: that of `AZURE_AUTHORITY_HOST` in the environment, otherwise [`Cloud::Public`].
    #[must_use]
    pub fn cloud(mut self, cloud: Cloud) -> Self {
        self.cloud = Some(cloud);
        self
    }

    /// The authority in place of that of a cloud, such as `https://login.microsoftonline.com`: https, without a tenant. An earlier
    /// name of a cloud's authority is replaced by the current one. For another host `login.DOMAIN`, the host for mutual TLS is
    /// `mtlsauth.DOMAIN`. Default: that of the [`cloud`](Self::cloud).
    #[must_use]
    pub fn authority(mut self, url: impl Into<String>) -> Self {
        self.authority = Some(url.into());
        self
    }

    /// The origin of the token endpoint for mutual TLS, to which bound assertions are sent. Default: that of the authority.
    #[must_use]
    pub fn mtls_authority(mut self, url: impl Into<String>) -> Self {
        self.mtls_authority = Some(url.into());
        self
    }

    /// The region, such as `westus2`, whose host for mutual TLS is used: `westus2.mtlsauth.microsoft.com`. Default: the global one.
    #[must_use]
    pub fn region(mut self, region: impl Into<String>) -> Self {
        self.region = Some(region.into());
        self
    }

    /// The audience of the assertions. Default: that of the cloud, `api://AzureADTokenExchange` for authorities of no known cloud.
    #[must_use]
    pub fn exchange_audience(mut self, audience: impl Into<String>) -> Self {
        self.exchange_audience = Some(audience.into());
        self
    }

    /// The client capabilities, such as `cp1` (claims challenges). Default: those of the managed identity client whose tokens are
    /// the assertions, otherwise none.
    #[must_use]
    pub fn client_capabilities(
        mut self,
        capabilities: impl IntoIterator<Item = impl Into<String>>,
    ) -> Self {
        self.capabilities = Some(capabilities.into_iter().map(Into::into).collect());
        self
    }

    /// Whether failed attempts of the exchange are retried. Default: as the managed identity client, otherwise true.
    #[must_use]
    pub fn retries(mut self, retries: bool) -> Self {
        self.retries = Some(retries);
        self
    }

    /// The environment variables to read. Default: those of the process.
    #[must_use]
    pub fn environment(mut self, environment: Environment) -> Self {
        self.environment = Some(environment);
        self
    }

    /// Called with each finished step of an acquisition; see
    /// [`ManagedIdentityClientBuilder::on_step`](crate::ManagedIdentityClientBuilder::on_step). The steps of a managed identity's
    /// tokens are reported to its client. Default: none.
    #[must_use]
    pub fn on_step(mut self, listener: impl Fn(&StepEvent) + Send + Sync + 'static) -> Self {
        self.on_step = Some(StepListener(Arc::new(listener)));
        self
    }

    /// The trust anchors for server certificates; not for assertions of a managed identity, whose client has them. Default: the
    /// system's trust store.
    #[must_use]
    pub fn trust(self, trust: TrustAnchors) -> Self {
        self.connection("trust", |connections| connections.trust(trust))
    }

    /// The only hosts to which assertions are sent: names, or `*.domain`; not for assertions of a managed identity, whose client has
    /// them. If the operator's `MSAL_MI_IMDSV2_ALLOWED_HOSTS` holds a list, a host must be on both. Default: that of the authority.
    #[must_use]
    pub fn allowed_hosts(self, hosts: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.connection("allowed_hosts", |connections| {
            connections.allowed_hosts(hosts)
        })
    }

    /// TLS versions by host; not for assertions of a managed identity. Default: [`VersionPolicy::default`].
    #[must_use]
    pub fn tls_versions(self, versions: VersionPolicy) -> Self {
        self.connection("tls_versions", |connections| {
            connections.tls_versions(versions)
        })
    }

    /// The TLS library; not for assertions of a managed identity. Default: [`TlsEngine::Automatic`].
    #[must_use]
    pub fn tls_engine(self, engine: TlsEngine) -> Self {
        self.connection("tls_engine", |connections| connections.tls_engine(engine))
    }

    /// The proxy for Entra and resources; not for assertions of a managed identity. Default: as of
    /// [`ManagedIdentityClientBuilder::proxy`](crate::ManagedIdentityClientBuilder::proxy).
    #[must_use]
    pub fn proxy(self, proxy: ProxyConfig) -> Self {
        self.connection("proxy", |connections| connections.proxy(proxy))
    }

    /// The wall clock; not for assertions of a managed identity. Default: the system's.
    #[must_use]
    pub fn clock(self, clock: Arc<dyn Clock>) -> Self {
        self.connection("clock", |connections| connections.clock(clock))
    }

    /// The network and the seed of random numbers, for tests.
    #[cfg(test)]
    pub(crate) fn simulated(
        self,
        network: impl crate::wire::SimulatedNetwork + 'static,
        seed: u64,
    ) -> Self {
        self.connection("simulated", |connections| {
            connections.simulated(network, seed)
        })
    }

    fn connection(
        mut self,
        name: &'static str,
        set: impl FnOnce(ManagedIdentityClientBuilder) -> ManagedIdentityClientBuilder,
    ) -> Self {
        self.connections = set(self.connections);
        self.connection_setting.get_or_insert(name);
        self
    }

    /// Builds the client. Nothing is opened, read or requested yet.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidRequest`](crate::ErrorKind::InvalidRequest) if the tenant or the client id is not a GUID, an authority is
    /// malformed, both cloud and authority are set, or a setting is that of the managed identity client.
    pub fn build(self) -> Result<ConfidentialClient> {
        let environment = self.environment.unwrap_or_else(Environment::from_process);
        let mut authority = match (self.cloud, &self.authority) {
            (Some(_), Some(_)) => {
                return Err(Error::invalid_request(
                    "both the cloud and the authority are set",
                ));
            }
            (Some(cloud), None) => Authority::of_cloud(cloud),
            (None, Some(authority)) => Authority::parse(authority)?,
            (None, None) => match environment.authority_host() {
                Some(host) => Authority::parse(host)?,
                None => Authority::of_cloud(Cloud::Public),
            },
        };
        if let Some(mtls) = &self.mtls_authority {
            authority = authority.with_mtls_authority(mtls)?;
        }
        if let Some(region) = &self.region {
            authority = authority.with_region(region)?;
        }
        if let Some(audience) = &self.exchange_audience {
            authority = authority.with_exchange_audience(audience);
        }
        let managed_identity = self.credential.managed_identity_context();
        let mut settings = match (managed_identity, self.connection_setting) {
            (Some(context), None) => Settings {
                on_step: None,
                ..context.settings.clone()
            },
            (Some(_), Some(setting)) => {
                return Err(Error::invalid_request(format!(
                    "`{setting}` is a setting of the managed identity client whose tokens are the assertions"
                )));
            }
            (None, _) => self.connections.environment(environment).settings()?,
        };
        settings.on_step = self.on_step;
        settings.retries = self.retries.unwrap_or(settings.retries);
        if let Some(capabilities) = self.capabilities {
            settings.shared.capabilities = capabilities;
        }
        let guid = |text: &str, rule| Guid::parse(text).ok_or_else(|| Error::invalid_request(rule));
        let key = AppKey {
            tenant_id: guid(
                &self.tenant_id,
                "the tenant of an app registration is a GUID",
            )?,
            client_id: guid(
                &self.client_id,
                "the client id of an app registration is a GUID",
            )?,
            authority,
            capabilities: settings.shared.capabilities.clone(),
        };
        let (state, identity, attested) = match managed_identity {
            Some(context) => {
                let owner =
                    CacheOwner::App(context.settings.identity.clone(), Box::new(key.clone()));
                let identity = context.state.identity(&owner);
                context.identity.add_dependent(&identity);
                (context.state.clone(), identity, context.attested)
            }
            None => (SharedState::new(), Arc::default(), Attestation::Attested),
        };
        Ok(ConfidentialClient(Arc::new(ClientContext {
            settings,
            state,
            identity,
            attested,
            app: Some(Box::new(App {
                key,
                credential: self.credential,
                authority_client: OnceLock::new(),
                bindings: Mutex::default(),
            })),
        })))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The token endpoints for bearer and bound assertions, and the audience of assertions.
    fn hosts(builder: ConfidentialClientBuilder) -> [String; 3] {
        let client = builder.build().unwrap();
        let app = client.0.app.as_ref().unwrap();
        let [bearer, bound] =
            [false, true].map(|bound| app.token_url(bound).unwrap().host_str().unwrap().to_owned());
        let audience = app.key.authority.exchange_audience();
        [bearer, bound, audience.to_owned()]
    }

    fn builder(authority: Option<&'static str>) -> ConfidentialClientBuilder {
        let id = "22222222-2222-2222-2222-222222222222";
        let environment = Environment::from_lookup(move |name| {
            let authority = authority.filter(|_| name == "AZURE_AUTHORITY_HOST");
            authority.map(str::to_owned)
        });
        let credential = ClientCredential::token_file("token");
        ConfidentialClient::builder(id, id, credential).environment(environment)
    }

    #[test]
    fn uses_the_hosts_of_each_cloud_whatever_names_it() {
        for cloud in Cloud::ALL {
            let expected = [
                cloud.authority_host(),
                cloud.mtls_host(),
                cloud.exchange_audience(),
            ];
            assert_eq!(hosts(builder(None).cloud(cloud)), expected);
            assert_eq!(hosts(builder(Some(cloud.authority_host()))), expected);
            let authority = format!("https://{}/", cloud.authority_host());
            assert_eq!(hosts(builder(None).authority(authority)), expected);
            // What the caller sets overrides the environment.
            let elsewhere = builder(Some("https://login.example"));
            assert_eq!(hosts(elsewhere.cloud(cloud)), expected);
            let regional = hosts(builder(None).cloud(cloud).region("region1"));
            assert_eq!(regional[1], format!("region1.{}", cloud.mtls_host()));
        }
        assert_eq!(
            hosts(builder(None)),
            hosts(builder(None).cloud(Cloud::Public))
        );
    }

    #[test]
    fn replaces_earlier_names_of_authorities() {
        for (name, cloud) in [
            ("https://login.windows.net", Cloud::Public),
            ("https://login.microsoft.com", Cloud::Public),
            ("https://sts.windows.net/", Cloud::Public),
            ("https://login.usgovcloudapi.net", Cloud::UsGovernment),
            ("login.chinacloudapi.cn", Cloud::China),
        ] {
            let expected = hosts(builder(None).cloud(cloud));
            assert_eq!(hosts(builder(Some(name))), expected, "{name}");
            assert_eq!(hosts(builder(None).authority(name)), expected, "{name}");
        }
    }
}
