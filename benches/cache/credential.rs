//! Keybound behind azure_core's trait.
use crate::world;
use azure_core::credentials::{AccessToken, TokenCredential, TokenRequestOptions};
use azure_core::error::{Error, ErrorKind};
use keybound::ManagedIdentityClient;
use std::sync::Arc;

/// A credential over a client.
pub fn credential(client: &ManagedIdentityClient) -> Arc<dyn TokenCredential> {
    Arc::new(Credential(client.clone()))
}

#[derive(Debug)]
struct Credential(ManagedIdentityClient);

#[async_trait::async_trait]
impl TokenCredential for Credential {
    async fn get_token(
        &self,
        scopes: &[&str],
        _options: Option<TokenRequestOptions<'_>>,
    ) -> azure_core::Result<AccessToken> {
        let [scope] = scopes else {
            return Err(Error::with_message(ErrorKind::Credential, "one scope"));
        };
        let token = self.0.acquire_token(world::request_for(scope)).await;
        let token = token.map_err(|error| Error::new(ErrorKind::Credential, error))?;
        Ok(AccessToken::new(
            token.secret().expose().to_owned(),
            token.expires_on().into(),
        ))
    }
}
