use crate::json::read_response;
use crate::{Error, ErrorKind, Guid, MAX_JWT, Result, Scope, SecretString, Stage, secret};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::fmt;
use std::time::Duration;

/// The type of an access token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TokenType {
    /// Bound to a certificate: unusable without its key.
    MtlsPop,
    /// Usable by anyone who holds it.
    Bearer,
}

impl TokenType {
    /// The token type in responses, and the scheme of the `Authorization` header: `mtls_pop` or `Bearer`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::MtlsPop => "mtls_pop",
            Self::Bearer => "Bearer",
        }
    }

    /// The value of the request's parameter `token_type`, which Entra compares case-sensitively.
    fn in_request(self) -> &'static str {
        match self {
            Self::MtlsPop => "mtls_pop",
            Self::Bearer => "bearer",
        }
    }
}

impl fmt::Display for TokenType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How a client authenticates to the token endpoint. `Debug` hides the assertion.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_enums, reason = "a new one must break its users")]
pub enum ClientAuthentication<'a> {
    /// By the certificate of the connection.
    Certificate,
    /// By an assertion that anyone who holds it can use (RFC 7523).
    BearerAssertion(&'a SecretString),
    /// By an assertion that is bound to the certificate of the connection.
    BoundAssertion(&'a SecretString),
}

/// The form for the token endpoint: a client credentials grant, without `req_cnf`. `Debug` hides the claims and the assertion.
#[derive(Clone)]
#[expect(
    clippy::exhaustive_structs,
    reason = "all parameters are set; a new one must break its users"
)]
pub struct TokenForm<'a> {
    /// The client id.
    pub client_id: &'a Guid,
    /// The scope.
    pub scope: &'a Scope,
    /// The requested type: `token_type=mtls_pop`, or `token_type=bearer` in lower case, which clients with an assertion omit.
    pub token_type: TokenType,
    /// How the client authenticates.
    pub authentication: ClientAuthentication<'a>,
    /// The parameter `claims`, with capabilities.
    pub claims: Option<&'a str>,
}

impl TokenForm<'_> {
    /// The body, `application/x-www-form-urlencoded`.
    pub fn encode(&self) -> String {
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.append_pair("client_id", self.client_id.as_str())
            .append_pair("grant_type", "client_credentials")
            .append_pair("scope", self.scope.as_str());
        let (assertion, assertion_type) = match self.authentication {
            ClientAuthentication::Certificate => (None, ""),
            ClientAuthentication::BearerAssertion(assertion) => (Some(assertion), JWT_BEARER),
            ClientAuthentication::BoundAssertion(assertion) => (Some(assertion), JWT_POP),
        };
        if let Some(assertion) = assertion {
            form.append_pair("client_assertion_type", assertion_type)
                .append_pair("client_assertion", assertion.expose());
        }
        if assertion.is_none() || self.token_type == TokenType::MtlsPop {
            form.append_pair("token_type", self.token_type.in_request());
        }
        if let Some(claims) = self.claims {
            form.append_pair("claims", claims);
        }
        form.finish()
    }
}

impl fmt::Debug for TokenForm<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenForm")
            .field("client_id", self.client_id)
            .field("scope", self.scope)
            .field("token_type", &self.token_type)
            .field("authentication", &self.authentication)
            .finish_non_exhaustive()
    }
}

const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
const JWT_POP: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-pop";

/// A response of the token endpoint, of the requested type. Its binding is checked by
/// [`check_binding`](crate::check_binding).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TokenResponse {
    /// The token.
    pub access_token: SecretString,
    /// Its type, the requested one.
    pub token_type: TokenType,
    /// The lifetime, from the time of the response.
    pub expires_in: Duration,
    /// The time until a refresh, from the time of the response, if the service sent one: more than zero, at most the lifetime.
    pub refresh_in: Option<Duration>,
}

impl TokenResponse {
    /// Parses the body of the response.
    ///
    /// # Errors
    /// [`ErrorKind::TokenTypeMismatch`] if the type is not the requested one (compared without case, RFC 6749
    /// section 7.1); [`ErrorKind::ResponseTooLarge`] beyond [`MAX_BODY`](crate::MAX_BODY); [`ErrorKind::InvalidResponse`]
    /// if a member is missing or malformed.
    pub fn parse(body: &[u8], requested: TokenType) -> Result<Self> {
        let invalid = |message| Error::invalid_response(Stage::Token, message);
        let wire: Wire = read_response(body, Stage::Token, "the token response")?;
        if !wire.token_type.eq_ignore_ascii_case(requested.as_str()) {
            return Err(Error::new(
                ErrorKind::TokenTypeMismatch,
                Stage::Token,
                format!(
                    "the requested token type is {requested}, and the response has another type"
                ),
            ));
        }
        let visible = |byte: u8| (0x21..=0x7e).contains(&byte);
        let text = wire.access_token.expose();
        if text.is_empty() || text.len() > MAX_JWT || !text.bytes().all(visible) {
            return Err(invalid(
                "access_token of the token response is empty, too long or not printable",
            ));
        }
        let expires_in = seconds(&wire.expires_in, MAX_LIFETIME).ok_or_else(|| {
            invalid("expires_in of the token response is not a valid number of seconds")
        })?;
        let refresh_in = wire.refresh_in.and_then(|raw| seconds(&raw, expires_in));
        Ok(Self {
            access_token: wire.access_token,
            token_type: requested,
            expires_in: Duration::from_secs(expires_in),
            refresh_in: refresh_in.map(Duration::from_secs),
        })
    }
}

