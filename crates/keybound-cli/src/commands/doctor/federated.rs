//! What AKS workload identity configures: its variables, and the token file, whose token is the assertion.
use crate::app_client::CREATE_POD;
use crate::diagnosis::{Finding, Level, run_blocking};
use crate::session::read_bounded;
use crate::text::{rfc3339, span};
use keybound::{Clock as _, Guid, Stage, SystemClock, UnverifiedJwt};
use keybound_core::{Authority, MAX_JWT, SecretString, printable, redact};
use serde_json::Value;
use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime};

/// The variables of AKS workload identity.
#[derive(Debug)]
pub(super) struct WorkloadIdentity {
    token_file: Option<String>,
    client_id: Option<String>,
    tenant_id: Option<String>,
    /// The audience of the authority; `None` if `AZURE_AUTHORITY_HOST` is malformed.
    audience: Option<String>,
}

impl WorkloadIdentity {
    pub(super) fn new(
        lookup: impl Fn(&str) -> Option<String>,
        authority: Option<&Authority>,
    ) -> Self {
        let lookup = |name| lookup(name).filter(|value| !value.is_empty());
        Self {
            token_file: lookup(TOKEN_FILE),
            client_id: lookup(CLIENT),
            tenant_id: lookup(TENANT),
            audience: authority.map(|authority| authority.exchange_audience().to_owned()),
        }
    }

    /// Checks the variables and the token. Nothing is sent. What is wrong is a warning: the token of this host's managed identity,
    /// which the other checks are about, does not depend on it.
    pub(super) async fn examine(self, limit: Duration) -> Finding {
        let judge = move || self.judge(SystemClock.now());
        match run_blocking(Stage::Assertion, limit, judge).await {
            Ok(finding) => finding,
            Err(error) => Finding::failed("the file of AZURE_FEDERATED_TOKEN_FILE", error)
                .into_warning()
                .with_next_step(NO_REGULAR_FILE),
        }
    }

    pub(super) fn judge(&self, now: SystemTime) -> Finding {
        let Some(token_file) = &self.token_file else {
            return Finding::skipped("AKS workload identity is not configured");
        };
        for (name, value) in [(CLIENT, &self.client_id), (TENANT, &self.tenant_id)] {
            match value.as_deref().map(Guid::parse) {
                Some(Some(_)) => {}
                Some(None) => return Finding::warning(format!("{name} is not a GUID"), CREATE_POD),
                None => return Finding::warning(format!("{name} is not set"), CREATE_POD),
            }
        }
        let Some(audience) = &self.audience else {
            let detail = "AZURE_AUTHORITY_HOST is malformed, by which the audience is known";
            return Finding::warning(detail, "correct or unset it: see environment");
        };
        match read(Path::new(token_file)) {
            Ok(token) => judge_token(&token, audience, now),
            Err(error) => {
                let detail = format!("the file of {TOKEN_FILE} cannot be used: {error}");
                Finding::warning(detail, next_step(&error))
            }
        }
    }
}

/// The finding for a request that needs workload identity: what is wrong is a problem.
pub(super) fn required(finding: Finding) -> Finding {
    match finding.level {
        Level::Ok => finding,
        Level::Skipped => Finding::problem(format!("{TOKEN_FILE} is not set"), CREATE_POD),
        Level::Warning | Level::Problem => Finding {
            level: Level::Problem,
            ..finding
        },
    }
}

/// Reads a regular file: opening a pipe would wait for a writer.
fn read(path: &Path) -> io::Result<SecretString> {
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    let content = String::from_utf8(read_bounded(File::open(path)?, MAX_JWT)?);
    // The error of the conversion contains the content.
    let content = content.map_err(|_| io::Error::other("it is not text"))?;
    Ok(SecretString::new(content.trim().to_owned()))
}

