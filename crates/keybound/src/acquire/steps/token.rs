use crate::Binding;
use crate::access_token::{IssuedToken, ReceivedToken};
use crate::acquire::{Flow, Plan};
use crate::cache::DualTime;
use crate::retry_after::service_time;
use crate::step::Step;
use crate::wire::Route;
use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{Method, Request};
use keybound_core::retry::Leg;
use keybound_core::{
    Certificate, ClientAuthentication, Error, ErrorKind, Guid, ManagedIdentitySource, Result,
    Stage, TokenForm, TokenResponse, TokenType, UnverifiedJwt, check_binding, check_token_identity,
};
use keybound_transport::{Idempotent, RequestBody};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use url::Url;
use uuid::Uuid;

impl Flow {
    /// Requests the token from Entra over mutual TLS and checks it against the certificate. Returns it with the time before the
    /// request, from which its lifetime is counted.
    pub(in crate::acquire) async fn token(
        &self,
        plan: &Plan,
        binding: &Arc<Binding>,
    ) -> Result<(IssuedToken, DualTime)> {
        let (response, requested, service_time) = self
            .step(Step::Token, self.request_token(plan, binding))
            .await?;
        let life = self
            .step(Step::BindingCheck, async {
                let checks = TokenChecks {
                    certificate: Some(binding.certificate()),
                    client_id: binding.client_id(),
                    tenant_id: binding.tenant_id(),
                    requested,
                    service_time,
                };
                checks.check(&response)
            })
            .await?;
        let received = ReceivedToken {
            secret: response.access_token,
            token_type: response.token_type,
            scope: plan.key.scope.clone(),
            source: Some(ManagedIdentitySource::Imds),
            life,
            refresh_in: response.refresh_in,
        };
        Ok((
            IssuedToken::new(received, requested, Stage::Token)?,
            requested,
        ))
    }

    /// The response, the time before the request, and the time in the response's Date header, if any.
    async fn request_token(
        &self,
        plan: &Plan,
        binding: &Binding,
    ) -> Result<(TokenResponse, DualTime, Option<SystemTime>)> {
        let form = TokenForm {
            client_id: binding.client_id(),
            scope: &plan.key.scope,
            token_type: plan.key.token_type,
            authentication: ClientAuthentication::Certificate,
            claims: plan.claims.as_deref(),
        };
        let body = Bytes::from(form.encode());
        let url = binding.credential().endpoint.token_url();
        let requested = self.context.now();
        let response = self
            .send(Leg::Entra, Route::Entra(binding), Stage::Token, || {
                token_request(url, self.request_id, body.clone())
            })
            .await?;
        Ok((
            TokenResponse::parse(response.body(), plan.key.token_type)?,
            requested,
            service_time(response.headers()),
        ))
    }
}

/// A request to a token endpoint.
pub(super) fn token_request(
    url: &Url,
    request_id: Uuid,
    body: Bytes,
) -> http::Result<Request<RequestBody>> {
    let request_id = request_id.to_string();
    Request::builder()
        .method(Method::POST)
        .uri(url.as_str())
        .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
        .header(ACCEPT, "application/json")
        .header("x-ms-client-request-id", &request_id)
        .header("return-client-request-id", "true")
        // A replay issues another token at most, and Entra may close an idle connection at any time.
        .extension(Idempotent)
        .body(RequestBody::full(body))
}

/// What a token response must agree with.
pub(super) struct TokenChecks<'a> {
    /// That of the connection, if it presents one.
    pub(super) certificate: Option<&'a Certificate>,
    pub(super) client_id: &'a Guid,
    pub(super) tenant_id: &'a Guid,
    pub(super) requested: DualTime,
    /// The time in the response's Date header, if any.
    pub(super) service_time: Option<SystemTime>,
}

impl TokenChecks<'_> {
    /// Checks that a bound token is bound to the certificate, and that a token with claims is for this client and tenant. Returns
    /// the lifetime: that of the response or that of its claim `exp`, whichever is shorter.
    ///
    /// `exp` is compared with the service's clock, so that a clock skew of the host beyond a token's lifetime is harmless.
    pub(super) fn check(&self, response: &TokenResponse) -> Result<Duration> {
        let token = &response.access_token;
        let jwt = match (response.token_type, self.certificate) {
            (TokenType::MtlsPop, Some(certificate)) => Some(check_binding(token, certificate)?),
            (TokenType::MtlsPop, None) => {
                return Err(Error::new(
                    ErrorKind::TokenNotBound,
                    Stage::Token,
                    "the connection presented no certificate that the access token could be bound to",
                ));
            }
            // A bearer token may be opaque.
            _ => UnverifiedJwt::parse(token.expose()),
        };
        let Some(jwt) = jwt else {
            return Ok(response.expires_in);
        };
        check_token_identity(&jwt, self.client_id, self.tenant_id)?;
        let Some(expires) = jwt.expires()? else {
            return Ok(response.expires_in);
        };
        let now = self.service_time.unwrap_or(self.requested.wall);
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        match expires.checked_sub(now) {
            Some(left) if !left.is_zero() => Ok(left.min(response.expires_in)),
            _ => Err(Error::invalid_response(
                Stage::Token,
                match self.service_time {
                    Some(_) => "the access token had expired before it was requested",
                    None => {
                        "by this host's clock the access token had expired before it was requested"
                    }
                },
            )),
        }
    }
}
