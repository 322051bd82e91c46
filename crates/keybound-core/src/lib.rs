//! The part of Keybound without I/O: wire types, certificate signing request, JWT reading, binding check and errors of
//! Azure Managed Identity v2.
//!
//! Nothing here uses a socket, a clock, a file or the environment: the current time is an argument. Every parser of
//! external bytes has a limit and returns either a complete value or an error.
#![forbid(unsafe_code)]

mod attestation;
mod authority;
mod binding;
mod cache_key;
mod certificate;
mod challenge;
mod charset;
mod claims;
mod cloud;
mod compute_document;
mod credential;
pub mod csr;
mod endpoint;
mod error;
mod guid;
mod identity;
mod json;
mod jwt;
mod limits;
mod lock;
mod metadata;
mod oid;
mod redact;
pub mod retry;
mod scope;
mod secret;
mod service_error;
pub mod source;
mod strength;
mod text;
mod thumbprint;
pub mod tls;
mod token;
mod vaults;

pub use attestation::{Attestation, AttestationToken};
pub use authority::Authority;
pub use binding::{check_binding, check_token_identity};
pub use cache_key::{AttestationCacheKey, BindingCacheKey, TokenCacheKey};
pub use certificate::Certificate;
pub use challenge::Challenge;
pub use charset::strip_bom;
pub use claims::{Claims, merge_capabilities};
pub use cloud::Cloud;
pub use compute_document::{ComputeDocument, OperatingSystem, SecurityProfile, SecurityType};
pub use credential::{IssueRequest, IssuedCredential};
pub use endpoint::{EndpointPolicy, MtlsEndpoint, attestation_endpoint};
pub use error::{BoxError, Error, ErrorKind, Result, Stage};
pub use guid::Guid;
pub use identity::{IdentityKind, ManagedIdentity};
pub use jwt::UnverifiedJwt;
pub use limits::*;
pub use lock::lock;
pub use metadata::{CuId, PlatformMetadata, is_imds_server};
pub use redact::redact;
pub use scope::Scope;
pub use secret::SecretString;
pub use service_error::ServiceError;
pub use source::ManagedIdentitySource;
pub use strength::KeyStrength;
pub use text::printable;
pub use thumbprint::{Sha1Thumbprint, Thumbprints, X5tS256};
pub use token::{ClientAuthentication, TokenForm, TokenResponse, TokenType};
pub use vaults::vault_domain;
