use super::ErrorResponse;
use super::csr::CheckedCsr;
use crate::clock::unix;
use crate::maa;
use crate::service::Service;
use crate::state::State;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use keybound_core::UnverifiedJwt;
use std::time::SystemTime;

/// Checks that an attestation token is valid and attests the key of a signing request.
pub(super) async fn check(
    state: &State,
    token: &str,
    csr: &CheckedCsr<'_>,
) -> Result<(), ErrorResponse> {
    let claims = read(token).map_err(ErrorResponse::invalid)?;
    if claims.issuer != state.endpoints.origin(Service::Maa) {
        return Err(ErrorResponse::invalid(
            "Attestation Token is from an untrusted issuer",
        ));
    }
    let key = state.keys.maa.get().await?;
    if !key.verifies(token) {
        return Err(ErrorResponse::invalid(
            "Attestation Token has an invalid signature",
        ));
    }
    check_times(&claims, state.clock.now())?;
    if !claims.simulated {
        return Err(ErrorResponse::invalid("Attestation Token is not simulated"));
    }
    let encodes = |text: &str, number: &[u8]| URL_SAFE_NO_PAD.encode(number) == text;
    if !encodes(&claims.modulus, csr.modulus) || !encodes(&claims.exponent, csr.exponent) {
        return Err(ErrorResponse::invalid(
            "Attestation Token is for another key than the CSR",
        ));
    }
    Ok(())
}

/// The claims of an attestation token; the signature is not verified.
#[derive(Debug)]
pub(crate) struct AttestationClaims {
    issuer: String,
    not_before: u64,
    expires: u64,
    simulated: bool,
    modulus: String,
    exponent: String,
}

/// Parses an attestation token.
///
/// # Errors
/// The problem.
pub(crate) fn read(token: &str) -> Result<AttestationClaims, &'static str> {
    let jwt = UnverifiedJwt::parse(token).ok_or("Attestation Token is not a JWT")?;
    let claims = || {
        let time = |name: &str| jwt.claims.get(name)?.as_u64();
        let key = jwt.claims.get("x-ms-runtime")?.get("keys")?.get(0)?;
        let member = |name: &str| key.get(name)?.as_str().map(str::to_owned);
        Some(AttestationClaims {
            issuer: jwt.text("iss")?.to_owned(),
            not_before: time("nbf")?,
            expires: time("exp")?,
            simulated: jwt.text("x-ms-attestation-type") == Some(maa::SIMULATED),
            modulus: member("n")?,
            exponent: member("e")?,
        })
    };
    claims().ok_or("Attestation Token lacks iss, nbf, exp or the key")
}

fn check_times(claims: &AttestationClaims, now: SystemTime) -> Result<(), ErrorResponse> {
    let now = unix(now);
    if claims.expires <= now {
        return Err(ErrorResponse::invalid("Attestation Token has expired"));
    }
    if claims.not_before > now {
        return Err(ErrorResponse::invalid("Attestation Token is not valid yet"));
    }
    Ok(())
}
