//! Azure Managed Identity v2 with mTLS proof-of-possession.
//!
//! A [`ManagedIdentityClient`] opens or creates a key that is never exported, requests a certificate for it from IMDS, and requests
//! from Entra, over mutual TLS with that key, an access token that is bound to the certificate. A resource accepts the token
//! only on a TLS connection that is authenticated with the same key: a stolen token is worthless.
//!
//! ```no_run
//! use keybound::{KeyRequirements, ManagedIdentityClient};
//!
//! # async fn example() -> keybound::Result<()> {
//! let client = ManagedIdentityClient::new()?;
//! let vault = client.resource("https://vault.azure.net", KeyRequirements::attested()).build()?;
//! let response = vault.get("https://my-vault.vault.azure.net/secrets/db?api-version=7.4").send().await?;
//! println!("{}", response.error_for_status().await?.text().await?);
//! # Ok(())
//! # }
//! ```
//!
//! If bound tokens are not possible, [`ManagedIdentityClient::bearer_token`] requests a plain bearer token from the managed identity
//! source of the host: IMDS, App Service, Container Apps, Service Fabric, Azure Arc, Machine Learning or Cloud Shell.
//!
//! The client runs on the caller's tokio runtime; programs without one use [`blocking`]. Caches belong to a client value, and
//! its clones share them: create one client and reuse it.
#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]

mod access_token;
mod acquire;
mod arc_key;
mod attestor;
mod authorization_header;
#[cfg(feature = "azure")]
pub mod azure;
mod binding;
pub mod blocking;
mod cache;
pub mod capabilities;
mod client;
pub mod confidential;
mod environment;
pub mod http;
mod request;
mod retry_after;
mod settings;
#[cfg(test)]
mod simulation;
mod single_flight;
mod source_settings;
mod step;
pub mod store;
mod sync;
mod telemetry;
mod token_client;
mod wire;

// The examples in these pages are compiled; those that need no Azure are run.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
mod readme {}
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod crate_readme {}
#[cfg(doctest)]
#[doc = include_str!("../../../docs/emulator.md")]
mod emulator_guide {}
#[cfg(doctest)]
#[doc = include_str!("../../../docs/library.md")]
mod library_guide {}
#[cfg(doctest)]
#[doc = include_str!("../../../docs/federated.md")]
mod federated_guide {}
#[cfg(doctest)]
#[doc = include_str!("../../../docs/capabilities.md")]
mod capabilities_guide {}
#[cfg(all(doctest, feature = "openssl", feature = "rustls"))]
#[doc = include_str!("../../../docs/other-tls-libraries.md")]
mod other_tls_libraries_guide {}
#[cfg(all(doctest, feature = "azure"))]
#[doc = include_str!("../../../docs/azure-sdk.md")]
mod azure_sdk_guide {}

// The public interface.
pub use access_token::{AccessToken, TokenSource};
pub use binding::Binding;
pub use cache::SharedState;
pub use cache::{Clock, SystemClock};
pub use client::{ManagedIdentityClient, ManagedIdentityClientBuilder};
pub use confidential::ConfidentialClient;
pub use environment::Environment;
pub use keybound_core::{
    Attestation, BoxError, Certificate, Claims, Error, ErrorKind, Guid, IdentityKind, KeyStrength,
    ManagedIdentity, ManagedIdentitySource, Result, Scope, SecretString, ServiceError, Stage,
    Thumbprints, TokenType, UnverifiedJwt, X5tS256,
};
pub use request::{KeyRequirements, TokenRequest};
pub use step::{Step, StepEvent, StepTiming};

/// Attestation of binding keys.
pub mod attestation {
    pub use keybound_attestation::{
        AttestationFuture, AttestationProvider, AttestationRequest, native,
    };
    pub use keybound_core::AttestationToken;
    pub use url::Url;
}

/// Binding keys and their providers.
pub mod keys {
    #[cfg(windows)]
    pub use keybound_keys::windows::{
        CertificateError, CngKey, WindowsCertificate, WindowsCertificateMetadata,
    };
    pub use keybound_keys::{
        BindingKey, CngHandle, GatedKey, KeyError, KeyErrorKind, KeyGate, KeyProvider,
        NativeCertificate, ProviderChain, ProviderStatus, SignatureScheme, SigningCost,
    };
}

/// Settings of TLS and proxies.
pub mod tls {
    pub use keybound_core::tls::Host;
    pub use keybound_transport::{
        ClientIdentity, ProxyConfig, TlsEngine, TlsVersions, TrustAnchors, VersionPolicy,
    };
    #[cfg(feature = "openssl")]
    pub use keybound_transport::{OpensslSetup, openssl};
    #[cfg(feature = "rustls")]
    pub use keybound_transport::{RustlsSetup, rustls};
    // The source of connection errors, for callers that downcast it.
    pub use keybound_transport::{TransportError, TransportErrorKind};
}
