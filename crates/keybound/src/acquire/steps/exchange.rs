use super::error_response::exchange_error;
use super::token::{TokenChecks, token_request};
use crate::access_token::{IssuedToken, ReceivedToken};
use crate::acquire::app_flow::CheckedAssertion;
use crate::acquire::{Flow, Plan};
use crate::cache::DualTime;
use crate::confidential::{App, check_receiver};
use crate::retry_after::service_time;
use crate::step::Step;
use crate::wire::Route;
use bytes::Bytes;
use keybound_core::retry::Leg;
use keybound_core::{
    ClientAuthentication, ErrorKind, Result, ServiceError, Stage, TokenForm, TokenResponse,
};

impl Flow {
    /// Exchanges an assertion for a token and checks the token: of a bound one, that it is bound to the certificate of the assertion.
    /// Returns it with the time before the request, from which its lifetime is counted.
    pub(in crate::acquire) async fn exchange(
        &self,
        app: &App,
        plan: &Plan,
        checked: &CheckedAssertion,
    ) -> Result<(IssuedToken, DualTime)> {
        let exchanged = async {
            let exchanged = self.exchanged(app, plan, checked).await;
            // The parsers and checks of tokens name their stage.
            exchanged.map_err(|error| match (error.stage(), error.kind()) {
                (Stage::Token, _) => error.with_stage(Stage::Exchange),
                (_, ErrorKind::ClientCertificateRejected) if error.service().is_none() => {
                    error.with_next_step(CHECK_WAY)
                }
                _ => error,
            })
        };
        self.step(Step::Exchange, exchanged).await
    }

    async fn exchanged(
        &self,
        app: &App,
        plan: &Plan,
        checked: &CheckedAssertion,
    ) -> Result<(IssuedToken, DualTime)> {
        let binding = checked.binding.as_ref().map(|cached| &cached.binding);
        let secret = &checked.assertion.secret;
        let form = TokenForm {
            client_id: &app.key.client_id,
            scope: &plan.key.scope,
            token_type: plan.key.token_type,
            authentication: match binding {
                Some(_) => ClientAuthentication::BoundAssertion(secret),
                None => ClientAuthentication::BearerAssertion(secret),
            },
            claims: plan.claims.as_deref(),
        };
        let body = Bytes::from(form.encode());
        let settings = &self.context.settings.shared;
        let url = app.allowed_url(binding.is_some(), settings)?;
        if let Some(binding) = binding {
            check_receiver(binding, &url)?;
        }
        let route = match binding {
            Some(binding) => Route::Entra(binding),
            None => Route::Authority(app.authority_client(&settings.https)?),
        };
        let requested = self.context.now();
        let check = |response: http::Response<Bytes>| match response.status() {
            http::StatusCode::OK => Ok(response),
            _ => Err(exchange_error(&response, secret, binding.is_some())),
        };
        let response = self
            .send_checked(Leg::Entra, route, Stage::Exchange, check, || {
                token_request(&url, self.request_id, body.clone())
            })
            .await?;
        let service_time = service_time(response.headers());
        let token = TokenResponse::parse(response.body(), plan.key.token_type);
        let token = token.map_err(|error| match error.service() {
            Some(_) => {
                error.with_service(ServiceError::parse_without(response.body(), Some(secret)))
            }
            None => error,
        })?;
        let checks = TokenChecks {
            certificate: binding.map(|binding| binding.certificate()),
            client_id: &app.key.client_id,
            tenant_id: &app.key.tenant_id,
            requested,
            service_time,
        };
        let received = ReceivedToken {
            life: checks.check(&token)?,
            secret: token.access_token,
            token_type: token.token_type,
            scope: plan.key.scope.clone(),
            source: None,
            refresh_in: token.refresh_in,
        };
        let issued = IssuedToken::new(received, requested, Stage::Exchange)?;
        Ok((issued, requested))
    }
}

/// If the connection to the authority failed because of the client certificate.
const CHECK_WAY: &str = "the certificate remains in use, as the token endpoint of the managed identity accepted it: check that no proxy or \
                         firewall inspects TLS to the authority, and that the authority is one of the identity's cloud";
