use crate::check::{self, CERTIFICATE, CLIENT, TENANT, assert_no_canary};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use keybound_core::{
    AttestationToken, Guid, MAX_JWT, SecretString, UnverifiedJwt, check_binding,
    check_token_identity,
};
use serde_json::Value;

/// A JWT. Input that does not start like one is its claims.
pub fn jwt(data: &[u8]) {
    let text = match std::str::from_utf8(data) {
        Ok(text) if text.starts_with("ey") => text.to_owned(),
        _ => format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(data)),
    };
    let bound = check_binding(&SecretString::new(text.clone()), &CERTIFICATE);
    let Some(jwt) = UnverifiedJwt::parse(&text) else {
        return check::error(&bound.expect_err("a malformed token is not bound"));
    };
    assert!(text.len() <= MAX_JWT);
    assert_no_canary(&format!("{jwt:?}"));
    let own = CERTIFICATE.thumbprints().x5t_s256.as_str();
    assert_eq!(bound.is_ok(), jwt.confirmation() == Some(own));
    if let Err(error) = bound {
        check::error(&error);
    }
    assert_identity(&jwt);
    assert_expiry(&jwt);
    let encode = |object: &serde_json::Map<String, Value>| {
        URL_SAFE_NO_PAD.encode(serde_json::to_vec(object).expect("JSON"))
    };
    let printed = format!("{}.{}.c2ln", encode(&jwt.header), encode(&jwt.claims));
    if printed.len() <= MAX_JWT {
        assert!(UnverifiedJwt::parse(&printed).expect("the printed value parses") == jwt);
    }
}

/// Any number is an expiry; another value is an error.
fn assert_expiry(jwt: &UnverifiedJwt) {
    let claim = jwt.claims.get("exp");
    match jwt.expires() {
        Err(error) => {
            check::error(&error);
            assert!(!claim.expect("a claim").is_number());
        }
        Ok(None) => assert_eq!(claim, None),
        Ok(Some(expiry)) => {
            let claim = claim.and_then(Value::as_f64).expect("a number");
            assert!(expiry.as_secs_f64() <= claim.max(0.0), "never later");
            assert!(claim - expiry.as_secs_f64() < 1.0 || claim > 9e15);
        }
    }
}

fn assert_identity(jwt: &UnverifiedJwt) {
    let guid = |text| Guid::parse(text).expect("a GUID");
    let agrees = [("appid", CLIENT), ("azp", CLIENT), ("tid", TENANT)]
        .into_iter()
        .all(|(name, own)| match jwt.claims.get(name) {
            None => true,
            Some(Value::String(value)) => value.to_ascii_lowercase() == own,
            Some(_) => false,
        });
    let checked = check_token_identity(jwt, &guid(CLIENT), &guid(TENANT));
    assert_eq!(checked.is_ok(), agrees);
    if let Err(error) = checked {
        check::error(&error);
    }
}

/// An attestation token.
pub fn attestation_token(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    match AttestationToken::new(text.to_owned()) {
        Err(error) => check::error(&error),
        Ok(token) => {
            assert_eq!(token.expose(), text);
            assert!((5..=MAX_JWT).contains(&text.len()));
            assert!(text.split('.').all(|part| !part.is_empty()));
            let shown = format!("{token:?}");
            assert!(shown.len() < 60);
            assert_no_canary(&shown);
        }
    }
}
