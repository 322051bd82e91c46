use super::bearer_credential::access_token;
use super::conversions::{answer, outgoing, unexchanged};
use crate::http::{ResourceClient, Response, ResponseBody, without_certificate};
use crate::{KeyRequirements, ManagedIdentityClient, TokenRequest};
use azure_core::credentials::{AccessToken, Secret, TokenCredential, TokenRequestOptions};
use azure_core::error::{Error, ErrorKind};
use azure_core::http::headers::AUTHORIZATION;
use azure_core::http::{AsyncRawResponse, HttpClient, Request, Transport};
use keybound_core::{Stage, lock};
use keybound_transport::{HttpsClient, RequestBody};
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use uuid::Uuid;

/// What a client of the Azure SDK needs to make bound calls: a [`credential`](Self::credential) for its constructor and a
/// [`transport`](Self::transport) for its options, always both of one value.
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
/// The SDK never holds the token: the credential hands it a note that names the scope, and the transport puts the token
/// there when it sends, on a connection that presents the certificate of that token. The note is good for nothing else.
/// What a [`ResourceClient`] does by itself (claims challenges, moving to a renewed pair) is done here too; retries after
/// 429 and 503 are the SDK's.
#[derive(Clone)]
pub struct BoundCalls(Arc<Inner>);

struct Inner {
    client: ManagedIdentityClient,
    requirements: KeyRequirements,
    /// Tells the notes of this value from those of others.
    id: String,
    unauthenticated: HttpsClient,
    resources: Mutex<HashMap<String, ResourceClient>>,
}

impl BoundCalls {
    /// Calls with tokens of a client, whose key and certificate meet these requirements.
    ///
    /// # Errors
    /// [`ErrorKind::HostUnsupported`](crate::ErrorKind::HostUnsupported) where the host's TLS library does not do the work.
    pub fn new(
        client: &ManagedIdentityClient,
        requirements: KeyRequirements,
    ) -> crate::Result<Self> {
        Ok(Self(Arc::new(Inner {
            unauthenticated: without_certificate(client.shared())?,
            client: client.clone(),
            requirements,
            id: Uuid::new_v4().simple().to_string(),
            resources: Mutex::default(),
        })))
    }

    /// For the constructor of an SDK client that is given this value's [`transport`](Self::transport). Over any other
    /// transport its calls are refused by the resource, and nothing is given away.
    pub fn credential(&self) -> Arc<dyn TokenCredential> {
        Arc::new(self.clone())
    }

    /// For the options of an SDK client that is given this value's [`credential`](Self::credential). Calls with the tokens
    /// of other credentials are errors.
    pub fn transport(&self) -> Transport {
        Transport::new(Arc::new(self.clone()))
    }

    fn request(&self, scope: &str) -> TokenRequest {
        TokenRequest::pop(scope, self.0.requirements)
    }

    /// What stands for a token of this scope.
    fn note(&self, scope: &str) -> String {
        format!("keybound-{}:{scope}", self.0.id)
    }

    /// The scope of the note in the header that the SDK wrote.
    fn noted_scope<'a>(&self, authorization: &'a str) -> Option<&'a str> {
        let (scheme, note) = authorization.split_once(' ')?;
        scheme
            .eq_ignore_ascii_case("Bearer")
            .then_some(note)?
            .strip_prefix("keybound-")?
            .strip_prefix(self.0.id.as_str())?
            .strip_prefix(':')
    }

    async fn unauthenticated(
        &self,
        request: http::Request<RequestBody>,
    ) -> crate::Result<http::Response<ResponseBody>> {
        let sent = self.0.unauthenticated.send(request, TIMEOUT).await;
        sent.map(|response| response.map(ResponseBody::new))
            .map_err(|error| error.at(Stage::Resource))
    }

    fn resource(&self, scope: &str) -> crate::Result<ResourceClient> {
        let mut resources = lock(&self.0.resources);
        if let Some(resource) = resources.get(scope) {
            return Ok(resource.clone());
        }
        let resource = ResourceClient::new(&self.0.client, self.request(scope))?;
        // They hold little that is not the client's.
        if resources.len() >= MOST_RESOURCES {
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
        let scope = super::bearer_credential::only(scopes)?;
        // Fetched here, so that a failure is the credential's.
        let token = Box::pin(self.0.client.acquire_token(&self.request(scope)))
            .await
            .map_err(|error| Error::new(ErrorKind::Credential, error))?;
        let mut noted = access_token(token.issued());
        noted.token = Secret::new(self.note(scope));
        Ok(noted)
    }
}

#[async_trait::async_trait]
impl HttpClient for BoundCalls {
    async fn execute_request(&self, request: &Request) -> azure_core::Result<AsyncRawResponse> {
        let sent = match request.headers().get_optional_str(&AUTHORIZATION) {
            // As the SDK's clients for Key Vault do, to learn the scope from the challenge.
            None => self.unauthenticated(outgoing(request)?).await,
            Some(authorization) => {
                let scope = self.noted_scope(authorization).ok_or_else(foreign_token)?;
                let resource = self
                    .resource(scope)
                    .map_err(|error| unexchanged(request, error))?;
                let sent = resource.send(outgoing(request)?).await;
                sent.map(Response::into_http)
            }
        };
        sent.map(answer)
            .map_err(|error| unexchanged(request, error))
    }
}

fn foreign_token() -> Error {
    Error::with_message(
        ErrorKind::Credential,
        "this transport sends bound tokens only: give the client the credential of the same BoundCalls",
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

/// As that of calls with a token.
const TIMEOUT: Duration = Duration::from_secs(60);
const MOST_RESOURCES: usize = 256;
