//! What the examples share: a world to run in. By default that is the embedded emulator, so that every example runs
//! on any machine; with `--azure` as an argument it is the Azure VM that the example runs on.
pub mod greeter;

use keybound::keys::ProviderChain;
use keybound::tls::{TlsEngine, TrustAnchors};
use keybound::{Environment, ManagedIdentityClient, ManagedIdentityClientBuilder};
use keybound_emulator::{Config, Emulator, SimulatedAttestation, SimulatedKeyProvider};
use std::error::Error;
use std::sync::Arc;

/// Where an example runs.
#[expect(clippy::large_enum_variant, reason = "there is one")]
#[derive(Debug)]
#[non_exhaustive]
pub enum World {
    /// On an Azure VM.
    Azure,
    /// Anywhere: the services are simulated in this process.
    Emulator(Emulator),
}

impl World {
    /// Chooses by the program's arguments.
    ///
    /// # Errors
    /// Where the emulator cannot be started.
    pub fn from_arguments() -> Result<Self, Box<dyn Error>> {
        if std::env::args().any(|argument| argument == "--azure") {
            return Ok(Self::Azure);
        }
        Ok(Self::Emulator(Emulator::start(Config::default())?))
    }

    /// A client's settings for this world: on Azure the defaults.
    ///
    /// # Errors
    /// Where the emulator's CA cannot be read.
    pub fn client(&self) -> Result<ManagedIdentityClientBuilder, Box<dyn Error>> {
        let Self::Emulator(emulator) = self else {
            return Ok(ManagedIdentityClient::builder());
        };
        let ready = emulator.ready();
        let trust = self.trust()?;
        Ok(ManagedIdentityClient::builder()
            .tls_engine(TlsEngine::OpenSsl)
            .environment(Environment::empty())
            .imds_endpoint(ready.imds.as_str())
            .key_providers(ProviderChain::new(vec![Arc::new(
                SimulatedKeyProvider::new(),
            )]))
            .attestation(Arc::new(SimulatedAttestation::new(trust.clone())?))
            .trust(trust))
    }

    /// Whether the services are Azure's.
    pub fn is_azure(&self) -> bool {
        matches!(self, Self::Azure)
    }

    /// The URL of a vault: the emulator's own, or the one given as an argument (`https://…`).
    ///
    /// # Errors
    /// On Azure, where no URL was given.
    pub fn vault_url(&self) -> Result<String, Box<dyn Error>> {
        match self {
            Self::Emulator(emulator) => Ok(emulator.ready().vault.clone()),
            Self::Azure => given_url("the URL of a vault: https://NAME.vault.azure.net"),
        }
    }

    /// Whom to trust in this world: the system's authorities, and the emulator's where that is the world.
    ///
    /// # Errors
    /// Where the emulator's CA cannot be read.
    pub fn trust(&self) -> Result<TrustAnchors, Box<dyn Error>> {
        match self {
            Self::Emulator(emulator) => {
                // For all hosts: the stacks of the callers, which some examples show, take no trust for loopback hosts only.
                Ok(TrustAnchors::system().with_pem(emulator.ca_pem())?)
            }
            Self::Azure => Ok(TrustAnchors::system()),
        }
    }

    /// The URL of a Graph call: on Azure of the host that takes bound tokens.
    pub fn graph_url(&self) -> String {
        let origin = match self {
            Self::Emulator(emulator) => emulator.ready().graph.trim_end_matches('/'),
            Self::Azure => "https://mtlstb.graph.microsoft.com",
        };
        format!("{origin}/v1.0/applications?$top=1")
    }

    /// The URL of a secret: the emulator's own, or the one given as an argument (`https://…`).
    ///
    /// # Errors
    /// On Azure, where no URL was given.
    pub fn secret_url(&self) -> Result<String, Box<dyn Error>> {
        match self {
            Self::Emulator(emulator) => Ok(format!(
                "{}/secrets/demo-secret?api-version=7.4",
                emulator.ready().vault.as_str().trim_end_matches('/')
            )),
            Self::Azure => given_url(
                "the URL of a secret: https://NAME.vault.azure.net/secrets/NAME?api-version=7.4",
            ),
        }
    }
}

fn given_url(wanted: &str) -> Result<String, Box<dyn Error>> {
    std::env::args()
        .find(|argument| argument.starts_with("https://"))
        .ok_or_else(|| format!("give {wanted}").into())
}
