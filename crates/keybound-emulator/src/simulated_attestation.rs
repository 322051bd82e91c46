use crate::evidence;
use crate::faults::ATTEST_PATH;
use crate::simulated_key::SimulatedKey;
use http::header::{ACCEPT, CONTENT_TYPE};
use keybound_attestation::{AttestationFuture, AttestationProvider, AttestationRequest};
use keybound_core::tls::Host;
use keybound_core::{AttestationToken, Error, ErrorKind, MAX_BODY, Result, ServiceError, Stage};
use keybound_keys::BindingKey;
use keybound_transport::{
    HttpsClient, HttpsSettings, RequestBody, ResponseBody, TlsEngine, TransportError,
    TransportErrorKind, TrustAnchors,
};
use serde::Deserialize;
use std::time::Duration;
use url::Url;

/// Attests simulated keys with the emulator's attestation service, on loopback only.
#[derive(Debug)]
pub struct SimulatedAttestation {
    client: HttpsClient,
}

impl SimulatedAttestation {
    /// A provider that trusts these CAs, which must include that of the emulator.
    ///
    /// # Errors
    /// [`ErrorKind::HostUnsupported`] if the OpenSSL configuration of the host does not support it.
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
        let evidence = evidence::create(key, audience).map_err(|error| {
            Error::new(
                ErrorKind::KeyFailed,
                Stage::Attestation,
                "the evidence of the simulated key could not be created",
            )
            .with_source(error)
        })?;
        let body = serde_json::json!({"evidence": evidence}).to_string();
        let url = format!("{audience}{ATTEST_PATH}");
        let request = http::Request::post(url)
            .header(CONTENT_TYPE, "application/json")
            .header(ACCEPT, "application/json")
            .body(RequestBody::full(body))
            .map_err(|error| failed("the attestation request is invalid").with_source(error))?;
        let response = self
            .client
            .send(request, TIMEOUT)
            .await
            .map_err(transport_error)?;
        read_response(response).await
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
        ErrorKind::SimulatedNotAllowed,
        Stage::Attestation,
        "a simulated key is attested on loopback only",
    ))
}

#[derive(Deserialize)]
struct AttestResponse {
    token: String,
}

async fn read_response(response: http::Response<ResponseBody>) -> Result<AttestationToken> {
    let status = response.status();
    let body = response
        .into_body()
        .collect(MAX_BODY)
        .await
        .map_err(transport_error)?;
    if status.is_redirection() {
        return Err(Error::new(
            ErrorKind::RedirectNotAllowed,
            Stage::Attestation,
            "the attestation service responded with a redirect",
        )
        .with_status(status.as_u16()));
    }
    if !status.is_success() {
        let error = failed("the attestation service rejected the request");
        let unavailable = status.is_server_error() || status.as_u16() == 429;
        return Err(error
            .with_status(status.as_u16())
            .with_service(ServiceError::from_response(&body))
            .with_retryable(unavailable));
    }
    // Without the cause, which could contain the token.
    let attested: AttestResponse = serde_json::from_slice(&body)
        .map_err(|_| failed("the response of the attestation service is not the expected JSON"))?;
    AttestationToken::new(attested.token)
}

fn failed(message: &'static str) -> Error {
    Error::new(ErrorKind::AttestationFailed, Stage::Attestation, message)
}

fn transport_error(error: TransportError) -> Error {
    if error.kind() == TransportErrorKind::Protocol {
        // A retry may succeed after a lost connection; after a malformed response it is harmless.
        return failed("the connection to the attestation service failed")
            .with_retryable(true)
            .with_source(error);
    }
    error.at(Stage::Attestation)
}

/// Longer than a local service takes; the deadline of the caller is usually shorter.
const TIMEOUT: Duration = Duration::from_secs(30);
