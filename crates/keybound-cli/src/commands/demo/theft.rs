use super::services::Services;
use crate::failure::Failure;
use keybound::http::header::{AUTHORIZATION, HeaderValue};
use keybound::{AccessToken, Error, ErrorKind, KeyRequirements, ServiceError, Stage, TokenRequest};
use keybound_transport::{
    ClientIdentity, HttpsClient, HttpsSettings, TlsEngine, TransportError, TransportErrorKind,
};
use serde::Serialize;
use std::time::Duration;

/// The result of a theft.
#[derive(Debug, Serialize)]
pub(super) struct Theft {
    /// A description of the attempt.
    pub(super) attempt: &'static str,
    /// The status of the vault's response; null if it closed the connection.
    pub(super) status: Option<u16>,
    /// The vault's error code.
    pub(super) error: Option<String>,
    /// The vault's error message, or how the connection ended.
    pub(super) description: Option<String>,
    /// Whether the vault refused the token.
    pub(super) refused: bool,
}

/// The token alone, then the token with the certificate and key of another identity.
pub(super) async fn attempts(
    services: &Services,
    token: &AccessToken,
) -> Result<[Theft; 2], Failure> {
    let alone = steal(services, token, None, "the same token, without its key").await?;
    let identity = Some(other_identity(services).await?);
    let foreign = steal(
        services,
        token,
        identity,
        "the same token, with another identity's key",
    )
    .await?;
    Ok([alone, foreign])
}

async fn other_identity(services: &Services) -> Result<ClientIdentity, Failure> {
    let request = TokenRequest::pop("https://vault.azure.net", KeyRequirements::attested());
    let token = services.other_client()?.acquire_token(&request).await?;
    let binding = token
        .binding()
        .ok_or_else(|| Error::invalid_request("the other token is not bound"))?;
    let identity = ClientIdentity::new(binding.certificate().clone(), binding.key().clone());
    Ok(identity?)
}

/// Sends the token with a plain HTTPS client, as a thief would.
async fn steal(
    services: &Services,
    token: &AccessToken,
    identity: Option<ClientIdentity>,
    attempt: &'static str,
) -> Result<Theft, Failure> {
    let settings = HttpsSettings {
        engine: TlsEngine::OpenSsl,
        trust: services.trust.clone(),
        ..HttpsSettings::default()
    };
    let client = HttpsClient::new(identity, settings).map_err(failed)?;
    let mut request = services.secret_request()?;
    let mut stolen = HeaderValue::from_str(token.authorization().expose())
        .map_err(|_| Error::invalid_request("the token cannot be a header value"))?;
    stolen.set_sensitive(true);
    request.headers_mut().insert(AUTHORIZATION, stolen);
    let bound = HeaderValue::from_static("true");
    request.headers_mut().insert("x-ms-tokenboundauth", bound);
    let response = match client.send(request, CALL_TIMEOUT).await {
        Ok(response) => response,
        Err(error) => return Ok(connection_closed(attempt, &error)),
    };
    let status = response.status();
    let body = response
        .into_body()
        .collect(MAX_RESPONSE_BYTES)
        .await
        .map_err(failed)?;
    let service = ServiceError::parse(&body).unwrap_or_default();
    Ok(Theft {
        attempt,
        status: Some(status.as_u16()),
        error: service.error,
        description: service.description,
        refused: matches!(status.as_u16(), 401 | 403),
    })
}

/// A closed connection counts as a refusal only if the certificate was rejected.
fn connection_closed(attempt: &'static str, error: &TransportError) -> Theft {
    Theft {
        attempt,
        status: None,
        error: None,
        description: Some(error.to_string()),
        refused: error.kind() == TransportErrorKind::ClientCertificateRejected,
    }
}

fn failed(error: TransportError) -> Error {
    Error::new(
        ErrorKind::TlsFailed,
        Stage::Resource,
        "the call with the stolen token failed for another reason",
    )
    .with_source(error)
}

const CALL_TIMEOUT: Duration = Duration::from_secs(30);
const MAX_RESPONSE_BYTES: usize = 1024 * 1024;
