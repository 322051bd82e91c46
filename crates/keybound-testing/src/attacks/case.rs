use super::{AttackRequest, RESOURCE, TENANT, TestIssuer, TokenRecipe, Verdict};
use serde::Deserialize;
use std::collections::BTreeSet;
use std::path::Path;

/// One case of the attack table.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct AttackCase {
    /// Its name, which is unique.
    pub name: String,
    /// The token.
    #[serde(default)]
    pub token: TokenRecipe,
    /// The `Authorization` headers, in which `{token}` stands for the token.
    #[serde(default = "one_header")]
    pub authorization: Vec<String>,
    /// Further headers, in which `{certificate}` stands for the URL-encoded PEM of the certificate to which the token is bound.
    #[serde(default)]
    pub headers: Vec<(String, String)>,
    /// The name of the certificate of the connection: see [`ClientCertificates`](super::ClientCertificates).
    #[serde(default = "client")]
    pub certificate: String,
    /// The path, in which `{token}` stands for the token.
    #[serde(default = "path")]
    pub path: String,
    /// See [`AttackRequest::seconds_later`].
    #[serde(default)]
    pub seconds_later: i64,
    /// The policy, where it is not the default one.
    #[serde(default)]
    policy: PolicyOfCase,
    /// The verdict.
    pub expect: Expected,
}

impl AttackCase {
    /// The request.
    pub fn request(&self, issuer: &TestIssuer) -> AttackRequest {
        let token = self.token.make(issuer);
        let with_token = |text: &String| text.replace("{token}", &token);
        let bound_to = issuer.certificates.der(&self.token.bound_to);
        let forged = bound_to.map(|der| issuer.certificates.url_encoded_pem(&der));
        let with_certificate = |(name, value): &(String, String)| {
            let forged = forged.as_deref().unwrap_or_default();
            (name.clone(), value.replace("{certificate}", forged))
        };
        AttackRequest {
            // A header is bytes: U+0080 to U+00FF stand for them.
            authorization: self
                .authorization
                .iter()
                .map(|value| latin_1(&with_token(value)))
                .collect(),
            headers: self.headers.iter().map(with_certificate).collect(),
            certificate: issuer.certificates.der(&self.certificate),
            path: with_token(&self.path),
            seconds_later: self.seconds_later,
        }
    }

    /// The verifier's policy.
    pub fn policy(&self) -> PolicyOfCase {
        self.policy.clone()
    }
}

/// The settings of a verifier.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct PolicyOfCase {
    /// The audiences.
    pub audiences: Vec<String>,
    /// The tenants; `None`: any.
    pub tenants: Option<Vec<String>>,
    /// The clients; `None`: any.
    pub clients: Option<Vec<String>>,
    /// The required roles.
    pub roles: Option<Vec<String>>,
    /// Whether tokens of applications are required.
    pub app_only: bool,
    /// Whether tokens of users are accepted.
    pub users: Option<bool>,
    /// The required scopes of users.
    pub scopes: Option<Vec<String>>,
    /// Whether the scheme `Bearer` is accepted too.
    pub bearer: bool,
    /// Whether the certificate's names must be those of a managed identity.
    pub managed_identity_names: bool,
    /// In seconds.
    pub skew: u64,
    /// In seconds.
    pub max_age: Option<u64>,
    /// The claims that every caller must get, as a claims challenge.
    pub require_claims: Option<String>,
    /// Whether there are no keys.
    pub without_keys: bool,
}

impl Default for PolicyOfCase {
    fn default() -> Self {
        Self {
            audiences: vec![RESOURCE.to_owned()],
            tenants: Some(vec![TENANT.to_owned()]),
            clients: None,
            roles: None,
            app_only: false,
            users: None,
            scopes: None,
            bearer: false,
            managed_identity_names: false,
            skew: 300,
            max_age: None,
            require_claims: None,
            without_keys: false,
        }
    }
}

/// The verdict that a case requires.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Expected {
    /// The status.
    pub status: u16,
    /// The code of the reason; required unless the request is accepted.
    pub reason: Option<String>,
    /// The whole challenge, where the case is about it.
    pub challenge: Option<String>,
}

impl Expected {
    /// Compares what a way in returned.
    ///
    /// # Errors
    /// The difference.
    pub fn compare(&self, verdict: &Verdict) -> Result<(), String> {
        let differs = |what: &str, expected: &dyn std::fmt::Debug, found: &dyn std::fmt::Debug| {
            Err(format!("{what}: expected {expected:?}, found {found:?}"))
        };
        if self.status != verdict.status {
            return differs("status", self, verdict);
        }
        if verdict.names_reasons && self.reason != verdict.reason {
            return differs("reason", &self.reason, &verdict.reason);
        }
        if self.challenge.is_some() && self.challenge != verdict.challenge {
            return differs("challenge", &self.challenge, &verdict.challenge);
        }
        // RFC 9110 section 15.5.2, RFC 6750 section 3.
        let has_challenge = match verdict.names_reasons {
            true => matches!(verdict.status, 400 | 401 | 403),
            false => verdict.status == 401,
        };
        if has_challenge && verdict.challenge.is_none() {
            return Err(format!("a {} has no challenge", verdict.status));
        }
        Ok(())
    }
}

/// All cases, in the order of their files and names.
///
/// # Panics
/// If a file is malformed, or two cases have the same name.
pub fn cases() -> Vec<AttackCase> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("attacks");
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    let mut cases = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        let of_file: Vec<AttackCase> = serde_json::from_str(&text)
            .unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        cases.extend(of_file);
    }
    let names: BTreeSet<&str> = cases.iter().map(|case| &*case.name).collect();
    assert_eq!(names.len(), cases.len(), "two cases have the same name");
    for case in &cases {
        let accepted = case.expect.status == 200;
        assert_ne!(accepted, case.expect.reason.is_some(), "{}", case.name);
    }
    cases
}

fn latin_1(text: &str) -> Vec<u8> {
    text.chars()
        .map(|char| u8::try_from(u32::from(char)).unwrap())
        .collect()
}

fn one_header() -> Vec<String> {
    vec!["mtls_pop {token}".to_owned()]
}

fn client() -> String {
    "client".to_owned()
}

fn path() -> String {
    "/orders".to_owned()
}
