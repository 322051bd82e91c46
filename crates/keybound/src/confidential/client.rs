use super::{ClientCredential, ConfidentialClientBuilder};
use crate::acquire::ClientContext;
use crate::token_client::token_methods;
use crate::{AccessToken, Environment, Result, TokenRequest};
use std::fmt;
use std::sync::Arc;

/// Acquires access tokens for an app registration whose credential is an assertion (federated credentials). Cloning is cheap and
/// shares the tokens: create one client and reuse it. See [`confidential`](crate::confidential).
#[derive(Clone)]
pub struct ConfidentialClient(pub(super) Arc<ClientContext>);

impl ConfidentialClient {
    /// A builder of a client for the app registration with this client id in this tenant, both GUIDs.
    pub fn builder(
        tenant_id: impl Into<String>,
        client_id: impl Into<String>,
        credential: ClientCredential,
    ) -> ConfidentialClientBuilder {
        ConfidentialClientBuilder::new(tenant_id.into(), client_id.into(), credential)
    }

    /// A builder of the client that AKS workload identity configures: `AZURE_TENANT_ID`, `AZURE_CLIENT_ID`,
    /// `AZURE_FEDERATED_TOKEN_FILE`, and `AZURE_AUTHORITY_HOST` if it is set.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidRequest`](crate::ErrorKind::InvalidRequest) if one of the first three is not set.
    pub fn workload_identity(environment: Environment) -> Result<ConfidentialClientBuilder> {
        let variables = environment.workload_identity()?;
        let credential = ClientCredential::token_file(variables.token_file);
        let builder = Self::builder(variables.tenant_id, variables.client_id, credential);
        Ok(builder.environment(environment))
    }

    /// Acquires a token, from the cache or from Entra in exchange for an assertion. It is shared, refreshed and returned after a
    /// failed refresh as by [`ManagedIdentityClient::acquire_token`](crate::ManagedIdentityClient::acquire_token).
    ///
    /// With `force_refresh`, the assertion of a managed identity is a new one too. The claims of a request are sent with the exchange;
    /// its assertion is a new one, with a new certificate if it is bound to one, and its token is not cached. If Entra refuses a cached
    /// assertion, or its certificate, both are replaced once.
    ///
    /// Needs a tokio runtime with time and I/O; [`blocking`](crate::blocking) has its own.
    ///
    /// # Errors
    /// Those of the assertion: of a managed identity those of its client, with their stages; otherwise of stage assertion. Those of
    /// the exchange are of stage exchange. A weaker token than the requested one is never returned.
    pub async fn acquire_token(&self, request: &TokenRequest) -> Result<AccessToken> {
        self.0.acquire_token(request).await
    }

    token_methods!();

    pub(crate) fn context(&self) -> &Arc<ClientContext> {
        &self.0
    }
}

impl fmt::Debug for ConfidentialClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt_as("ConfidentialClient", f)
    }
}