fn next_step(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::NotFound => CREATE_POD,
        io::ErrorKind::PermissionDenied => {
            "let this user read the file: set fsGroup in the security context of the pod"
        }
        _ => NO_REGULAR_FILE,
    }
}

/// Judges the claims that Entra compares; the signature is not verified.
fn judge_token(token: &SecretString, audience: &str, now: SystemTime) -> Finding {
    let Some(jwt) = UnverifiedJwt::parse(token.expose()) else {
        let detail = format!("the file of {TOKEN_FILE} contains no JWT");
        return Finding::warning(detail, NO_REGULAR_FILE);
    };
    let expires = match jwt.expires().map(|time| time.map(at)) {
        Ok(Some(Some(expires))) => expires,
        Ok(None) => return Finding::warning("the assertion has no expiry (exp)", NOT_PROJECTED),
        Ok(Some(None)) | Err(_) => {
            let detail = "the expiry (exp) of the assertion is not a time before the year 10000";
            return Finding::warning(detail, NOT_PROJECTED);
        }
    };
    if expires <= now {
        let detail = format!("the assertion expired at {}", rfc3339(expires));
        return Finding::warning(detail, NOT_PROJECTED);
    }
    match jwt.time("nbf").map(at) {
        None => {}
        Some(Some(start)) if start <= now => {}
        Some(start) => {
            let start = start.map_or_else(|| "the year 10000".to_owned(), rfc3339);
            let detail =
                format!("the assertion is valid from {start}, later than this host's clock");
            return Finding::warning(detail, "synchronize the clock of this host");
        }
    }
    let shown = |text: &str| printable(&redact(text), MAX_CLAIM);
    let audiences = audiences(&jwt);
    if !audiences.contains(&audience) {
        let found = match &audiences[..] {
            [] => "none".to_owned(),
            audiences => shown(&audiences.join(", ")),
        };
        let detail = format!("the audience of the assertion is {found}, and not {audience}");
        return Finding::warning(detail, OTHER_AUDIENCE);
    }
    let [Some(issuer), Some(subject)] = ["iss", "sub"].map(|name| jwt.text(name)) else {
        let detail = "the assertion has no issuer (iss) or no subject (sub)";
        return Finding::warning(detail, NO_REGULAR_FILE);
    };
    let left = span(expires.duration_since(now).unwrap_or_default());
    Finding::ok(format!(
        "the assertion of AKS workload identity: valid for {left}, issuer {}, subject {}, audience {audience}",
        shown(issuer),
        shown(subject),
    ))
}

/// The time of a claim; `None` from the year 10000 on.
fn at(since_1970: Duration) -> Option<SystemTime> {
    let is_time = since_1970 < YEAR_10000;
    is_time.then(|| SystemTime::UNIX_EPOCH + since_1970)
}

/// The audiences: a string, or a list of them.
fn audiences(jwt: &UnverifiedJwt) -> Vec<&str> {
    match jwt.claims.get("aud") {
        Some(Value::Array(audiences)) => audiences.iter().filter_map(Value::as_str).collect(),
        Some(audience) => audience.as_str().into_iter().collect(),
        None => Vec::new(),
    }
}

const TOKEN_FILE: &str = "AZURE_FEDERATED_TOKEN_FILE";
const CLIENT: &str = "AZURE_CLIENT_ID";
const TENANT: &str = "AZURE_TENANT_ID";
const NO_REGULAR_FILE: &str =
    "let AZURE_FEDERATED_TOKEN_FILE name the file with the token of the service account";
const NOT_PROJECTED: &str = "Kubernetes replaces the token before it expires: check that the file is the projected volume and not a copy, and the clock of this host";
const OTHER_AUDIENCE: &str = "compare the audience of the projected volume with that of the cloud (AZURE_AUTHORITY_HOST) and of the federated credential";
const YEAR_10000: Duration = Duration::from_secs(253_402_300_800);
/// Of a claim, in characters.
const MAX_CLAIM: usize = 100;
