//! The simulated key and attestation, in place of those of KeyGuard.
use crate::evidence;
use crate::faults::ATTEST_PATH;
use http::header::{ACCEPT, CONTENT_TYPE};
use keybound_attestation::{AttestationFuture, AttestationProvider, AttestationRequest};
use keybound_core::tls::Host;
use keybound_core::{AttestationToken, Error, ErrorKind, MAX_BODY, Result, ServiceError, Stage};
use keybound_keys::memory::MemoryKey;
use keybound_keys::{BindingKey, KeyError, KeyProvider, KeyStrength, SignatureScheme, SigningCost};
use keybound_transport::{
    HttpsClient, HttpsSettings, RequestBody, ResponseBody, TlsEngine, TransportError,
    TransportErrorKind, TrustAnchors,
};
use serde::Deserialize;
use std::any::Any;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use url::Url;

/// Creates a simulated key on each call.
#[derive(Debug, Default)]
pub struct SimulatedKeyProvider(());

impl SimulatedKeyProvider {
    /// A provider of simulated keys.
    pub fn new() -> Self {
        Self::default()
    }
}

impl KeyProvider for SimulatedKeyProvider {
    fn strength(&self) -> KeyStrength {
        KeyStrength::KeyGuard
    }

    fn open(&self) -> Result<Arc<dyn BindingKey>, KeyError> {
        Ok(Arc::new(SimulatedKey::generate()?))
    }
}

/// A key in memory in place of a KeyGuard key; [`is_simulated`] is true for it and everything derived from it. Only the
/// emulator's attestation service attests it.
///
/// [`is_simulated`]: BindingKey::is_simulated
pub struct SimulatedKey {
    key: MemoryKey,
    id: String,
}

impl SimulatedKey {
    /// Makes a key. It takes some tens of milliseconds.
    ///
    /// # Errors
    /// Where OpenSSL cannot make one.
    pub fn generate() -> Result<Self, KeyError> {
        let key = MemoryKey::generate()?;
        let id = key.id().replacen("memory:", "simulated:", 1);
        Ok(Self { key, id })
    }
}

impl BindingKey for SimulatedKey {
    fn public_key_der(&self) -> &[u8] {
        self.key.public_key_der()
    }

    fn sign(&self, scheme: SignatureScheme, digest: &[u8]) -> Result<Vec<u8>, KeyError> {
        self.key.sign(scheme, digest)
    }

    fn strength(&self) -> KeyStrength {
        KeyStrength::KeyGuard
    }

    fn id(&self) -> &str {
        &self.id
    }

    fn signing_cost(&self) -> SigningCost {
        self.key.signing_cost()
    }

    fn is_simulated(&self) -> bool {
        true
    }

    fn attestation_evidence(&self) -> Option<&(dyn Any + Send + Sync)> {
        Some(self)
    }
}

impl fmt::Debug for SimulatedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimulatedKey")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// Attests simulated keys with the emulator's attestation service, on loopback only.
#[derive(Debug)]
pub struct SimulatedAttestation {
    client: HttpsClient,
}

impl SimulatedAttestation {
    /// A provider that trusts these authorities; that of the emulator must be one of them.
    ///
    /// # Errors
    /// [`ErrorKind::HostUnsupported`] where the host's OpenSSL configuration does not allow the work.
    pub fn new(trust: TrustAnchors) -> Result<Self> {
        let settings = HttpsSettings {
            engine: TlsEngine::OpenSsl,
            trust,
            ..HttpsSettings::default()
        };
        let client = HttpsClient::new(None, settings).map_err(transport_error)?;
        Ok(Self { client })
    }

    async fn token(&self, request: AttestationRequest<'_>) -> Result<AttestationToken> {
        let key = simulated_key(request.key)?;
        check_loopback(request.endpoint)?;
        let audience = request.endpoint.as_str().trim_end_matches('/');
        let evidence = evidence::make(key, audience).map_err(|error| {
            Error::new(
                ErrorKind::KeyFailed,
                Stage::Attestation,
                "the simulated key made no evidence",
            )
            .with_source(error)
        })?;
        let body = serde_json::json!({"evidence": evidence}).to_string();
        let url = format!("{audience}{ATTEST_PATH}");
        let request = http::Request::post(url)
            .header(CONTENT_TYPE, "application/json")
            .header(ACCEPT, "application/json")
            .body(RequestBody::full(body))
            .map_err(|error| {
                failed("the attestation request cannot be sent as it is").with_source(error)
            })?;
        let answer = self
            .client
            .send(request, TIMEOUT)
            .await
            .map_err(transport_error)?;
        read_answer(answer).await
    }
}

