use super::send::To;
use crate::Binding;
use crate::access_token::{IssuedToken, Step};
use crate::acquire::Flow;
use crate::acquire::Plan;
use crate::cache::DualTime;
use crate::retry_after::service_time;
use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{Method, Request};
use keybound_core::{
    Error, Result, Stage, TokenForm, TokenResponse, TokenType, UnverifiedJwt, check_binding,
    check_token_identity,
};
use keybound_transport::{Idempotent, RequestBody};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

impl Flow {
    /// Asks Entra for the token over mutual TLS and checks it against the certificate. Its life is counted from before
    /// the request: never late.
    pub(in crate::acquire) async fn token(
        &self,
        plan: &Plan,
        binding: &Arc<Binding>,
    ) -> Result<(IssuedToken, DualTime)> {
        let (answer, asked_at, service_time) = self
            .step(Step::Token, self.token_answer(plan, binding))
            .await?;
        let life = self
            .step(Step::BindingCheck, async {
                check(&answer, binding, asked_at, service_time)
            })
            .await?;
        let later = |duration| {
            asked_at.wall.checked_add(duration).ok_or_else(|| {
                Error::invalid_response(Stage::Token, "the token's end is out of range")
            })
        };
        let expires_on = later(life)?;
        let issued = IssuedToken {
            expires_on,
            #[cfg(feature = "azure")]
            expires_on_date: crate::azure::date(expires_on),
            refresh_on: answer.refresh_in.map(later).transpose()?,
            life,
            refresh_in: answer.refresh_in,
            token_type: answer.token_type,
            scope: plan.key.scope.clone(),
            secret: answer.access_token,
        };
        Ok((issued, asked_at))
    }

    /// The answer, when it was asked for, and the time by the service's clock where it says so.
    async fn token_answer(
        &self,
        plan: &Plan,
        binding: &Binding,
    ) -> Result<(TokenResponse, DualTime, Option<SystemTime>)> {
        let form = TokenForm {
            client_id: binding.client_id(),
            scope: &plan.key.scope,
            token_type: plan.key.token_type,
            claims: plan.claims.as_deref(),
        };
        let body = Bytes::from(form.encode());
        let asked_at = self.shared.now();
        let answer = self
            .call(To::Entra(binding), Stage::Token, || {
                self.token_request(binding, body.clone())
            })
            .await?;
        Ok((
            TokenResponse::parse(answer.body(), plan.key.token_type)?,
            asked_at,
            service_time(answer.headers()),
        ))
    }

    fn token_request(&self, binding: &Binding, body: Bytes) -> Result<Request<RequestBody>> {
        let request_id = self.request_id.to_string();
        Request::builder()
            .method(Method::POST)
            .uri(binding.credential().endpoint.token_url().as_str())
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(ACCEPT, "application/json")
            .header("x-ms-client-request-id", &request_id)
            .header("return-client-request-id", "true")
            // A retry yields another token at most, and Entra closes idle connections at any time.
            .extension(Idempotent)
            .body(RequestBody::full(body))
            .map_err(|error| {
                Error::invalid_request("the token request is malformed").with_source(error)
            })
    }
}

/// A bound token must be bound to this certificate; any token must be for this client and tenant, as far as it says. Yields
/// how long it is good for: by the answer or by its own claim `exp`, whichever is shorter.
///
/// `exp` is held against the service's clock, which is the one that it was written by: a host whose clock is wrong by more
/// than a token's life is served all the same.
fn check(
    answer: &TokenResponse,
    binding: &Binding,
    asked_at: DualTime,
    service_time: Option<SystemTime>,
) -> Result<Duration> {
    let jwt = match answer.token_type {
        TokenType::MtlsPop => Some(check_binding(&answer.access_token, binding.certificate())?),
        // A bearer token may be opaque.
        _ => UnverifiedJwt::parse(answer.access_token.expose()),
    };
    let Some(jwt) = jwt else {
        return Ok(answer.expires_in);
    };
    check_token_identity(&jwt, binding.client_id(), binding.tenant_id())?;
    let Some(ends) = jwt.expires()? else {
        return Ok(answer.expires_in);
    };
    let now = service_time.unwrap_or(asked_at.wall);
    let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    match ends.checked_sub(now) {
        Some(left) if !left.is_zero() => Ok(left.min(answer.expires_in)),
        _ => Err(Error::invalid_response(
            Stage::Token,
            match service_time {
                Some(_) => "the access token had ended before it was asked for",
                None => "by this host's clock the access token had ended before it was asked for",
            },
        )),
    }
}
