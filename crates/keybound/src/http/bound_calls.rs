use super::caller_token::single_authorization;
use super::{
    DEFAULT_TIMEOUT, RequestTimeout, ResourceClient, ResponseBody, client_without_certificate,
    with_connection_info,
};
use crate::confidential::TokenClient;
use crate::{AccessToken, KeyRequirements, TokenRequest};
use bytes::Bytes;
use http::Request;
use http_body::Body;
use keybound_core::{BoxError, Error, Result, Stage, lock};
use keybound_transport::{HttpsClient, RequestBody};
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex};
use uuid::Uuid;

/// Bound calls for HTTP libraries and SDKs that set the `Authorization` header themselves, such as adapters of clients for which a
/// credential and a transport are separate. Cloning is cheap and shares everything.
///
/// The caller's library never has a token. It sets a [`placeholder`](Self::placeholder) as a bearer token, which names the scope;
/// [`send`](Self::send) replaces it by the token, on a connection that presents the certificate of that token. The placeholder is
/// useless elsewhere: if the library follows a redirect to another host without `send`, or with its header removed, that host gets
/// no token and no certificate.
#[derive(Clone)]
pub struct BoundCalls(Arc<Inner>);

struct Inner {
    client: TokenClient,
    requirements: KeyRequirements,
    follows_redirects: bool,
    /// Distinguishes the placeholders of this value from those of others.
    id: String,
    without_certificate: HttpsClient,
    resources: Mutex<HashMap<String, ResourceClient>>,
}

impl BoundCalls {
    /// Calls with the tokens of this client, with a key and certificate that meet these requirements. Redirects are returned, not
    /// followed.
    ///
    /// # Errors
    /// [`ErrorKind::HostUnsupported`](crate::ErrorKind::HostUnsupported) if the host's TLS library cannot be set up.
    pub fn new(client: impl Into<TokenClient>, requirements: KeyRequirements) -> Result<Self> {
        Self::with_redirects(client, requirements, false)
    }

    /// The same, with a choice whether redirects within the origin are followed.
    pub(crate) fn with_redirects(
        client: impl Into<TokenClient>,
        requirements: KeyRequirements,
        follows_redirects: bool,
    ) -> Result<Self> {
        let client = client.into();
        Ok(Self(Arc::new(Inner {
            without_certificate: client_without_certificate(&client.0)?,
            client,
            requirements,
            follows_redirects,
            id: Uuid::new_v4().simple().to_string(),
            resources: Mutex::default(),
        })))
    }

    /// The request for the token that replaces the placeholder of this scope. A credential acquires it first, so that a failure is
    /// an error of the credential.
    pub fn token_request(&self, scope: &str) -> TokenRequest {
        TokenRequest::pop(scope, self.0.requirements)
    }

    /// Acquires the token that replaces the placeholder of this scope.
    ///
    /// # Errors
    /// Those of the client's `acquire_token`.
    pub async fn acquire_token(&self, scope: &str) -> Result<AccessToken> {
        self.0
            .client
            .acquire_token(&self.token_request(scope))
            .await
    }

    /// What a library sends as a bearer token in place of the token for this scope: a resource with or without `/.default`.
    pub fn placeholder(&self, scope: &str) -> String {
        format!("keybound-{}:{scope}", self.0.id)
    }

    /// Sends a request (absolute https URI): with the token and the certificate if `Authorization` is `Bearer` and a placeholder of
    /// this value, as [`ResourceClient::send`] does; without both if there is no such header, on a connection that presents no
    /// certificate, since some libraries learn the scope from the challenge in the response.
    ///
    /// A [`RequestTimeout`] in the request's extensions is the timeout of the call, including reading the body; default: 60 s. The
    /// extensions of the response hold its [`ConnectionInfo`](super::ConnectionInfo), and the
    /// [`AccessToken`](crate::AccessToken) that was sent.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidRequest`](crate::ErrorKind::InvalidRequest) at stage request for any other `Authorization`: nothing was
    /// sent. Otherwise those of [`ResourceClient::send`].
    pub async fn send<B>(&self, request: Request<B>) -> Result<http::Response<ResponseBody>>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let request = request.map(RequestBody::from_body);
        let resource = match single_authorization(request.headers())? {
            None => return self.send_without_certificate(request).await,
            Some(value) => {
                let scope = value.to_str().ok().and_then(|value| self.scope_of(value));
                self.resource(scope.ok_or_else(foreign_token)?)?
            }
        };
        Ok(resource.send(request).await?.into_http())
    }

    async fn send_without_certificate(
        &self,
        request: Request<RequestBody>,
    ) -> Result<http::Response<ResponseBody>> {
        let timeout = request.extensions().get::<RequestTimeout>();
        let timeout = timeout.map_or(DEFAULT_TIMEOUT, |timeout| timeout.0);
        let sent = self.0.without_certificate.send(request, timeout).await;
        sent.map(with_connection_info)
            .map_err(|error| error.at(Stage::Resource))
    }

    /// The scope of the placeholder in a header.
    fn scope_of<'a>(&self, authorization: &'a str) -> Option<&'a str> {
        let (scheme, placeholder) = authorization.split_once(' ')?;
        scheme
            .eq_ignore_ascii_case("Bearer")
            .then_some(placeholder)?
            .strip_prefix("keybound-")?
            .strip_prefix(self.0.id.as_str())?
            .strip_prefix(':')
    }

    fn resource(&self, scope: &str) -> Result<ResourceClient> {
        let mut resources = lock(&self.0.resources);
        if let Some(resource) = resources.get(scope) {
            return Ok(resource.clone());
        }
        let resource = ResourceClient::builder(&self.0.client, self.token_request(scope))
            .follow_redirects(self.0.follows_redirects)
            .build()?;
        // They are cheap to create again.
        if resources.len() >= MAX_RESOURCES {
            resources.clear();
        }
        resources.insert(scope.to_owned(), resource.clone());
        Ok(resource)
    }
}

fn foreign_token() -> Error {
    Error::invalid_request(
        "only bound tokens are sent, in place of a placeholder of the same BoundCalls; the Authorization header has none",
    )
}

impl fmt::Debug for BoundCalls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BoundCalls")
            .field("client", &self.0.client)
            .field("requirements", &self.0.requirements)
            .finish_non_exhaustive()
    }
}

const MAX_RESOURCES: usize = 256;
