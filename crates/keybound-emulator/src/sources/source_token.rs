use super::Problem;
use super::protocol::TokenRequest;
use crate::call::Call;
use crate::entra::access_token::{self, TokenContents};
use crate::faults::Action;
use crate::response::{Response, json_response};
use crate::state::State;
use http::{HeaderValue, header};
use serde_json::Value;

/// A bearer token for a source's response.
pub(crate) struct SourceToken {
    pub access_token: String,
    pub token_type: String,
    pub client_id: String,
    pub resource: String,
    /// Seconds since 1970, as the next one.
    pub not_before: u64,
    pub expires_on: u64,
    /// Seconds from now.
    pub expires_in: u64,
}

impl SourceToken {
    /// Issues a token for a valid request, and records for whom and for which resource.
    ///
    /// # Errors
    /// [`Problem::Internal`] if the token cannot be signed.
    pub async fn issue(
        state: &State,
        call: &mut Call,
        request: TokenRequest<'_>,
    ) -> Result<Self, Problem> {
        call.note("client_id", request.identity.client_id.as_str());
        call.note("resource", &request.resource);
        let contents = TokenContents {
            identity: request.identity,
            resource: &request.resource,
            bound_to: None,
            capabilities: &request.capabilities,
        };
        let token = access_token::issue(state, call.fault.as_ref(), &contents)
            .await
            .map_err(|_| Problem::Internal)?;
        let token_type = match &call.fault {
            Some(Action::TokenType(word)) => word.clone(),
            _ => "Bearer".to_owned(),
        };
        call.note("token_type", &token_type);
        Ok(Self {
            access_token: token.text,
            token_type,
            client_id: request.identity.client_id.as_str().to_owned(),
            resource: request.resource,
            not_before: token.not_before,
            expires_on: token.expires_on,
            expires_in: token.expires_on.saturating_sub(state.clock.unix()),
        })
    }
}

/// 200 with a token, which must not be stored.
pub(crate) fn token_response(body: &Value) -> Response {
    let mut response = json_response(200, body);
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
