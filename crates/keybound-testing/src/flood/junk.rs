use crate::attacks::{TestIssuer, TokenRecipe};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;

/// Which junk is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kinds {
    /// From cheap to expensive.
    All,
    /// Well-formed tokens of a known key: each costs the verification of a signature.
    Expensive,
}

/// An `Authorization` that is refused.
pub(super) struct Junk {
    pub(super) name: &'static str,
    /// From a number, of which each request has another one.
    pub(super) authorization: Box<dyn Fn(u64) -> String + Send + Sync>,
}

/// The `Authorization` of a valid token, and junk.
pub(super) fn tokens(issuer: &TestIssuer, kinds: Kinds) -> (String, Vec<Junk>) {
    let valid = made(issuer, "{}");
    let mut junk = expensive(issuer, &valid);
    if kinds == Kinds::All {
        junk.extend(cheap(issuer, &valid));
    }
    (pop(&valid), junk)
}

/// Refused before their signature is verified.
fn cheap(issuer: &TestIssuer, valid: &str) -> Vec<Junk> {
    let (rest, signature) = valid.rsplit_once('.').unwrap();
    let (_, claims) = rest.split_once('.').unwrap();
    let signed = format!("{claims}.{signature}");
    let long = "A".repeat(16_000);
    let other = made(issuer, r#"{"bound_to":"other"}"#);
    let many = format!("{}.{}.{signature}", header("any"), encode(&many_claims()));
    vec![
        junk("no token", |number| pop(&number.to_string())),
        junk("other scheme", |number| format!("Basic {number}")),
        junk("long", move |number| pop(&format!("{long}.{number}.x"))),
        junk("unknown key", move |number| {
            pop(&format!("{}.{signed}", header(&format!("KEY{number}"))))
        }),
        junk("other certificate", move |_| pop(&other)),
        junk("many claims", move |_| pop(&many)),
    ]
}

/// Refused after their signature was verified.
fn expensive(issuer: &TestIssuer, valid: &str) -> Vec<Junk> {
    let (rest, signature) = valid.rsplit_once('.').unwrap();
    let start = format!("{rest}.{}", &signature[..8]);
    let end = signature[16..].to_owned();
    let expired = made(issuer, r#"{"claims":{"exp":{"now":-3600}}}"#);
    let other = made(issuer, r#"{"claims":{"aud":"api://other"}}"#);
    vec![
        junk("other signature", move |number| {
            pop(&format!("{start}{number:08}{end}"))
        }),
        junk("expired", move |_| pop(&expired)),
        junk("other audience", move |_| pop(&other)),
    ]
}

fn junk(name: &'static str, authorization: impl Fn(u64) -> String + Send + Sync + 'static) -> Junk {
    Junk {
        name,
        authorization: Box::new(authorization),
    }
}

fn pop(token: &str) -> String {
    format!("mtls_pop {token}")
}

fn header(kid: &str) -> String {
    encode(&json!({ "alg": "RS256", "kid": kid }).to_string())
}

fn made(issuer: &TestIssuer, recipe: &str) -> String {
    let recipe: TokenRecipe = serde_json::from_str(recipe).unwrap();
    recipe.make(issuer)
}

fn encode(text: &str) -> String {
    URL_SAFE_NO_PAD.encode(text)
}

/// As many as a token may have.
fn many_claims() -> String {
    let claims: Vec<String> = (0..128)
        .map(|number| format!(r#""claim{number}":1"#))
        .collect();
    format!("{{{}}}", claims.join(","))
}
