use super::conversions::{
    single_scope, to_http_request, to_sdk_error, to_sdk_response, to_sdk_token,
};
use crate::KeyRequirements;
use crate::confidential::TokenClient;
use crate::http;
use azure_core::credentials::{AccessToken, Secret, TokenCredential, TokenRequestOptions};
use azure_core::error::{Error, ErrorKind};
use azure_core::http::{AsyncRawResponse, HttpClient, Request, Transport};
use std::sync::Arc;

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
/// elsewhere. The transport handles claims challenges and renewed certificates as a [`ResourceClient`](crate::http::ResourceClient) does; the SDK retries
/// after 429 and 503.
#[derive(Clone, Debug)]
pub struct BoundCalls(http::BoundCalls);

impl BoundCalls {
    /// Calls with the tokens of this client, with a key and certificate that meet these requirements.
    ///
    /// # Errors
    /// [`ErrorKind::HostUnsupported`](crate::ErrorKind::HostUnsupported) if the host's TLS library cannot be set up.
    pub fn new(
        client: impl Into<TokenClient>,
        requirements: KeyRequirements,
    ) -> crate::Result<Self> {
        http::BoundCalls::with_redirects(client, requirements, true).map(Self)
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
        let token = Box::pin(self.0.acquire_token(scope))
            .await
            .map_err(|error| Error::new(ErrorKind::Credential, error))?;
        let mut placeholder = to_sdk_token(token.issued());
        placeholder.token = Secret::new(self.0.placeholder(scope));
        Ok(placeholder)
    }
}

#[async_trait::async_trait]
impl HttpClient for BoundCalls {
    async fn execute_request(&self, request: &Request) -> azure_core::Result<AsyncRawResponse> {
        let sent = self.0.send(to_http_request(request)?).await;
        sent.map(to_sdk_response)
            .map_err(|error| to_sdk_error(request, error))
    }
}
