use crate::MAX_JWT;
use crate::json::read_unique_object;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};
use std::fmt;
use zeroize::Zeroizing;

/// The readable parts of a JWT whose signature nobody has checked. Good for comparing claims with what is known
/// otherwise and, through [`printable`](crate::printable), for showing them to a person; not for believing them.
#[derive(Clone, PartialEq)]
pub struct UnverifiedJwt {
    /// The JOSE header.
    pub header: Map<String, Value>,
    /// The claims.
    pub claims: Map<String, Value>,
}

impl UnverifiedJwt {
    /// Reads the compact form (RFC 7519 section 3): three parts of base64url without padding, the first two JSON
    /// objects that name no member twice, the signature not empty. `None` for anything else and for more than
    /// [`MAX_JWT`] bytes.
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

    /// A claim that is text.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.claims.get(name)?.as_str()
    }

    /// The claim `cnf.x5t#S256` (RFC 8705 section 3.1), where it is text.
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
    read_unique_object(&decode(part)?).ok()
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
    fn claims_are_read() {
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
    fn malformed_tokens_are_refused() {
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
    fn confirmation_of_another_shape_is_none() {
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
