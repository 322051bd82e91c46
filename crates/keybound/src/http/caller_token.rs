//! Requests whose caller has set the Authorization header.
use super::token_bound_auth::{TokenBoundAuthHosts, request_certificate};
use crate::authorization_header::is_vault;
use http::header::{AUTHORIZATION, HeaderValue};
use http::{HeaderMap, Request};
use keybound_core::{Error, ErrorKind, Result, Stage, UnverifiedJwt, X5tS256};

/// Checks that the token in the header is bound to this certificate, and completes the headers.
pub(super) fn authorize_with_own_header<B>(
    request: &mut Request<B>,
    certificate: &X5tS256,
) -> Result<()> {
    let value = single_authorization(request.headers())?
        .ok_or_else(|| Error::invalid_request("the request has no Authorization header"))?;
    let token = bound_token(value, certificate)?;
    let mut value = value.clone();
    // `Debug` of the request then hides it.
    value.set_sensitive(true);
    request.headers_mut().insert(AUTHORIZATION, value);
    let is_for_vault = token.text("aud").is_some_and(is_vault);
    request_certificate(request, is_for_vault, &TokenBoundAuthHosts::default());
    Ok(())
}

/// The Authorization header, if there is one. Several are an error: servers differ in which one counts.
pub(super) fn single_authorization(headers: &HeaderMap) -> Result<Option<&HeaderValue>> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let first = values.next();
    match values.next() {
        None => Ok(first),
        Some(_) => Err(Error::invalid_request(
            "the request has several Authorization headers",
        )),
    }
}

/// The token after the scheme, if it is bound to this certificate.
fn bound_token(authorization: &HeaderValue, certificate: &X5tS256) -> Result<UnverifiedJwt> {
    let token = authorization
        .to_str()
        .ok()
        .and_then(|text| text.split_once(' '))
        .and_then(|(_, token)| UnverifiedJwt::parse(token.trim()))
        .ok_or_else(|| {
            Error::invalid_request(
                "the Authorization header is not a scheme and a token that is a readable JWT",
            )
        })?;
    let Some(confirmation) = token.confirmation() else {
        let message = "the token is bound to no certificate";
        return Err(
            Error::new(ErrorKind::TokenNotBound, Stage::Resource, message)
                .with_next_step("send a bearer token with any HTTP client; nothing was sent"),
        );
    };
    if !certificate.matches(confirmation) {
        return Err(Error::new(
            ErrorKind::BindingMismatch,
            Stage::Resource,
            "the token is bound to another certificate than this client presents",
        ));
    }
    Ok(token)
}