#[derive(Deserialize)]
struct Wire {
    token_type: String,
    #[serde(deserialize_with = "secret::deserialize")]
    access_token: SecretString,
    // Raw: an invalid `refresh_in` is ignored.
    expires_in: Box<RawValue>,
    refresh_in: Option<Box<RawValue>>,
}

/// Parses a number of seconds from 1 to `max`, without fractions; some services send it as a string.
fn seconds(raw: &RawValue, max: u64) -> Option<u64> {
    let quoted: Option<String> = serde_json::from_str(raw.get()).ok();
    let text = quoted.as_deref().unwrap_or(raw.get());
    if !text.bytes().all(|byte| b"0123456789.eE+-".contains(&byte)) {
        return None;
    }
    // The cast drops fractions and saturates; f64 is exact up to `max`.
    let seconds = text.parse::<f64>().ok()? as u64;
    (1..=max).contains(&seconds).then_some(seconds)
}

/// Ten years, in seconds: longer than any token is valid, short enough for every clock.
const MAX_LIFETIME: u64 = 10 * 366 * 24 * 3600;

#[cfg(test)]
mod tests {
    use super::*;
    use std::error::Error as _;

    #[test]
    fn encodes_form_for_entra() {
        let client_id = Guid::parse("11111111-1111-1111-1111-111111111111").unwrap();
        let scope = Scope::for_resource("https://vault.azure.net").unwrap();
        let form = TokenForm {
            client_id: &client_id,
            scope: &scope,
            token_type: TokenType::MtlsPop,
            authentication: ClientAuthentication::Certificate,
            claims: Some("{}"),
        };
        assert_eq!(
            form.encode(),
            "client_id=11111111-1111-1111-1111-111111111111&grant_type=client_credentials\
             &scope=https%3A%2F%2Fvault.azure.net%2F.default&token_type=mtls_pop&claims=%7B%7D"
        );
        let bearer = TokenForm {
            token_type: TokenType::Bearer,
            claims: None,
            ..form
        };
        assert_eq!(
            bearer.encode(),
            "client_id=11111111-1111-1111-1111-111111111111&grant_type=client_credentials\
             &scope=https%3A%2F%2Fvault.azure.net%2F.default&token_type=bearer"
        );
    }

    #[test]
    fn encodes_form_of_an_app_registration() {
        let client_id = Guid::parse("11111111-1111-1111-1111-111111111111").unwrap();
        let scope = Scope::for_resource("https://vault.azure.net").unwrap();
        let assertion = "a.b.c".to_owned().into();
        let prefix = "client_id=11111111-1111-1111-1111-111111111111&grant_type=client_credentials\
             &scope=https%3A%2F%2Fvault.azure.net%2F.default\
             &client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3A";
        for (token_type, bound, expected) in [
            (
                TokenType::Bearer,
                false,
                "jwt-bearer&client_assertion=a.b.c",
            ),
            (TokenType::Bearer, true, "jwt-pop&client_assertion=a.b.c"),
            (
                TokenType::MtlsPop,
                true,
                "jwt-pop&client_assertion=a.b.c&token_type=mtls_pop",
            ),
        ] {
            let form = TokenForm {
                client_id: &client_id,
                scope: &scope,
                token_type,
                authentication: match bound {
                    true => ClientAuthentication::BoundAssertion(&assertion),
                    false => ClientAuthentication::BearerAssertion(&assertion),
                },
                claims: None,
            };
            assert_eq!(form.encode(), format!("{prefix}{expected}"));
        }
    }

