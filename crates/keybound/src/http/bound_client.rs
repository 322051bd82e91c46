use crate::AccessToken;
use crate::http::{Response, TokenBoundAuthHosts, authorize, map_missing_client_cert};
use bytes::Bytes;
use http::Request;
use http_body::Body;
use keybound_core::{BoxError, Error, ErrorKind, Result, Stage, X5tS256};
use keybound_transport::{HttpsClient, RequestBody};
use std::fmt;
use std::time::Duration;

/// Sends requests on connections that present one certificate, with tokens bound to it. Cloning shares the connection pool.
///
/// It is for callers that have one token and handle the rest themselves: a [`ResourceClient`](crate::http::ResourceClient)
/// refreshes, answers challenges and moves to the next certificate.
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

    /// The timeout of a request, its response's body included. Default: 60 s.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sends a request (absolute https URI) with the token. `Authorization` is set here; for Key Vault and Managed HSM
    /// `x-ms-tokenboundauth: true` too, with which they request the certificate. Redirects are returned, not followed.
    ///
    /// # Errors
    /// All of stage resource. [`ErrorKind::BindingMismatch`] where the token is bound to another certificate than this
    /// client presents: nothing was sent. [`ErrorKind::ClientCertificateNotRequested`] where the server answered 401 or
    /// 403 without ever having asked for the certificate. [`ErrorKind::BodyTooLargeForRenegotiation`] where it answered
    /// 413 on such a connection. Any other status is a response; see
    /// [`Response::error_for_status`].
    pub async fn send<B>(&self, token: &AccessToken, request: Request<B>) -> Result<Response>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        self.check_pairing(token)?;
        let mut request = request.map(RequestBody::from_body);
        let host = request.uri().host().unwrap_or_default().to_owned();
        let hosts = TokenBoundAuthHosts::default();
        authorize(request.headers_mut(), &host, token, &hosts)?;
        let response = self
            .https
            .send(request, self.timeout)
            .await
            .map_err(|error| error.at(Stage::Resource))?;
        Ok(Response::new(
            map_missing_client_cert(response).await?,
            token.clone(),
        ))
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

const DEFAULT_TIMEOUT: Duration = Duration::from_secs(60);
