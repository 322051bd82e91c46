use crate::AccessToken;
use crate::transport::transport_error;
use http::header::{AUTHORIZATION, HeaderName, HeaderValue};
use http::{Request, Response};
use keybound_core::{
    Error, ErrorKind, Result, ServiceError, Stage, TokenType, X5tS256, vault_domain,
};
use keybound_tls::{ConnectionInfo, HttpsClient, RequestBody, ResponseBody};
use std::fmt;
use std::time::Duration;
use url::Url;

/// Calls resources on connections that present one certificate, with tokens bound to it. Cloning shares the pool.
#[derive(Clone)]
pub struct BoundClient {
    https: HttpsClient,
    certificate: X5tS256,
    timeout: Duration,
}

impl BoundClient {
    pub(crate) fn new(https: HttpsClient, certificate: X5tS256) -> Self {
        Self {
            https,
            certificate,
            timeout: DEFAULT_TIMEOUT,
        }
    }

    /// How long a call may take, its body included. Default: 60 s.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sends a request (absolute https URI) with the token. `Authorization` is set here; for Key Vault and Managed HSM
    /// `x-ms-tokenboundauth: true` too, at which they ask for the certificate. Redirects are returned, not followed.
    ///
    /// # Errors
    /// All of stage resource. [`ErrorKind::BindingMismatch`] where the token is bound to another certificate than this
    /// client presents: nothing was sent. [`ErrorKind::ClientCertificateNotRequested`] where the server answered 401 or
    /// 403 without ever having asked for the certificate. [`ErrorKind::BodyTooLargeForRenegotiation`] where it answered
    /// 413 on such a connection. Any other status is an answer, not an error.
    pub async fn send(
        &self,
        token: &AccessToken,
        request: Request<RequestBody>,
    ) -> Result<Response<ResponseBody>> {
        self.check_pairing(token)?;
        let request = authorize(token, request)?;
        let response = self
            .https
            .send(request, self.timeout)
            .await
            .map_err(|error| transport_error(Stage::Resource, error))?;
        unauthenticated_refusal(response).await
    }

    /// A token must not meet a certificate that it is not bound to.
    fn check_pairing(&self, token: &AccessToken) -> Result<()> {
        match token.binding() {
            Some(binding) if binding.certificate().thumbprints().x5t_s256 == self.certificate => {
                Ok(())
            }
            Some(_) => Err(Error::new(
                ErrorKind::BindingMismatch,
                Stage::Resource,
                "the token is bound to another certificate than this client presents",
            )),
            None => Err(Error::invalid_request(
                "a bearer token is bound to no certificate; send it with any HTTP client",
            )),
        }
    }
}

impl fmt::Debug for BoundClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BoundClient")
            .field("certificate", &self.certificate)
            .finish_non_exhaustive()
    }
}

fn authorize(
    token: &AccessToken,
    mut request: Request<RequestBody>,
) -> Result<Request<RequestBody>> {
    let mut value = HeaderValue::from_str(token.authorization().expose())
        .map_err(|_| Error::invalid_request("the token cannot be a header value"))?;
    value.set_sensitive(true);
    let host = request.uri().host().unwrap_or_default().to_owned();
    let headers = request.headers_mut();
    headers.insert(AUTHORIZATION, value);
    let bound = token.token_type() == TokenType::MtlsPop;
    if bound && asks_on_request(&host, token.scope().resource()) {
        headers.insert(TOKEN_BOUND_AUTH, HeaderValue::from_static("true"));
    }
    Ok(request)
}

/// Whether the service asks for the certificate only after the header says that the token is bound: Key Vault and
/// Managed HSM, by the host that is called or by the resource that the token is for.
fn asks_on_request(host: &str, resource: &str) -> bool {
    let resource_host = Url::parse(resource)
        .ok()
        .and_then(|url| url.host_str().map(str::to_owned));
    [Some(host), resource_host.as_deref()]
        .into_iter()
        .flatten()
        .any(|host| vault_domain(host).is_some())
}

/// Turns a refusal by a server that never saw the certificate into an error that says so.
async fn unauthenticated_refusal(
    response: Response<ResponseBody>,
) -> Result<Response<ResponseBody>> {
    let asked = response
        .extensions()
        .get::<ConnectionInfo>()
        .is_none_or(|info| info.certificate_requested);
    let (kind, message) = match response.status().as_u16() {
        _ if asked => return Ok(response),
        401 | 403 => (
            ErrorKind::ClientCertificateNotRequested,
            "the resource refused, and never asked for the client certificate on this connection",
        ),
        413 => (
            ErrorKind::BodyTooLargeForRenegotiation,
            "the body is too large to be held while the server asks for the client certificate",
        ),
        _ => return Ok(response),
    };
    let status = response.status().as_u16();
    let body = response
        .into_body()
        .collect(LONGEST_REFUSAL)
        .await
        .unwrap_or_default();
    Err(Error::new(kind, Stage::Resource, message)
        .with_status(status)
        .with_service(ServiceError::parse(&body)))
}

const DEFAULT_TIMEOUT: Duration = Duration::from_secs(60);
const TOKEN_BOUND_AUTH: HeaderName = HeaderName::from_static("x-ms-tokenboundauth");
const LONGEST_REFUSAL: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vaults_are_told_by_host_and_by_resource() {
        for (host, resource, expected) in [
            ("my.vault.azure.net", "x", true),
            ("MY.managedhsm.azure.net.", "x", true),
            ("localhost", "https://vault.azure.net", true),
            ("graph.microsoft.com", "https://graph.microsoft.com", false),
            ("evilvault.azure.net", "api://a", false),
            ("vault.azure.net.evil.example", "api://a", false),
        ] {
            assert_eq!(
                asks_on_request(host, resource),
                expected,
                "{host} {resource}"
            );
        }
    }
}
