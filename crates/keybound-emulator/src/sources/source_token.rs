use super::Problem;
use super::protocol::TokenRequest;
use crate::call::Call;
use crate::entra::access_token::{self, TokenContents};
use crate::faults::Action;
use crate::response::{Response, json_response};
use crate::state::State;
use http::{HeaderValue, header};
use serde_json::{Value, json};

/// A bearer token for a source's response.
pub(crate) struct SourceToken {
    /// In seconds since 1970.
    pub expires_on: u64,
    /// The members of all responses.
    members: Value,
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
            tenant: &state.config.tenant_id,
            principal: request.identity.into(),
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
        let expires_in = token.expires_on.saturating_sub(state.clock.unix());
        let identity = request.identity;
        let members = json!({
            "access_token": token.text,
            "client_id": identity.client_id.as_str(),
            "expires_in": expires_in.to_string(),
            "ext_expires_in": expires_in.to_string(),
            "msi_res_id": identity.resource_id,
            "not_before": token.not_before.to_string(),
            "object_id": identity.object_id.as_str(),
            "refresh_token": "",
            "resource": request.resource,
            "token_type": token_type,
        });
        Ok(Self {
            expires_on: token.expires_on,
            members,
        })
    }

    /// 200 with these members, without those that the identity does not have, and `expires_on`. It must not be stored.
    pub fn response(&self, members: &[&str], expires_on: Value) -> Response {
        let chosen = members
            .iter()
            .map(|name| (*name, self.members[*name].clone()));
        let chosen = chosen.chain([("expires_on", expires_on)]);
        let body: Value = chosen.filter(|(_, value)| !value.is_null()).collect();
        let mut response = json_response(200, &body);
        let headers = response.headers_mut();
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }
}
