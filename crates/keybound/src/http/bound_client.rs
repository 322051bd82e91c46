use super::caller_token::authorize_with_own_header;
use super::{
    DEFAULT_TIMEOUT, Response, ResponseBody, TokenBoundAuthHosts, authorize, missing_client_cert,
};
use crate::confidential::TokenClient;
use crate::{AccessToken, Binding};
use bytes::Bytes;
use http::Request;
use http_body::Body;
use keybound_core::{BoxError, Error, ErrorKind, Result, Stage, X5tS256};
use keybound_transport::{ClientIdentity, ConnectionReuse, HttpsClient, RequestBody};
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
    /// A client that presents another certificate than one of this client, such as one from a Windows certificate
    /// store, with that client's trust, TLS settings and proxy. It is for [`send_authorized`](Self::send_authorized).
    ///
    /// # Errors
    /// [`ErrorKind::HostUnsupported`] if the host's TLS library does not allow the key, or its TLS settings do not fit;
    /// [`ErrorKind::KeyFailed`] if Windows cannot open the key.
    pub fn new(client: impl Into<TokenClient>, identity: ClientIdentity) -> Result<Self> {
        let certificate = identity.certificate().thumbprints().x5t_s256.clone();
        let settings = client.into().0.settings.shared.https.clone();
        let https = HttpsClient::new(Some(identity), settings)
            .map_err(|error| error.at(Stage::Resource))?;
        Ok(Self {
            https,
            certificate,
            timeout: DEFAULT_TIMEOUT,
        })
    }

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
        let response = self.exchange(&mut request).await?;
        Ok(Response::new(response, token.clone()))
    }

    /// Sends a request that has its `Authorization` header: any scheme and a token that is bound to the certificate of this client.
    /// For callers that have the token in another form than an [`AccessToken`]; otherwise as [`send`](Self::send). The extensions
    /// of the response hold its [`ConnectionInfo`](super::ConnectionInfo).
    ///
    /// # Errors
    /// Those of [`send`](Self::send), and before anything is sent: [`ErrorKind::InvalidRequest`] if there is not exactly one such
    /// header or its token is not a readable JWT, [`ErrorKind::TokenNotBound`] if the token is bound to no certificate.
    pub async fn send_authorized<B>(
        &self,
        request: Request<B>,
    ) -> Result<http::Response<ResponseBody>>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let mut request = request.map(RequestBody::from_body);
        authorize_with_own_header(&mut request, &self.certificate)?;
        let response = self.exchange(&mut request).await?;
        Ok(with_connection_info(response))
    }

    async fn exchange(
        &self,
        request: &mut Request<RequestBody>,
    ) -> Result<http::Response<keybound_transport::ResponseBody>> {
        let mut response = self
            .https
            .send_with(request, self.timeout, ConnectionReuse::Allowed)
            .await
            .map_err(|error| error.at(Stage::Resource))?;
        match missing_client_cert(&mut response).await {
            Some(error) => Err(error),
            None => Ok(response),
        }
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

/// The response with its [`ConnectionInfo`](super::ConnectionInfo) in the extensions.
pub(super) fn with_connection_info(
    response: http::Response<keybound_transport::ResponseBody>,
) -> http::Response<ResponseBody> {
    let connection = response.body().connection().cloned();
    let mut response = response.map(ResponseBody);
    if let Some(connection) = connection {
        response.extensions_mut().insert(connection);
    }
    response
}

impl fmt::Debug for BoundClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BoundClient")
            .field("certificate", &self.certificate)
            .finish_non_exhaustive()
    }
}
