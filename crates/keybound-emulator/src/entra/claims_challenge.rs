use super::issuer;
use crate::config::TokenVersion;
use crate::state::State;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::HeaderValue;
use serde_json::json;

/// The `WWW-Authenticate` header of a claims challenge with these claims (JSON); by default for a token that is issued from
/// now on.
pub(crate) fn claims_challenge(state: &State, claims: Option<&str>) -> HeaderValue {
    let newer = || {
        let now = state.clock.unix().to_string();
        json!({"access_token": {"nbf": {"essential": true, "value": now}}}).to_string()
    };
    let claims = claims.map_or_else(newer, str::to_owned);
    let text = format!(
        r#"Bearer realm="", authorization_uri="{}", error="insufficient_claims", claims="{}""#,
        issuer(state, TokenVersion::V2, state.config.tenant_id.as_str()),
        URL_SAFE_NO_PAD.encode(claims)
    );
    HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static("Bearer"))
}
