use crate::emulation;
use crate::failure::Failure;
use keybound::http::Request;
use keybound::http::RequestBody;
use keybound::tls::{ProxyConfig, TlsEngine, TrustAnchors};
use keybound::{Environment, Error, ManagedIdentity, ManagedIdentityClient};
use keybound_emulator::{Config, Emulator, IdentityType};

/// An emulator in this process, and the settings of its clients, which read nothing from the environment.
pub(super) struct Services {
    emulator: Emulator,
    /// The CAs of the system and of the emulator.
    pub(super) trust: TrustAnchors,
    user_assigned: ManagedIdentity,
}

impl Services {
    pub(super) fn start() -> Result<Self, Failure> {
        let config = Config::default();
        let user_assigned = config
            .identities
            .iter()
            .find(|identity| identity.kind == IdentityType::User);
        let user_assigned = match user_assigned {
            Some(identity) => ManagedIdentity::client_id(identity.client_id.as_str())?,
            None => return Err(Failure::Host("the emulator has no second identity".into())),
        };
        let emulator = emulation::start(config, None)?;
        let trust = TrustAnchors::system()
            .with_loopback_pem(emulator.ca_pem())
            .map_err(|error| Failure::Host(format!("the emulator's CA cannot be used: {error}")))?;
        Ok(Self {
            emulator,
            trust,
            user_assigned,
        })
    }

    /// A client of the host's own identity.
    pub(super) fn client(&self) -> Result<ManagedIdentityClient, Failure> {
        self.client_of(ManagedIdentity::system_assigned())
    }

    /// A client of another identity, with its own key.
    pub(super) fn other_client(&self) -> Result<ManagedIdentityClient, Failure> {
        self.client_of(self.user_assigned.clone())
    }

    /// The request for the vault's secret.
    pub(super) fn secret_request(&self) -> Result<Request<RequestBody>, Error> {
        let vault = self.emulator.ready().vault.trim_end_matches('/');
        Request::get(format!("{vault}/secrets/{SECRET}?api-version=7.4"))
            .body(RequestBody::empty())
            .map_err(|error| {
                Error::invalid_request("the vault's URL is malformed").with_source(error)
            })
    }

    fn client_of(&self, identity: ManagedIdentity) -> Result<ManagedIdentityClient, Failure> {
        let builder = ManagedIdentityClient::builder()
            .tls_engine(TlsEngine::OpenSsl)
            .identity(identity)
            .imds_endpoint(&self.emulator.ready().imds)
            .environment(Environment::empty())
            .proxy(ProxyConfig::none())
            .trust(self.trust.clone());
        let builder = emulation::simulate(builder, self.trust.clone())?;
        Ok(builder.build()?)
    }
}

/// A secret in the emulator's default configuration.
pub(super) const SECRET: &str = "demo-secret";
