//! The check of an access token by a resource: the vault and Graph.
use super::issuer;
use crate::call::Call;
use crate::config::TokenVersion;
use crate::pki::ClientCertificateProblem;
use crate::state::State;
use http::header::AUTHORIZATION;
use keybound_core::{Guid, UnverifiedJwt, X5tS256};

/// Why a resource rejects a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TokenProblem {
    /// No `Authorization` header.
    Missing,
    /// Several `Authorization` headers, or one that is not a scheme and a token.
    MalformedHeader,
    /// A scheme that is neither `mtls_pop` nor `Bearer`.
    UnknownScheme,
    /// Not a JWT.
    Malformed,
    /// Signed with another key or another algorithm.
    Signature,
    /// From another issuer or tenant.
    Issuer,
    NotYetValid,
    Expired,
    /// For another resource.
    Audience,
    /// A bound token presented as `Bearer`.
    BoundAsBearer,
    /// A token without `cnf` presented as `mtls_pop`.
    NotBound,
    /// The connection has no client certificate.
    NoCertificate,
    /// The connection's certificate is not from the issuer, or not valid now.
    Certificate(ClientCertificateProblem),
    /// The connection's certificate is not the one to which the token is bound.
    OtherCertificate,
}

/// Checks the token of a request and returns its claims: signature by Entra's key, issuer, validity by the emulated clock,
/// audience, scheme, and for a bound token the certificate of the connection.
pub(crate) async fn check(
    state: &State,
    call: &Call,
    audience: &str,
) -> Result<UnverifiedJwt, TokenProblem> {
    let (scheme, token) = authorization(call)?;
    let jwt = UnverifiedJwt::parse(token).ok_or(TokenProblem::Malformed)?;
    if !state.keys.entra.verifies(token) {
        return Err(TokenProblem::Signature);
    }
    check_claims(state, &jwt, audience)?;
    let confirmation = jwt.claims.get("cnf").map(|_| jwt.confirmation());
    match (scheme, confirmation) {
        (Scheme::Bearer, None) => Ok(jwt),
        (Scheme::Bearer, Some(_)) => Err(TokenProblem::BoundAsBearer),
        (Scheme::MtlsPop, Some(Some(thumbprint))) => {
            check_possession(state, call, thumbprint)?;
            Ok(jwt)
        }
        (Scheme::MtlsPop, None | Some(None)) => Err(TokenProblem::NotBound),
    }
}

#[derive(Clone, Copy)]
enum Scheme {
    MtlsPop,
    Bearer,
}

fn authorization(call: &Call) -> Result<(Scheme, &str), TokenProblem> {
    let mut values = call.request.headers().get_all(AUTHORIZATION).iter();
    let value = values.next().ok_or(TokenProblem::Missing)?;
    if values.next().is_some() {
        return Err(TokenProblem::MalformedHeader);
    }
    let (scheme, token) = value
        .to_str()
        .ok()
        .and_then(|text| text.split_once(' '))
        .ok_or(TokenProblem::MalformedHeader)?;
    if scheme.eq_ignore_ascii_case("mtls_pop") {
        Ok((Scheme::MtlsPop, token.trim()))
    } else if scheme.eq_ignore_ascii_case("bearer") {
        Ok((Scheme::Bearer, token.trim()))
    } else {
        Err(TokenProblem::UnknownScheme)
    }
}

fn check_claims(state: &State, jwt: &UnverifiedJwt, audience: &str) -> Result<(), TokenProblem> {
    let is_tenant = |tenant: &&Guid| jwt.text("tid").is_some_and(|tid| tenant.matches(tid));
    let tenant = state.config.tenant_ids().find(is_tenant);
    let tenant = tenant.ok_or(TokenProblem::Issuer)?.as_str();
    let is_issuer = |version| jwt.text("iss") == Some(&issuer(state, version, tenant));
    if ![TokenVersion::V1, TokenVersion::V2]
        .into_iter()
        .any(is_issuer)
    {
        return Err(TokenProblem::Issuer);
    }
    let now = state.clock.unix();
    let time = |name: &str| jwt.claims.get(name).and_then(serde_json::Value::as_u64);
    if time("nbf").is_none_or(|not_before| now < not_before) {
        return Err(TokenProblem::NotYetValid);
    }
    if time("exp").is_none_or(|expiry| now >= expiry) {
        return Err(TokenProblem::Expired);
    }
    let found = jwt.text("aud").map(|found| found.trim_end_matches('/'));
    if found != Some(audience) {
        return Err(TokenProblem::Audience);
    }
    Ok(())
}

/// Proof of possession: the TLS handshake proved possession of the certificate's key, and the token names the certificate.
fn check_possession(state: &State, call: &Call, thumbprint: &str) -> Result<(), TokenProblem> {
    let der = call
        .peer
        .client_certificate
        .as_deref()
        .ok_or(TokenProblem::NoCertificate)?;
    state
        .pki
        .check_client_certificate(der, state.clock.now())
        .map_err(TokenProblem::Certificate)?;
    if !X5tS256::of_der(der).matches(thumbprint) {
        return Err(TokenProblem::OtherCertificate);
    }
    Ok(())
}
