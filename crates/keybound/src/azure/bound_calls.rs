use super::bearer_tokens::{access_token, single_scope};
use super::conversions::{to_http_request, to_sdk_error, to_sdk_response};
use crate::http::{
    DEFAULT_TIMEOUT, ResourceClient, Response, ResponseBody, client_without_certificate,
};
use crate::{KeyRequirements, ManagedIdentityClient, TokenRequest};
use azure_core::credentials::{AccessToken, Secret, TokenCredential, TokenRequestOptions};
use azure_core::error::{Error, ErrorKind};
use azure_core::http::headers::AUTHORIZATION;
use azure_core::http::{AsyncRawResponse, HttpClient, Request, Transport};
use keybound_core::{Stage, lock};
use keybound_transport::HttpsClient;
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex};
use uuid::Uuid;

/// Bound tokens for clients of the Azure SDK: a [`credential`](Self::credential) for the constructor of a client and a
/// [`transport`](Self::transport) for its options, both from the same value.
///
/// ```no_run
/// use azure_core::http::ClientOptions;
/// use keybound::azure::BoundCalls;
/// use keybound::{ManagedIdentityClient, KeyRequirements};
///
/// # fn example() -> keybound::Result<()> {
/// let client = ManagedIdentityClient::builder().build()?;
/// let calls = BoundCalls::new(&client, KeyRequirements::attested())?;
/// let options = ClientOptions {
///     transport: Some(calls.transport()),
///     ..ClientOptions::default()
/// };
/// // SecretClient::new("https://my-vault.vault.azure.net", calls.credential(), Some(SecretClientOptions {
/// //     client_options: options,
/// //     ..SecretClientOptions::default()
/// // }))
/// # drop(options);
/// # Ok(())
/// # }
/// ```
///
/// The SDK never has the token: the credential returns a placeholder that names the scope, and the transport replaces it by the
/// token when it sends the request, on a connection that presents the certificate of that token. The placeholder is useless
/// elsewhere. The transport handles claims challenges and renewed certificates as a [`ResourceClient`] does; the SDK retries
/// after 429 and 503.
#[derive(Clone)]
pub struct BoundCalls(Arc<Inner>);

struct Inner {
    client: ManagedIdentityClient,
    requirements: KeyRequirements,
    /// Distinguishes the placeholders of this value from those of others.
    id: String,
    without_certificate: HttpsClient,
    resources: Mutex<HashMap<String, ResourceClient>>,
}

impl BoundCalls {
    /// Calls with the tokens of this client, with a key and certificate that meet these requirements.
    ///
    /// # Errors
    /// [`ErrorKind::HostUnsupported`](crate::ErrorKind::HostUnsupported) if the host's TLS library cannot be set up.
    pub fn new(
        client: &ManagedIdentityClient,
        requirements: KeyRequirements,
    ) -> crate::Result<Self> {
        Ok(Self(Arc::new(Inner {
            without_certificate: client_without_certificate(client.context())?,
            client: client.clone(),
            requirements,
            id: Uuid::new_v4().simple().to_string(),
            resources: Mutex::default(),
        })))
    }

    /// The credential for the constructor of an SDK client that also has this value's [`transport`](Self::transport). With
    /// another transport the resource rejects its calls, and no token is disclosed.
    pub fn credential(&self) -> Arc<dyn TokenCredential> {
        Arc::new(self.clone())
    }

    /// The transport for the options of an SDK client that also has this value's [`credential`](Self::credential). Calls with
    /// tokens of other credentials are errors.
    pub fn transport(&self) -> Transport {
        Transport::new(Arc::new(self.clone()))
    }

    fn request(&self, scope: &str) -> TokenRequest {
        TokenRequest::pop(scope, self.0.requirements)
    }

    /// The placeholder for a token of this scope.
    fn placeholder(&self, scope: &str) -> String {
        format!("keybound-{}:{scope}", self.0.id)
    }

    /// The scope of the placeholder in the header that the SDK set.
    fn scope_of_placeholder<'a>(&self, authorization: &'a str) -> Option<&'a str> {
        let (scheme, placeholder) = authorization.split_once(' ')?;
        scheme
            .eq_ignore_ascii_case("Bearer")
            .then_some(placeholder)?
            .strip_prefix("keybound-")?
            .strip_prefix(self.0.id.as_str())?
            .strip_prefix(':')
    }

    fn resource(&self, scope: &str) -> crate::Result<ResourceClient> {
        let mut resources = lock(&self.0.resources);
        if let Some(resource) = resources.get(scope) {
            return Ok(resource.clone());
        }
        let resource = ResourceClient::new(&self.0.client, self.request(scope))?;
        // They are cheap to create again.
        if resources.len() >= MAX_RESOURCES {
            resources.clear();
        }
        resources.insert(scope.to_owned(), resource.clone());
        Ok(resource)
    }
}

#[async_trait::async_trait]
impl TokenCredential for BoundCalls {
    async fn get_token(
        &self,
        scopes: &[&str],
        _options: Option<TokenRequestOptions<'_>>,
    ) -> azure_core::Result<AccessToken> {
        let scope = single_scope(scopes)?;
        // Acquired here, so that a failure is an error of the credential.
        let token = Box::pin(self.0.client.acquire_token(&self.request(scope)))
            .await
            .map_err(|error| Error::new(ErrorKind::Credential, error))?;
        let mut placeholder = access_token(token.issued());
        placeholder.token = Secret::new(self.placeholder(scope));
        Ok(placeholder)
    }
}

#[async_trait::async_trait]
impl HttpClient for BoundCalls {
    async fn execute_request(&self, request: &Request) -> azure_core::Result<AsyncRawResponse> {
        let http_request = to_http_request(request)?;
        let result = match request.headers().get_optional_str(&AUTHORIZATION) {
            // The SDK's clients for Key Vault send such requests to learn the scope from the challenge.
            None => {
                let sent = self
                    .0
                    .without_certificate
                    .send(http_request, DEFAULT_TIMEOUT);
                sent.await
                    .map(|response| response.map(ResponseBody))
                    .map_err(|error| error.at(Stage::Resource))
            }
            Some(authorization) => {
                let scope = self
                    .scope_of_placeholder(authorization)
                    .ok_or_else(foreign_token)?;
                match self.resource(scope) {
                    Ok(resource) => resource.send(http_request).await.map(Response::into_http),
                    Err(error) => Err(error),
                }
            }
        };
        result
            .map(to_sdk_response)
            .map_err(|error| to_sdk_error(request, error))
    }
}

fn foreign_token() -> Error {
    Error::with_message(
        ErrorKind::Credential,
        "this transport sends bound tokens only: create the client with the credential of the same BoundCalls",
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
