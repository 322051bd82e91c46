use super::resource_call::ResourceCall;
use super::resource_tokens::ResourceTokens;
use super::{DEFAULT_TIMEOUT, RequestBuilder, Response, ResponseBody, TokenBoundAuthHosts};
use crate::TokenRequest;
use crate::acquire::ClientContext;
use crate::confidential::TokenClient;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{Method, Request};
use http_body::Body;
use keybound_core::{BoxError, Error, Result, Stage, TokenType};
use keybound_transport::{HttpsClient, RequestBody};
use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tower_service::Service;

/// Sends requests to resources with tokens of one kind: fetches, refreshes and attaches them, and presents the certificate that
/// each is bound to. Cloning is cheap and shares everything: create one and reuse it.
///
/// A request is sent with one token, on connections that present the certificate of this token. After a refresh of the token or a
/// renewal of the certificate, the next request uses the new pair; requests in flight end on the old one. Bearer tokens are sent on
/// connections that present no certificate.
#[derive(Clone)]
pub struct ResourceClient(Arc<Inner>);

pub(super) struct Inner {
    pub(super) shared: Arc<ClientContext>,
    pub(super) tokens: ResourceTokens,
    /// For bearer tokens: its connections present no certificate.
    pub(super) without_certificate: Option<HttpsClient>,
    pub(super) options: Options,
}

/// The settings of a [`ResourceClientBuilder`].
#[derive(Clone, Debug)]
pub(super) struct Options {
    pub(super) timeout: Duration,
    pub(super) honors_retry_after: bool,
    pub(super) follows_redirects: bool,
    pub(super) token_bound_auth_hosts: TokenBoundAuthHosts,
}

impl ResourceClient {
    /// A client with the defaults, for tokens of this request. See [`builder`](Self::builder).
    ///
    /// # Errors
    /// Those of [`ResourceClientBuilder::build`].
    pub fn new(client: impl Into<TokenClient>, request: TokenRequest) -> Result<Self> {
        Self::builder(client, request).build()
    }

    /// A builder with the defaults. `claims` and `force_refresh` of the request apply to its first token only.
    pub fn builder(client: impl Into<TokenClient>, request: TokenRequest) -> ResourceClientBuilder {
        ResourceClientBuilder {
            client: client.into(),
            request,
            options: Options {
                timeout: DEFAULT_TIMEOUT,
                honors_retry_after: false,
                follows_redirects: true,
                token_bound_auth_hosts: TokenBoundAuthHosts::default(),
            },
        }
    }

    /// A GET request for an absolute https URL.
    pub fn get(&self, url: impl AsRef<str>) -> RequestBuilder {
        self.request(Method::GET, url)
    }

    /// A HEAD request.
    pub fn head(&self, url: impl AsRef<str>) -> RequestBuilder {
        self.request(Method::HEAD, url)
    }

    /// A POST request.
    pub fn post(&self, url: impl AsRef<str>) -> RequestBuilder {
        self.request(Method::POST, url)
    }

    /// A PUT request.
    pub fn put(&self, url: impl AsRef<str>) -> RequestBuilder {
        self.request(Method::PUT, url)
    }

    /// A PATCH request.
    pub fn patch(&self, url: impl AsRef<str>) -> RequestBuilder {
        self.request(Method::PATCH, url)
    }

    /// A DELETE request.
    pub fn delete(&self, url: impl AsRef<str>) -> RequestBuilder {
        self.request(Method::DELETE, url)
    }

    /// A request with any method except CONNECT.
    pub fn request(&self, method: Method, url: impl AsRef<str>) -> RequestBuilder {
        RequestBuilder::new(self.clone(), method, url.as_ref())
    }

