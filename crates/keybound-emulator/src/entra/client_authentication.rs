//! How clients authenticate: managed identities by their certificate, app registrations by an assertion.
#[cfg(test)]
mod tests;

use super::access_token::Principal;
use super::error_response::{
    ErrorResponse, NO_CERTIFICATE, NOT_VALID_NOW, OTHER_CERTIFICATE, TOKEN_NOT_AFTER,
};
use super::issuer;
use super::token_request::{Assertion, TokenRequest, unknown_client};
use crate::call::Call;
use crate::config::{App, FederatedCredential, TokenVersion, is_same_uri};
use crate::pki::{ClientCertificate, ClientCertificateProblem};
use crate::state::State;
use keybound_core::{Guid, UnverifiedJwt, X5tS256};

/// A client that proved what it is.
pub(super) struct AuthenticatedClient<'a> {
    pub(super) principal: Principal<'a>,
    /// The certificate of the connection, if the client authenticated with it.
    pub(super) certificate: Option<X5tS256>,
}

impl<'a> AuthenticatedClient<'a> {
    pub(super) fn of(
        state: &'a State,
        call: &Call,
        tenant: &Guid,
        request: &TokenRequest,
    ) -> Result<Self, ErrorResponse> {
        match &request.assertion {
            None => of_certificate(state, call, tenant, request),
            Some(assertion) => of_assertion(state, call, tenant, request, assertion),
        }
    }
}

/// Checks that the certificate of the connection is the one of the managed identity that the request names.
fn of_certificate<'a>(
    state: &'a State,
    call: &Call,
    tenant: &Guid,
    request: &TokenRequest,
) -> Result<AuthenticatedClient<'a>, ErrorResponse> {
    let der = presented(call)?;
    let identity = state
        .config
        .identities
        .iter()
        .find(|identity| identity.client_id == request.client_id)
        .filter(|_| *tenant == state.config.tenant_id)
        .ok_or_else(unknown_client)?;
    let certificate = valid_certificate(state, der)?;
    if !identity.client_id.matches(&certificate.client_id) {
        return Err(not_accepted("it was issued to another client"));
    }
    if !tenant.matches(&certificate.tenant_id) {
        return Err(not_accepted("it was issued for another tenant"));
    }
    check_token_not_after(state, &certificate)?;
    Ok(AuthenticatedClient {
        principal: Principal::from(identity),
        certificate: Some(certificate.thumbprint),
    })
}

/// Checks that an assertion is one that a federated credential of the app registration names, and that a bound one is bound to the
/// certificate of the connection.
fn of_assertion<'a>(
    state: &'a State,
    call: &Call,
    tenant: &Guid,
    request: &TokenRequest,
    assertion: &Assertion,
) -> Result<AuthenticatedClient<'a>, ErrorResponse> {
    let mut tenants = state.config.tenants.iter();
    let tenant = tenants.find(|known| known.id == *tenant);
    let mut apps = tenant.iter().flat_map(|tenant| &tenant.apps);
    let app = apps
        .find(|app| app.client_id == request.client_id)
        .ok_or_else(unknown_client)?;
    let jwt = UnverifiedJwt::parse(&assertion.text)
        .ok_or_else(|| ErrorResponse::new(50_027, "JWT token is invalid or malformed."))?;
    check_federated_credentials(state, app, &jwt)?;
    if !state.keys.entra.verifies(&assertion.text) {
        return Err(ErrorResponse::new(
            50_027,
            "JWT token is invalid or malformed. Its signature is not that of its issuer.",
        ));
    }
    check_lifetime(state, &jwt)?;
    let certificate = match assertion.bound {
        true => Some(bound_certificate(state, call, &jwt)?),
        false if jwt.claims.contains_key("cnf") => {
            return Err(ErrorResponse::new(
                500_181,
                "An assertion that is bound to a certificate is of type jwt-pop, over mutual TLS.",
            ));
        }
        false => None,
    };
    Ok(AuthenticatedClient {
        principal: Principal::from(app),
        certificate,
    })
}

/// The certificate of the connection, to which an assertion is bound.
fn bound_certificate(
    state: &State,
    call: &Call,
    jwt: &UnverifiedJwt,
) -> Result<X5tS256, ErrorResponse> {
    let certificate = valid_certificate(state, presented(call)?)?;
    check_token_not_after(state, &certificate)?;
    let confirmed = jwt.confirmation();
    if !confirmed.is_some_and(|confirmed| certificate.thumbprint.matches(confirmed)) {
        return Err(ErrorResponse::new(500_181, OTHER_CERTIFICATE));
    }
    Ok(certificate.thumbprint)
}