impl AttestationProvider for SimulatedAttestation {
    fn attest<'a>(&'a self, request: AttestationRequest<'a>) -> AttestationFuture<'a> {
        Box::pin(self.token(request))
    }

    fn is_simulated(&self) -> bool {
        true
    }
}

fn simulated_key(key: &dyn BindingKey) -> Result<&SimulatedKey> {
    let evidence = key.attestation_evidence();
    evidence
        .and_then(|evidence| evidence.downcast_ref())
        .ok_or_else(|| {
            Error::new(
                ErrorKind::AttestationUnavailable,
                Stage::Attestation,
                "the emulator attests simulated keys only",
            )
        })
}

fn check_loopback(endpoint: &Url) -> Result<()> {
    let loopback = Host::from_url(endpoint).is_some_and(|host| host.is_loopback());
    if loopback && endpoint.scheme() == "https" {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::SimulatedRefused,
        Stage::Attestation,
        "a simulated key is attested on loopback only",
    ))
}

#[derive(Deserialize)]
struct Attested {
    token: String,
}

async fn read_answer(answer: http::Response<ResponseBody>) -> Result<AttestationToken> {
    let status = answer.status();
    let body = answer
        .into_body()
        .collect(MAX_BODY)
        .await
        .map_err(transport_error)?;
    if status.is_redirection() {
        return Err(Error::new(
            ErrorKind::RedirectRefused,
            Stage::Attestation,
            "the attestation service answered with a redirect",
        )
        .with_status(status.as_u16()));
    }
    if !status.is_success() {
        let refused = failed("the attestation service refused");
        let unavailable = status.is_server_error() || status.as_u16() == 429;
        return Err(refused
            .with_status(status.as_u16())
            .with_service(ServiceError::from_response(&body))
            .with_retryable(unavailable));
    }
    // Without the cause, which may quote the token.
    let attested: Attested = serde_json::from_slice(&body)
        .map_err(|_| failed("the attestation service's answer is not the JSON expected"))?;
    AttestationToken::new(attested.token)
}

fn failed(message: &'static str) -> Error {
    Error::new(ErrorKind::AttestationFailed, Stage::Attestation, message)
}

fn transport_error(error: TransportError) -> Error {
    let (kind, message) = match error.kind() {
        TransportErrorKind::Connect => (
            ErrorKind::Unreachable,
            "no connection to the attestation service",
        ),
        TransportErrorKind::ServerCertificate => (
            ErrorKind::ServerCertificateInvalid,
            "the attestation service's certificate could not be verified",
        ),
        TransportErrorKind::Tls => (
            ErrorKind::TlsFailed,
            "TLS with the attestation service failed",
        ),
        TransportErrorKind::TooLarge => (
            ErrorKind::ResponseTooLarge,
            "the attestation service's answer is larger than allowed",
        ),
        TransportErrorKind::Timeout => (
            ErrorKind::DeadlineReached,
            "the attestation service did not answer in time",
        ),
        TransportErrorKind::HostUnsupported => (
            ErrorKind::HostUnsupported,
            "the host's OpenSSL does not allow the work",
        ),
        _ => (
            ErrorKind::AttestationFailed,
            "the connection to the attestation service failed",
        ),
    };
    // A lost connection may succeed on a retry; a malformed response may not, but the retry is harmless.
    let retryable = kind.is_transient() || error.kind() == TransportErrorKind::Protocol;
    Error::new(kind, Stage::Attestation, message)
        .with_retryable(retryable)
        .with_source(error)
}

/// Longer than a local service ever takes; the caller's own deadline is usually shorter.
const TIMEOUT: Duration = Duration::from_secs(30);
