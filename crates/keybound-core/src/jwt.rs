use crate::charset::strip_bom;
use crate::json::lenient::{self, Duplicates};
use crate::{Error, MAX_JWT, Result, Stage};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};
use std::fmt;
use std::time::Duration;
use zeroize::Zeroizing;

/// Header and claims of a JWT whose signature is not verified. For comparison with values from other sources and, through
/// [`printable`](crate::printable), for output; the claims are not trustworthy.
#[derive(Clone, PartialEq)]
#[non_exhaustive]
pub struct UnverifiedJwt {
    /// The JOSE header.
    pub header: Map<String, Value>,
    /// The claims.
    pub claims: Map<String, Value>,
}

impl UnverifiedJwt {
    /// Parses the compact form (RFC 7519 section 3): three parts of base64url without padding, the first two JSON
    /// objects without duplicate names, the signature not empty. `None` for anything else and for more than
    /// [`MAX_JWT`] bytes. A byte order mark before an object is ignored. A value that cannot be represented (a lone
    /// surrogate, 1e400) becomes U+FFFD or the largest number, so that the other claims remain readable.
    pub fn parse(token: &str) -> Option<Self> {
        if token.len() > MAX_JWT {
            return None;
        }
        let mut parts = token.split('.');
        let (header, claims, signature) = (parts.next()?, parts.next()?, parts.next()?);
        if parts.next().is_some() || decode(signature)?.is_empty() {
            return None;
        }
        Some(Self {
            header: object(header)?,
            claims: object(claims)?,
        })
    }

    /// The value of a claim that is a string.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.claims.get(name)?.as_str()
    }

    /// The claim `exp`, since the Unix epoch; `None` if it is missing. A NumericDate is any JSON number (RFC 7519
    /// section 2): fractions of a second are dropped, negative numbers become zero, too large ones the largest.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidResponse`](crate::ErrorKind::InvalidResponse) if the claim is not a number: the token has
    /// an expiry that is unknown.
    pub fn expires(&self) -> Result<Option<Duration>> {
        if !self.claims.contains_key("exp") {
            return Ok(None);
        }
        self.time("exp").map(Some).ok_or_else(|| {
            Error::invalid_response(Stage::Token, "the claim exp of the token is not a number")
        })
    }

    /// The value of a claim that is a NumericDate, such as `iat`, parsed as by [`expires`](Self::expires).
    pub fn time(&self, name: &str) -> Option<Duration> {
        let claim = self.claims.get(name)?;
        // The cast drops fractions and saturates.
        let seconds = claim.as_u64().or_else(|| Some(claim.as_f64()? as u64))?;
        Some(Duration::from_secs(seconds))
    }

    /// The claim `cnf.x5t#S256` (RFC 8705 section 3.1), if it is a string.
    pub fn confirmation(&self) -> Option<&str> {
        self.claims
            .get("cnf")?
            .as_object()?
            .get("x5t#S256")?
            .as_str()
    }
}

impl fmt::Debug for UnverifiedJwt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UnverifiedJwt").finish_non_exhaustive()
    }
}

fn object(part: &str) -> Option<Map<String, Value>> {
    let bytes = decode(part)?;
    let text = String::from_utf8_lossy(strip_bom(&bytes));
    match lenient::parse(&text, Duplicates::Rejected)? {
        Value::Object(object) => Some(object),
        _ => None,
    }
}

