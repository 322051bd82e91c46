use crate::text::{abbreviated, millis, printable_line, printable_lines, rfc3339, span, unix_time};
use keybound::{
    AccessToken, Attestation, Binding, Clock as _, Error, ErrorKind, Stage, SystemClock,
};
use serde::ser::SerializeMap as _;
use serde::{Serialize, Serializer};
use std::time::Duration;

/// A token as JSON and, with [`text`](Self::text), as text.
#[derive(Debug, Serialize)]
pub(crate) struct TokenReport {
    access_token: String,
    token_type: &'static str,
    expires_in: u64,
    expires_on: u64,
    resource: String,
    source: &'static str,
    from_cache: bool,
    managed_identity_source: Option<&'static str>,
    binding: Option<BindingReport>,
    timings_ms: Timings,
    #[serde(skip)]
    identity_source: Option<String>,
    #[serde(skip)]
    expires: String,
    #[serde(skip)]
    length: Option<usize>,
}

/// The certificate that a token is bound to.
#[derive(Debug, Serialize)]
struct BindingReport {
    #[serde(rename = "x5t#S256")]
    x5t_s256: String,
    thumbprint_sha1: String,
    thumbprint_sha256: String,
    subject: String,
    issuer: String,
    not_before: String,
    not_after: String,
    token_not_after: Option<String>,
    key_strength: &'static str,
    attested: bool,
    attestation: &'static str,
    certificate_pem: String,
}

impl TokenReport {
    /// The report of a token that was acquired in `elapsed`. The binding is checked again.
    ///
    /// # Errors
    /// [`ErrorKind::BindingMismatch`] if the token is not bound to its certificate.
    pub(crate) fn new(
        token: &AccessToken,
        elapsed: Duration,
        show_full: bool,
    ) -> Result<Self, Error> {
        let binding = token
            .binding()
            .map(|binding| check_binding(token, binding).map(|()| BindingReport::new(binding)));
        let source = token.managed_identity_source();
        let secret = token.secret().expose();
        let left = token.expires_on().duration_since(SystemClock.now());
        Ok(Self {
            access_token: if show_full {
                secret.to_owned()
            } else {
                abbreviated(secret)
            },
            token_type: token.token_type().as_str(),
            expires_in: left.unwrap_or_default().as_secs(),
            expires_on: unix_time(token.expires_on()).as_secs(),
            resource: token.scope().resource().to_owned(),
            source: token.source().as_str(),
            from_cache: token.source() == keybound::TokenSource::Cache,
            managed_identity_source: source.map(|source| source.as_str()),
            identity_source: source.map(|source| source.to_string()),
            binding: binding.transpose()?,
            timings_ms: Timings::new(token, elapsed),
            expires: rfc3339(token.expires_on()),
            length: (!show_full).then_some(secret.len()),
        })
    }

    /// The token as text, a line for each property.
    pub(crate) fn text(&self) -> String {
        let mut lines = vec![
            field("token type", self.token_type),
            field("access token", &self.token_text()),
            field("resource", &self.resource),
            field(
                "expires",
                &format!(
                    "{} (in {})",
                    self.expires,
                    span(Duration::from_secs(self.expires_in))
                ),
            ),
            field("source", self.source),
        ];
        lines.extend(
            self.identity_source
                .as_deref()
                .map(|source| field("identity source", source)),
        );
        match &self.binding {
            Some(binding) => lines.extend(binding.lines()),
            None => {
                lines.push("not bound: a bearer token, usable by anyone who holds it".to_owned())
            }
        }
        lines.join("\n")
    }

    fn token_text(&self) -> String {
        match self.length {
            None => self.access_token.clone(),
            Some(length) => format!("{} ({length} characters, abbreviated)", self.access_token),
        }
    }
}

