use super::{DEFAULT_TIMEOUT, Response, TokenBoundAuthHosts, authorize, missing_client_cert};
use crate::{AccessToken, Binding};
use bytes::Bytes;
use http::Request;
use http_body::Body;
use keybound_core::{BoxError, Error, ErrorKind, Result, Stage, X5tS256};
use keybound_transport::{ConnectionReuse, HttpsClient, RequestBody};
use std::fmt;
use std::time::Duration;

/// Sends requests on connections that present one certificate, with tokens bound to it. Cloning shares the connection pool.
///
/// It is for callers that handle one token themselves: a [`ResourceClient`](crate::http::ResourceClient) also refreshes tokens,
/// handles challenges and uses renewed certificates.
#[derive(Clone)]
pub struct BoundClient {
    https: HttpsClient,
    certificate: X5tS256,
    timeout: Duration,
}

impl Binding {
    /// The client whose connections present this certificate.
    pub fn client(&self) -> BoundClient {
        BoundClient {
            https: self.https().clone(),
            certificate: self.certificate().thumbprints().x5t_s256.clone(),
            timeout: DEFAULT_TIMEOUT,
        }
    }
}

impl AccessToken {
    /// The client whose connections present the certificate that this token is bound to.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidRequest`] for a bearer token.
    pub fn bound_client(&self) -> Result<BoundClient> {
        let binding = self
            .binding()
            .ok_or_else(|| Error::invalid_request("a bearer token is bound to no certificate"))?;
        Ok(binding.client())
    }
}

impl BoundClient {
    /// The timeout of a request, including the body of its response. Default: 60 s.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sends a request (absolute https URI) with the token. `Authorization` is set here; for Key Vault and Managed HSM also
    /// `x-ms-tokenboundauth: true`, with which they request the certificate. Redirects are returned, not followed.
    ///
    /// # Errors
    /// All of stage resource. [`ErrorKind::BindingMismatch`] if the token is bound to another certificate than this client
    /// presents: nothing was sent. [`ErrorKind::ClientCertificateNotRequested`] if the server returned 401 or 403 and never
    /// requested the certificate. [`ErrorKind::BodyTooLargeForRenegotiation`] if it returned 413 on such a connection. Any
    /// other status is a response; see [`Response::error_for_status`].
    pub async fn send<B>(&self, token: &AccessToken, request: Request<B>) -> Result<Response>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        self.check_certificate(token)?;
        let mut request = request.map(RequestBody::from_body);
        authorize(&mut request, token, &TokenBoundAuthHosts::default())?;
        let mut response = self
            .https
            .send_with(&mut request, self.timeout, ConnectionReuse::Allowed)
            .await
            .map_err(|error| error.at(Stage::Resource))?;
        if let Some(error) = missing_client_cert(&mut response).await {
            return Err(error);
        }
        Ok(Response::new(response, token.clone()))
    }

    /// Rejects a token that is not bound to the certificate of this client.
    fn check_certificate(&self, token: &AccessToken) -> Result<()> {
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
