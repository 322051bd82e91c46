//! The check of an access token by a resource: the vault and Graph. Bound tokens are verified by `keybound-resource`.
use super::issuer;
use crate::call::Call;
use crate::config::TokenVersion;
use crate::pki::ClientCertificateProblem;
use crate::state::State;
use http::HeaderValue;
use http::header::AUTHORIZATION;
use keybound_core::{Guid, UnverifiedJwt};
use keybound_resource::{Authorization, CertificateError, ClientCertificate, Reason};

/// An accepted token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AcceptedToken {
    /// The connection has the certificate to which it is bound.
    Bound,
    Bearer,
}

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

/// Checks the token of a request: signature by one of Entra's keys, issuer, validity by the emulated clock, audience, scheme, and for
/// a bound token the certificate of the connection.
pub(crate) fn check(
    state: &State,
    call: &Call,
    audience: &'static str,
) -> Result<AcceptedToken, TokenProblem> {
    let values = || call.request.headers().get_all(AUTHORIZATION).iter();
    if let Some(token) = bearer_token(values()) {
        check_bearer(state, token, audience)?;
        return Ok(AcceptedToken::Bearer);
    }
    let verifiers = &state.bound_tokens;
    let verifier = verifiers
        .get(state, audience)
        .ok_or(TokenProblem::Signature)?;
    let presented = call.peer.client_certificate.as_deref();
    let certificate: Result<_, CertificateError> =
        presented.map(ClientCertificate::from_der).transpose();
    let authorization = Authorization::from_values(values());
    let verified = verifier.verify(authorization, &certificate);
    match verified.map_err(|refusal| refusal.reason()) {
        Ok(_) => Ok(AcceptedToken::Bound),
        // Another certificate. A further problem of it is the clearer message.
        Err(Reason::BindingMismatch) => {
            check_issuer(state, presented)?;
            Err(TokenProblem::OtherCertificate)
        }
        // The verifier takes a lone token for a scheme.
        Err(Reason::SchemeUnsupported)
            if values().any(|value| !value.as_bytes().contains(&b' ')) =>
        {
            Err(TokenProblem::MalformedHeader)
        }
        Err(reason) => Err(problem(reason)),
    }
}

/// The token of the only header, if its scheme is `Bearer`.
fn bearer_token<'a>(mut values: impl Iterator<Item = &'a HeaderValue>) -> Option<&'a str> {
    let value = values.next().filter(|_| values.next().is_none())?;
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

fn check_bearer(state: &State, token: &str, audience: &str) -> Result<(), TokenProblem> {
    let jwt = UnverifiedJwt::parse(token).ok_or(TokenProblem::Malformed)?;
    if !state.keys.entra.verifies(token) {
        return Err(TokenProblem::Signature);
    }
    check_claims(state, &jwt, audience)?;
    if jwt.claims.contains_key("cnf") {
        return Err(TokenProblem::BoundAsBearer);
    }
    Ok(())
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
    let api = state.config.resource(audience);
    let is_own = |found: &str| {
        found.trim_end_matches('/') == audience
            || api.is_some_and(|api| api.client_id.matches(found))
    };
    if !jwt.text("aud").is_some_and(is_own) {
        return Err(TokenProblem::Audience);
    }
    Ok(())
}

/// Checks that the certificate was issued by this IMDS.
fn check_issuer(state: &State, presented: Option<&[u8]>) -> Result<(), TokenProblem> {
    let der = presented.ok_or(TokenProblem::NoCertificate)?;
    let checked = state.pki.check_client_certificate(der, state.clock.now());
    checked.map(|_| ()).map_err(TokenProblem::Certificate)
}

fn problem(reason: Reason) -> TokenProblem {
    use ClientCertificateProblem::{Expired, Foreign, Malformed, NotYetValid};
    match reason {
        Reason::TokenMissing => TokenProblem::Missing,
        Reason::AuthorizationRepeated | Reason::AuthorizationMalformed => {
            TokenProblem::MalformedHeader
        }
        Reason::SchemeUnsupported => TokenProblem::UnknownScheme,
        Reason::AlgorithmUnsupported
        | Reason::HeaderUnsupported
        | Reason::KeyUnknown
        | Reason::KeyIssuerMismatch
        | Reason::KeysUnavailable
        | Reason::SignatureInvalid => TokenProblem::Signature,
        Reason::CertificateMissing => TokenProblem::NoCertificate,
        Reason::CertificateMalformed => TokenProblem::Certificate(Malformed),
        Reason::CertificateExpired => TokenProblem::Certificate(Expired),
        Reason::CertificateNotYetValid => TokenProblem::Certificate(NotYetValid),
        Reason::CertificateKeyWeak | Reason::CertificateUntrusted => {
            TokenProblem::Certificate(Foreign)
        }
        Reason::NotBound => TokenProblem::NotBound,
        Reason::BindingMismatch => TokenProblem::OtherCertificate,
        Reason::IssuerMismatch | Reason::TenantMismatch => TokenProblem::Issuer,
        Reason::AudienceMismatch => TokenProblem::Audience,
        Reason::TokenExpired => TokenProblem::Expired,
        Reason::TokenNotYetValid => TokenProblem::NotYetValid,
        // A token that cannot be read; the other reasons need a policy that these resources do not have.
        _ => TokenProblem::Malformed,
    }
}