fn decode(part: &str) -> Option<Zeroizing<Vec<u8>>> {
    URL_SAFE_NO_PAD.decode(part).ok().map(Zeroizing::new)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn jwt(header: &str, claims: &str) -> String {
        format!(
            "{}.{}.c2ln",
            URL_SAFE_NO_PAD.encode(header),
            URL_SAFE_NO_PAD.encode(claims)
        )
    }

    #[test]
    fn parses_claims() {
        let jwt = UnverifiedJwt::parse(&jwt(
            r#"{"alg":"RS256"}"#,
            r#"{"cnf":{"x5t#S256":"abc"},"tid":"t"}"#,
        ))
        .unwrap();
        assert_eq!(jwt.confirmation(), Some("abc"));
        assert_eq!(jwt.text("tid"), Some("t"));
        assert_eq!(jwt.text("cnf"), None);
    }

    #[test]
    fn rejects_malformed_tokens() {
        let good = jwt("{}", "{}");
        for text in [
            "",
            "..",
            "a.b.c",
            &good[1..],
            &format!("{good}.x"),
            &format!("{good}="),
            &jwt("[]", "{}"),
            &jwt("{}", "1"),
            &jwt("{}", "{"),
            good.strip_suffix("c2ln").unwrap(),
            good.strip_suffix(".c2ln").unwrap(),
            &good.replace("c2ln", "c2l"),
            &good.replace("c2ln", "c2m"),
            &good.replace("c2ln", "c2+n"),
            &format!(" {good}"),
            &format!("{good}\n"),
            &jwt("{}", r#"{"cnf":{"x5t#S256":"a"},"cnf":{"x5t#S256":"b"}}"#),
            &jwt("{}", r#"{"cnf":{"x5t#S256":"a","x5t#S256":"b"}}"#),
            &format!("{good}{}", "A".repeat(MAX_JWT)),
        ] {
            assert!(
                UnverifiedJwt::parse(text).is_none(),
                "{}",
                &text[..text.len().min(60)]
            );
        }
    }

    #[test]
    fn accepts_any_number_as_numeric_date() {
        let parse = |claims: &str| UnverifiedJwt::parse(&jwt("{}", claims)).unwrap();
        for (exp, seconds) in [
            ("1698742245", 1_698_742_245),
            ("1698742245.336", 1_698_742_245),
            ("1698742245.999999", 1_698_742_245),
            ("1.698742245e9", 1_698_742_245),
            ("1698742245000e-3", 1_698_742_245),
            ("0", 0),
            ("-0", 0),
            ("0.5", 0),
            ("-1", 0),
            ("-1.5e300", 0),
            ("1e400", u64::MAX),
            ("-1e400", 0),
            ("1e-400", 0),
            ("18446744073709551615", u64::MAX),
            ("18446744073709551616", u64::MAX),
        ] {
            let expires = parse(&format!(r#"{{"exp":{exp}}}"#)).expires();
            assert_eq!(
                expires.unwrap(),
                Some(Duration::from_secs(seconds)),
                "{exp}"
            );
        }
        for exp in [r#""1698742245""#, r#""""#, "null", "true", "{}", "[1]"] {
            let error = parse(&format!(r#"{{"exp":{exp}}}"#)).expires().unwrap_err();
            assert_eq!(error.kind(), crate::ErrorKind::InvalidResponse, "{exp}");
        }
        assert_eq!(parse("{}").expires().unwrap(), None);
        let others = parse(r#"{"iat":1.5,"nbf":"1"}"#);
        assert_eq!(others.time("iat"), Some(Duration::from_secs(1)));
        assert_eq!((others.time("nbf"), others.time("exp")), (None, None));
    }

    #[test]
    fn parses_tokens_with_unrepresentable_claims() {
        let deep = format!("{}{}", "[".repeat(1000), "]".repeat(1000));
        for other in [
            r#""\ud800""#,
            r#"{"a\udfff":"\udfff\ud800"}"#,
            "1e400",
            "[-1e400,{}]",
            &deep,
        ] {
            let claims = format!(r#"{{"x":{other},"tid":"t","exp":7}}"#);
            let jwt = UnverifiedJwt::parse(&jwt("{}", &claims)).expect(other);
            assert_eq!(jwt.text("tid"), Some("t"), "{other}");
            assert_eq!(jwt.expires().unwrap(), Some(Duration::from_secs(7)));
        }
        let marked = jwt("\u{feff}{}", "\u{feff}{\"tid\":\"t\"}");
        assert_eq!(
            UnverifiedJwt::parse(&marked).unwrap().text("tid"),
            Some("t")
        );
        let latin_1 = URL_SAFE_NO_PAD.encode(b"{\"name\":\"Ren\xe9\",\"tid\":\"t\"}");
        let jwt = UnverifiedJwt::parse(&format!("e30.{latin_1}.c2ln")).unwrap();
        assert_eq!(jwt.text("tid"), Some("t"));
    }

    #[test]
    fn bounded_input() {
        let long = |length: usize| {
            let good = jwt("{}", "{}");
            format!("{good}{}", "A".repeat(length - good.len()))
        };
        assert_eq!(long(MAX_JWT).len(), MAX_JWT);
        assert!(UnverifiedJwt::parse(&long(MAX_JWT)).is_some());
        assert!(UnverifiedJwt::parse(&long(MAX_JWT + 4)).is_none());
    }

    #[test]
    fn debug_shows_no_claim() {
        let jwt = UnverifiedJwt::parse(&jwt("{}", r#"{"sub":"swordfish"}"#)).unwrap();
        assert!(!format!("{jwt:?}").contains("swordfish"));
    }

    #[test]
    fn ignores_malformed_confirmation() {
        for claims in [
            r#"{"cnf":"x"}"#,
            r#"{"cnf":{"x5t#S256":7}}"#,
            r#"{"cnf":{"jkt":"x"}}"#,
            "{}",
        ] {
            assert_eq!(
                UnverifiedJwt::parse(&jwt("{}", claims))
                    .unwrap()
                    .confirmation(),
                None
            );
        }
    }
}