    #[test]
    fn strict_token_type() {
        let response = |token_type: &str| {
            format!(r#"{{"token_type":"{token_type}","access_token":"t","expires_in":60}}"#)
        };
        let parse = |token_type: &str, requested| {
            TokenResponse::parse(response(token_type).as_bytes(), requested)
        };
        assert!(parse("MTLS_POP", TokenType::MtlsPop).is_ok());
        assert!(parse("bearer", TokenType::Bearer).is_ok());
        for (token_type, requested) in [
            ("Bearer", TokenType::MtlsPop),
            ("pop", TokenType::MtlsPop),
            ("", TokenType::MtlsPop),
            ("mtls_pop ", TokenType::MtlsPop),
            ("mtls_pop", TokenType::Bearer),
        ] {
            assert_eq!(
                parse(token_type, requested).unwrap_err().kind(),
                ErrorKind::TokenTypeMismatch,
                "{token_type}"
            );
        }
    }

    #[test]
    fn debug_hides_claims_and_token() {
        let client_id = Guid::parse("11111111-1111-1111-1111-111111111111").unwrap();
        let scope = Scope::for_resource("https://vault.azure.net").unwrap();
        let form = TokenForm {
            client_id: &client_id,
            scope: &scope,
            token_type: TokenType::Bearer,
            authentication: ClientAuthentication::BearerAssertion(&"swordfish".to_owned().into()),
            claims: Some("swordfish"),
        };
        assert!(!format!("{form:?}").contains("swordfish"));
        let body = br#"{"token_type":"Bearer","access_token":"swordfish","expires_in":60}"#;
        let response = TokenResponse::parse(body, TokenType::Bearer).unwrap();
        assert_eq!(response.access_token.expose(), "swordfish");
        assert!(!format!("{response:?}").contains("swordfish"));
    }

    #[test]
    fn parses_lifetimes_as_numbers_and_strings() {
        let parse = |expires_in: &str, refresh_in: &str| {
            let body = format!(
                r#"{{"token_type":"Bearer","access_token":"t","expires_in":{expires_in},"refresh_in":{refresh_in}}}"#
            );
            let response = TokenResponse::parse(body.as_bytes(), TokenType::Bearer).ok()?;
            let refresh_in = response.refresh_in.map(|life| life.as_secs());
            Some((response.expires_in.as_secs(), refresh_in))
        };
        assert_eq!(parse("86399", "43200"), Some((86399, Some(43200))));
        assert_eq!(parse(r#""86399""#, r#""1""#), Some((86399, Some(1))));
        assert_eq!(parse("60", "60"), Some((60, Some(60))));
        assert_eq!(parse("316224000", "null"), Some((316_224_000, None)));
        assert_eq!(parse("316224001", "null"), None);
        assert_eq!(parse("86399.9", "43199.5"), Some((86399, Some(43199))));
        assert_eq!(parse(r#""60.5""#, r#""5e1""#), Some((60, Some(50))));
        assert_eq!(parse("8.6399e4", "60.0"), Some((86399, Some(60))));
        // A refresh at once or after expiry is ignored, and so is what is not a number.
        for refresh_in in [
            "null",
            "0",
            "0.9",
            "-0",
            "-1",
            "-0.5",
            "61",
            "1e400",
            "-1e400",
            "true",
            "{}",
            "[30]",
            r#""""#,
            r#""soon""#,
            r#""inf""#,
            r#""-1""#,
            r#""\ud800""#,
            r#"{"a":1,"a":2}"#,
            "18446744073709551615",
            "18446744073709551616",
        ] {
            assert_eq!(parse("60", refresh_in), Some((60, None)), "{refresh_in}");
        }
        for expires_in in [
            "0",
            "0.5",
            "-1",
            "-1.5",
            "null",
            "true",
            "[60]",
            "{}",
            "1e400",
            r#""1e400""#,
            r#""NaN""#,
            r#""""#,
            r#""60 ""#,
            r#""-60""#,
            "18446744073709551615",
            "18446744073709551616",
            r#""18446744073709551616""#,
        ] {
            assert_eq!(parse(expires_in, "null"), None, "{expires_in}");
        }
    }

    #[test]
    fn bounded_input() {
        let body = |token: usize, spaces: usize| {
            format!(
                r#"{{"token_type":"Bearer","access_token":"{}","expires_in":60}}{}"#,
                "t".repeat(token),
                " ".repeat(spaces)
            )
        };
        let parse = |body: String| TokenResponse::parse(body.as_bytes(), TokenType::Bearer);
        assert!(parse(body(MAX_JWT, 0)).is_ok());
        let kind = |body| parse(body).unwrap_err().kind();
        assert_eq!(kind(body(MAX_JWT + 1, 0)), ErrorKind::InvalidResponse);
        assert_eq!(kind(body(1, crate::MAX_BODY)), ErrorKind::ResponseTooLarge);
    }

    #[test]
    fn rejects_malformed_responses_without_quoting_secrets() {
        for body in [
            "",
            "{}",
            r#"{"token_type":"mtls_pop","access_token":"","expires_in":60}"#,
            r#"{"token_type":"mtls_pop","access_token":"swordfish"}"#,
            r#"{"token_type":"mtls_pop","access_token":"swordfish","expires_in":0}"#,
            r#"{"token_type":"mtls_pop","access_token":"swordfish","expires_in":-1}"#,
            r#"{"token_type":"mtls_pop","access_token":"swordfish","expires_in":"soon"}"#,
            r#"{"token_type":"mtls_pop","access_token":"swordfish\r\n","expires_in":60}"#,
            r#"{"token_type":7,"access_token":"swordfish","expires_in":60}"#,
        ] {
            let error = TokenResponse::parse(body.as_bytes(), TokenType::MtlsPop).unwrap_err();
            assert_eq!(
                (error.kind(), error.stage()),
                (ErrorKind::InvalidResponse, Stage::Token),
                "{body}"
            );
            assert!(!format!("{error} {error:?} {:?}", error.source()).contains("swordfish"));
        }
    }
}