    /// Sends a request (absolute https URI) and returns the response as soon as its head is received.
    ///
    /// `Authorization` is set here; for Key Vault and Managed HSM (and
    /// [others](ResourceClientBuilder::token_bound_auth_hosts)) for a bound token also `x-ms-tokenboundauth: true`.
    /// A [`RequestTimeout`](super::RequestTimeout) in the request's extensions is the timeout of the call: fetching a token, all attempts, and reading
    /// the body.
    ///
    /// The request is sent again only after a response, only if its body is empty or in memory
    /// ([`RequestBody::full`]), and only as follows. Otherwise that response is returned.
    ///
    /// | response | action |
    /// |---|---|
    /// | 401 with a claims challenge | once: a token that meets the claims, with a new certificate if the mint limit allows; later calls use it too. If the request cannot be sent again, only later calls do |
    /// | 401 whose error code is a failed binding | once: on a new connection, with the renewed token and certificate if there are any |
    /// | 429, 503 with `Retry-After` | if [enabled](ResourceClientBuilder::honor_retry_after), idempotent methods, within the timeout |
    /// | redirect within the origin | GET and HEAD (and other safe methods), five times at most |
    ///
    /// Resources of Entra challenge only clients that declare the capability:
    /// [`client_capabilities(["cp1"])`](crate::ManagedIdentityClientBuilder::client_capabilities).
    ///
    /// A broken connection is an error and not retried: the request may have been processed. Redirects to another origin are
    /// returned. The token is sent to the origin of the request only.
    ///
    /// # Errors
    /// Those of fetching a token, with their stages. Of stage resource: [`ErrorKind::ClientCertificateNotRequested`] if the
    /// server returned 401 or 403 for a bound token and never requested the certificate,
    /// [`ErrorKind::BodyTooLargeForRenegotiation`] if it returned 413 on such a connection, and those of the
    /// connection. Any other status is a response; see [`Response::error_for_status`].
    ///
    /// [`ErrorKind::ClientCertificateNotRequested`]: crate::ErrorKind::ClientCertificateNotRequested
    /// [`ErrorKind::BodyTooLargeForRenegotiation`]: crate::ErrorKind::BodyTooLargeForRenegotiation
    pub async fn send<B>(&self, request: Request<B>) -> Result<Response>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        ResourceCall::run(&self.0, request.map(RequestBody::from_body)).await
    }
}

impl fmt::Debug for ResourceClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResourceClient")
            .field("client", &TokenClient(Arc::clone(&self.0.shared)))
            .field("options", &self.0.options)
            .finish_non_exhaustive()
    }
}

/// As [`send`](ResourceClient::send), behind layers of tower. It is always ready. The response is that of
/// [`Response::into_http`](super::Response::into_http).
impl<B> Service<Request<B>> for ResourceClient
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = http::Response<ResponseBody>;
    type Error = Error;
    type Future = BoxFuture<'static, Result<Self::Response, Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let client = self.clone();
        Box::pin(async move { Ok(client.send(request).await?.into_http()) })
    }
}

/// Settings of a [`ResourceClient`]; each method names its default.
#[derive(Debug)]
#[must_use]
pub struct ResourceClientBuilder {
    client: TokenClient,
    request: TokenRequest,
    options: Options,
}

impl ResourceClientBuilder {
    /// The timeout of a request: fetching a token, all attempts, and reading the body of the response. Default: 60 s.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.options.timeout = timeout;
        self
    }

    /// Whether a request is retried after 429 and 503 with `Retry-After`: idempotent methods only, five times at most, and
    /// only if the wait ends within the timeout. Default: false.
    pub fn honor_retry_after(mut self, honor: bool) -> Self {
        self.options.honors_retry_after = honor;
        self
    }

    /// Whether redirects within the origin are followed. Default: true. Redirects to another origin never are.
    pub fn follow_redirects(mut self, follow: bool) -> Self {
        self.options.follows_redirects = follow;
        self
    }

    /// Hosts that request the certificate only after `x-ms-tokenboundauth: true`, besides those of Key Vault and Managed
    /// HSM: names, or `*.domain`. Such a host usually needs TLS 1.2 as well
    /// ([`tls_versions`](crate::ManagedIdentityClientBuilder::tls_versions)). Default: none.
    pub fn token_bound_auth_hosts(
        mut self,
        hosts: impl IntoIterator<Item = impl Into<String>>,
    ) -> Self {
        self.options.token_bound_auth_hosts =
            TokenBoundAuthHosts::new(hosts.into_iter().map(Into::into));
        self
    }

    /// Builds the client. Nothing is opened or requested yet.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidRequest`](crate::ErrorKind::InvalidRequest) if the resource of the token request is malformed;
    /// [`ErrorKind::HostUnsupported`](crate::ErrorKind::HostUnsupported) if the host's TLS library cannot be set up.
    pub fn build(self) -> Result<ResourceClient> {
        let shared = self.client.0;
        let token_type = shared.token_key(&self.request)?.token_type;
        let without_certificate = match token_type {
            TokenType::MtlsPop => None,
            _ => Some(client_without_certificate(&shared)?),
        };
        Ok(ResourceClient(Arc::new(Inner {
            tokens: ResourceTokens::new(Arc::clone(&shared), self.request),
            shared,
            without_certificate,
            options: self.options,
        })))
    }
}

/// A client whose connections present no certificate.
pub(crate) fn client_without_certificate(shared: &ClientContext) -> Result<HttpsClient> {
    HttpsClient::new(None, shared.settings.shared.https.clone())
        .map_err(|error| error.at(Stage::Resource))
}