/// Finds the federated credential with the issuer, the audience and the subject of an assertion, and says which of them none has.
fn check_federated_credentials(
    state: &State,
    app: &App,
    jwt: &UnverifiedJwt,
) -> Result<(), ErrorResponse> {
    let found: Vec<_> = app.federated_credentials.iter().collect();
    if found.is_empty() {
        return Err(ErrorResponse::new(
            70_025,
            "The client application has no configured federated identity credentials.",
        ));
    }
    type Matches = fn(&State, &FederatedCredential, &UnverifiedJwt) -> bool;
    let rules: [(u32, &str, Matches); 3] = [
        (700_211, "issuer", is_issuer),
        (700_212, "audience", is_audience),
        (700_213, "subject", is_subject),
    ];
    let mut found = found;
    for (code, claim, matches) in rules {
        found.retain(|credential| matches(state, credential, jwt));
        if found.is_empty() {
            return Err(ErrorResponse::new(
                code,
                format!(
                    "No matching federated identity record found for presented assertion {claim}. Check your federated \
                     identity credential Subject, Audience and Issuer against the presented assertion."
                ),
            ));
        }
    }
    Ok(())
}

fn is_issuer(state: &State, credential: &FederatedCredential, jwt: &UnverifiedJwt) -> bool {
    let presented = jwt.text("iss");
    let own = |version| issuer(state, version, state.config.tenant_id.as_str());
    match &credential.issuer {
        Some(issuer) => presented == Some(issuer),
        None => [TokenVersion::V1, TokenVersion::V2]
            .into_iter()
            .any(|version| presented == Some(&own(version))),
    }
}

fn is_audience(state: &State, credential: &FederatedCredential, jwt: &UnverifiedJwt) -> bool {
    let Some(presented) = jwt.text("aud") else {
        return false;
    };
    let registered = state.config.resource(&credential.audience);
    presented == credential.audience
        || registered
            .is_some_and(|api| api.client_id.matches(presented) || is_same_uri(&api.uri, presented))
}

fn is_subject(_: &State, credential: &FederatedCredential, jwt: &UnverifiedJwt) -> bool {
    jwt.text("sub") == Some(&credential.subject)
}

fn check_lifetime(state: &State, jwt: &UnverifiedJwt) -> Result<(), ErrorResponse> {
    let now = state.clock.unix();
    let time = |name: &str| jwt.claims.get(name).and_then(serde_json::Value::as_u64);
    let has_begun = time("nbf").is_none_or(|begin| begin <= now);
    if has_begun && time("exp").is_some_and(|end| now < end) {
        return Ok(());
    }
    Err(ErrorResponse::new(
        700_024,
        "Client assertion is not within its valid time range.",
    ))
}

fn presented(call: &Call) -> Result<&[u8], ErrorResponse> {
    let der = call.peer.client_certificate.as_deref();
    der.ok_or_else(|| ErrorResponse::new(392_200, NO_CERTIFICATE))
}

fn valid_certificate(state: &State, der: &[u8]) -> Result<ClientCertificate, ErrorResponse> {
    let checked = state.pki.check_client_certificate(der, state.clock.now());
    checked.map_err(|problem| match problem {
        ClientCertificateProblem::Malformed => not_accepted("the certificate cannot be read"),
        ClientCertificateProblem::Foreign => not_accepted("the key was not found"),
        ClientCertificateProblem::Expired | ClientCertificateProblem::NotYetValid => {
            ErrorResponse::new(1_000_502, NOT_VALID_NOW)
        }
    })
}

fn check_token_not_after(
    state: &State,
    certificate: &ClientCertificate,
) -> Result<(), ErrorResponse> {
    let end = certificate.token_not_after;
    match end.is_some_and(|end| end <= state.clock.now()) {
        true => Err(ErrorResponse::new(1_000_901, TOKEN_NOT_AFTER)),
        false => Ok(()),
    }
}

fn not_accepted(reason: &'static str) -> ErrorResponse {
    ErrorResponse::new(
        700_027,
        format!("The client certificate is not accepted. [Reason - {reason}.]"),
    )
}
