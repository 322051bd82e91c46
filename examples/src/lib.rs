//! The platform of the examples. By default it is the embedded emulator, so that every example runs on any machine; with the
//! argument `--azure` it is the Azure VM that the example runs on.
pub mod greeter;
pub mod server_tls;

use keybound::keys::ProviderChain;
use keybound::tls::{TlsEngine, TrustAnchors};
use keybound::{Environment, ManagedIdentityClient, ManagedIdentityClientBuilder};
use keybound_emulator::{Config, Emulator, SimulatedAttestation, SimulatedKeyProvider};
use keybound_resource::fetch::{HttpsKeyFetcher, HttpsSettings};
use keybound_resource::{Guid, Issuer, Keys, TokenVersion, Verifier, VerifierBuilder};
use std::error::Error;
use std::sync::Arc;

/// The platform that an example runs on.
#[expect(clippy::large_enum_variant, reason = "a program has one value")]
#[derive(Debug)]
#[non_exhaustive]
pub enum Platform {
    /// An Azure VM.
    Azure,
    /// Any machine, with the services simulated in this process.
    Emulator(Emulator),
}

impl Platform {
    /// The platform that the program's arguments select.
    ///
    /// # Errors
    /// If the emulator cannot be started.
    pub fn from_arguments() -> Result<Self, Box<dyn Error>> {
        if std::env::args().any(|argument| argument == "--azure") {
            return Ok(Self::Azure);
        }
        Ok(Self::Emulator(Emulator::start(Config::default())?))
    }

    /// A client builder with the settings for this platform; on Azure, the defaults.
    ///
    /// # Errors
    /// If the emulator's CA certificate cannot be parsed.
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

    /// The URL of a vault: the emulator's, or the one in the program's arguments (`https://…`).
    ///
    /// # Errors
    /// On Azure, if there is no such argument.
    pub fn vault_url(&self) -> Result<String, Box<dyn Error>> {
        match self {
            Self::Emulator(emulator) => Ok(emulator.ready().vault.clone()),
            Self::Azure => url_argument("the URL of a vault: https://NAME.vault.azure.net"),
        }
    }

    /// The trust anchors: those of the system, and with the emulator also its CA.
    ///
    /// # Errors
    /// If the emulator's CA certificate cannot be parsed.
    pub fn trust(&self) -> Result<TrustAnchors, Box<dyn Error>> {
        match self {
            Self::Emulator(emulator) => {
                // For all hosts: other TLS libraries, which some examples use, cannot restrict a CA to loopback hosts.
                Ok(TrustAnchors::system().with_pem(emulator.ca_pem())?)
            }
            Self::Azure => Ok(TrustAnchors::system()),
        }
    }

    /// A verifier of the tokens of one tenant for a resource. It fetches Entra's keys.
    ///
    /// # Errors
    /// If the trust anchors cannot be read.
    pub fn verifier(&self, resource: &str, tenant: &Guid) -> Result<Verifier, Box<dyn Error>> {
        let fetcher = HttpsKeyFetcher::new(self.https_settings()?)?;
        let builder = self.verifier_builder().audience(resource);
        let builder = builder.tenant(tenant.clone());
        Ok(builder.keys(Keys::discovered(fetcher)).build()?)
    }

    /// Settings for the fetch of Entra's keys.
    ///
    /// # Errors
    /// If the emulator's CA certificate cannot be parsed.
    pub fn https_settings(&self) -> Result<HttpsSettings, Box<dyn Error>> {
        Ok(HttpsSettings {
            trust: self.trust()?,
            ..HttpsSettings::default()
        })
    }

    /// A builder of verifiers with the issuers of this platform.
    pub fn verifier_builder(&self) -> VerifierBuilder {
        let builder = Verifier::builder();
        let Self::Emulator(emulator) = self else {
            return builder;
        };
        let sts = emulator.ready().sts.trim_end_matches('/');
        let v1 = format!("{sts}/{{tenantid}}");
        let v2 = format!("{v1}/v2.0");
        let issuer = |version, name: &str, base: &str| {
            let metadata = format!("{base}/.well-known/openid-configuration");
            Issuer::new(version, name, &metadata)
        };
        builder
            .issuer(issuer(TokenVersion::V1, &format!("{v1}/"), &v1).key_issuer(&v2))
            .issuer(issuer(TokenVersion::V2, &v2, &v2))
    }

    /// The URL of a Graph request; on Azure, at the host that accepts bound tokens.
    pub fn graph_url(&self) -> String {
        let origin = match self {
            Self::Emulator(emulator) => emulator.ready().graph.trim_end_matches('/'),
            Self::Azure => "https://mtlstb.graph.microsoft.com",
        };
        format!("{origin}/v1.0/applications?$top=1")
    }

    /// The URL of a secret: the emulator's, or the one in the program's arguments (`https://…`).
    ///
    /// # Errors
    /// On Azure, if there is no such argument.
    pub fn secret_url(&self) -> Result<String, Box<dyn Error>> {
        match self {
            Self::Emulator(emulator) => Ok(format!(
                "{}/secrets/demo-secret?api-version=7.4",
                emulator.ready().vault.as_str().trim_end_matches('/')
            )),
            Self::Azure => url_argument(
                "the URL of a secret: https://NAME.vault.azure.net/secrets/NAME?api-version=7.4",
            ),
        }
    }
}

fn url_argument(expected: &str) -> Result<String, Box<dyn Error>> {
    std::env::args()
        .find(|argument| argument.starts_with("https://"))
        .ok_or_else(|| format!("missing argument: {expected}").into())
}
