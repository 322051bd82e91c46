use crate::{Certificate, Error, ErrorKind, Guid, Result, SecretString, Stage, UnverifiedJwt};

/// Checks that a token is bound to a certificate: its claim `cnf.x5t#S256` equals the certificate's thumbprint (RFC 8705
/// section 3.1), compared in constant time. The token's signature is not verified: the resource does that.
///
/// # Errors
/// [`ErrorKind::InvalidResponse`] if the token is not a readable JWT, [`ErrorKind::TokenNotBound`] if the claim is
/// missing, [`ErrorKind::BindingMismatch`] if it names another certificate.
pub fn check_binding(token: &SecretString, certificate: &Certificate) -> Result<UnverifiedJwt> {
    let jwt = UnverifiedJwt::parse(token.expose()).ok_or_else(|| {
        Error::invalid_response(Stage::Token, "the access token is not a readable JWT")
    })?;
    let Some(confirmation) = jwt.confirmation() else {
        return Err(Error::new(
            ErrorKind::TokenNotBound,
            Stage::Token,
            "the access token is not bound to a certificate",
        ));
    };
    if !certificate.thumbprints().x5t_s256.matches(confirmation) {
        return Err(Error::new(
            ErrorKind::BindingMismatch,
            Stage::Token,
            "the access token is bound to another certificate",
        ));
    }
    Ok(jwt)
}

/// Checks that the claims `appid`, `azp` and `tid` of a token, as far as present, name this client and tenant.
///
/// # Errors
/// [`ErrorKind::IdentityMismatch`].
pub fn check_token_identity(jwt: &UnverifiedJwt, client_id: &Guid, tenant_id: &Guid) -> Result<()> {
    for (claim, expected) in [("appid", client_id), ("azp", client_id), ("tid", tenant_id)] {
        let matches = match jwt.claims.get(claim) {
            None => true,
            Some(value) => value.as_str().is_some_and(|value| expected.matches(value)),
        };
        if !matches {
            return Err(Error::new(
                ErrorKind::IdentityMismatch,
                Stage::Token,
                format!(
                    "the claim {claim} of the access token names another identity than the requested one"
                ),
            ));
        }
    }
    Ok(())
}