impl BindingReport {
    fn new(binding: &Binding) -> Self {
        let certificate = binding.certificate();
        let thumbprints = certificate.thumbprints();
        Self {
            x5t_s256: thumbprints.x5t_s256.to_string(),
            thumbprint_sha1: thumbprints.sha1.clone(),
            thumbprint_sha256: thumbprints.sha256.clone(),
            subject: certificate.subject().to_owned(),
            issuer: certificate.issuer().to_owned(),
            not_before: rfc3339(certificate.not_before()),
            not_after: rfc3339(certificate.not_after()),
            token_not_after: certificate.token_not_after().map(rfc3339),
            key_strength: binding.key_strength_label(),
            attested: binding.attestation() == Attestation::Attested,
            attestation: binding.attestation().as_str(),
            certificate_pem: certificate.to_pem(),
        }
    }

    fn lines(&self) -> Vec<String> {
        let attested = match self.attested {
            true => "yes".to_owned(),
            false if self.attestation == "none" => "no".to_owned(),
            false => format!("no ({})", self.attestation),
        };
        let valid = format!("{} to {}", self.not_before, self.not_after);
        let valid = match &self.token_not_after {
            Some(end) => format!("{valid}, for new tokens to {end}"),
            None => valid,
        };
        vec![
            "bound to".to_owned(),
            field("  x5t#S256", &self.x5t_s256),
            field("  SHA-1", &self.thumbprint_sha1),
            field("  SHA-256", &self.thumbprint_sha256),
            field("  subject", &printable_line(&self.subject)),
            field("  issuer", &printable_line(&self.issuer)),
            field("  valid", &valid),
            field("  key strength", self.key_strength),
            field("  attested", &attested),
            "binding check: cnf.x5t#S256 == SHA-256(certificate): MATCH".to_owned(),
        ]
    }
}

/// The claims of a token as text; the signature is not verified.
pub(crate) fn claims_text(token: &AccessToken) -> String {
    let Some(jwt) = token.unverified_claims() else {
        return "the token is not a JWT; it has no claims".to_owned();
    };
    let part = |name: &str, object: &serde_json::Map<String, serde_json::Value>| {
        let json = serde_json::to_string_pretty(object).unwrap_or_default();
        format!(
            "token {name} (not verified here): {}",
            printable_lines(&json)
        )
    };
    format!(
        "{}\n{}",
        part("header", &jwt.header),
        part("claims", &jwt.claims)
    )
}

/// Checks the binding of a token to its certificate again.
///
/// # Errors
/// [`ErrorKind::BindingMismatch`] if it is not bound to it.
pub(crate) fn check_binding(token: &AccessToken, binding: &Binding) -> Result<(), Error> {
    let claims = token.unverified_claims();
    let confirmation = claims.as_ref().and_then(|jwt| jwt.confirmation());
    let thumbprint = &binding.certificate().thumbprints().x5t_s256;
    if confirmation.is_some_and(|claim| thumbprint.matches(claim)) {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::BindingMismatch,
        Stage::Token,
        "cnf.x5t#S256 of the token is not the SHA-256 of the certificate",
    ))
}

fn field(name: &str, value: &str) -> String {
    format!("{name:<16}{value}")
}

/// Milliseconds by step, in the order of the steps; `total` is last.
#[derive(Debug)]
struct Timings(Vec<(&'static str, f64)>);

impl Timings {
    fn new(token: &AccessToken, elapsed: Duration) -> Self {
        let mut steps: Vec<(&'static str, Duration)> = Vec::new();
        for timing in token.timings() {
            let name = timing.step.as_str();
            match steps.iter_mut().find(|(known, _)| *known == name) {
                // The durations of a repeated step are added.
                Some((_, spent)) => *spent += timing.elapsed,
                None => steps.push((name, timing.elapsed)),
            }
        }
        steps.push(("total", elapsed));
        Self(
            steps
                .into_iter()
                .map(|(name, spent)| (name, millis(spent)))
                .collect(),
        )
    }
}

impl Serialize for Timings {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, millis) in &self.0 {
            map.serialize_entry(name, millis)?;
        }
        map.end()
    }
}
