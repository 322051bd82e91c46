use super::services::{SECRET, Services};
use super::theft::{self, Theft};
use crate::failure::Failure;
use crate::report::{TokenReport, claims_text};
use crate::steps;
use crate::text::{millis, printable_line};
use keybound::{AccessToken, KeyRequirements, TokenRequest};
use serde::Serialize;
use serde_json::{Map, Value};
use std::time::{Duration, Instant};

/// The steps and results of the demo.
#[derive(Debug, Serialize)]
pub(super) struct Story {
    ok: bool,
    simulated: bool,
    steps: Vec<StepReport>,
    token: TokenReport,
    claims: Map<String, Value>,
    call: Call,
    thefts: [Theft; 2],
    #[serde(skip)]
    claims_text: String,
}

/// A step and its duration.
#[derive(Debug, Serialize)]
struct StepReport {
    number: usize,
    step: &'static str,
    title: &'static str,
    elapsed_ms: f64,
}

/// The call of the vault by the holder of the key.
#[derive(Debug, Serialize)]
struct Call {
    status: u16,
    tls_version: Option<&'static str>,
    /// Whether the server requested the certificate: by renegotiation, after it read the request.
    certificate_requested: bool,
    secret_name: &'static str,
    secret: Option<String>,
}

impl Story {
    /// Acquires the token, calls the vault, and attempts the thefts.
    pub(super) async fn run(services: &Services) -> Result<Self, Failure> {
        let started = Instant::now();
        let request = TokenRequest::pop("https://vault.azure.net", KeyRequirements::attested());
        let token = services.client()?.acquire_token(&request).await?;
        let report = TokenReport::new(&token, started.elapsed(), false)?;
        let called = Instant::now();
        let call = Call::send(services, &token).await?;
        let steps = step_reports(&token, called.elapsed());
        let thefts = theft::attempts(services, &token).await?;
        Ok(Self {
            ok: call.is_success() && thefts.iter().all(|theft| theft.refused),
            simulated: token
                .binding()
                .is_some_and(|binding| binding.is_simulated()),
            steps,
            token: report,
            claims: token
                .unverified_claims()
                .map(|jwt| jwt.claims)
                .unwrap_or_default(),
            call,
            thefts,
            claims_text: claims_text(&token),
        })
    }

    /// Whether the secret was read by its owner only.
    pub(super) fn is_success(&self) -> bool {
        self.ok
    }

    /// The results as text.
    pub(super) fn text(&self) -> String {
        let mut lines = vec![OPENING.to_owned()];
        lines.extend(self.steps.iter().map(|step| {
            format!(
                "step {}  {:<48}{:>8.1} ms",
                step.number, step.title, step.elapsed_ms
            )
        }));
        lines.extend([
            String::new(),
            self.token.text(),
            String::new(),
            self.claims_text.clone(),
            String::new(),
        ]);
        lines.extend(self.call.lines());
        lines.push("\nTheft: the token is copied and sent without its key.".to_owned());
        lines.extend(self.thefts.iter().map(Theft::line));
        lines.push(match self.ok {
            true => "\nOnly the holder of the key read the secret.".to_owned(),
            false => "\nThe demo failed: see above.".to_owned(),
        });
        lines.join("\n")
    }
}

impl Call {
    async fn send(services: &Services, token: &AccessToken) -> Result<Self, Failure> {
        let response = token
            .bound_client()?
            .send(token, services.secret_request()?)
            .await?;
        let connection = response.connection().cloned();
        let status = response.status().as_u16();
        let body = response.bytes_limited(MAX_RESPONSE_BYTES).await?;
        let secret: Option<Value> = serde_json::from_slice(&body).ok();
        Ok(Self {
            status,
            tls_version: connection.as_ref().map(|connection| connection.tls_version),
            certificate_requested: connection
                .is_some_and(|connection| connection.certificate_requested),
            secret_name: SECRET,
            secret: secret.and_then(|body| Some(body.get("value")?.as_str()?.to_owned())),
        })
    }

    fn is_success(&self) -> bool {
        self.status == 200 && self.certificate_requested && self.secret.is_some()
    }

    fn lines(&self) -> [String; 2] {
        let certificate = match self.certificate_requested {
            true => "the server read the request, then requested the certificate",
            false => "the server never requested the certificate",
        };
        let version = self.tls_version.unwrap_or("TLS");
        [
            format!("vault: HTTP {} over {version}; {certificate}", self.status),
            match &self.secret {
                Some(secret) => format!("secret {}: {}", self.secret_name, printable_line(secret)),
                None => "the response has no secret".to_owned(),
            },
        ]
    }
}

impl Theft {
    fn line(&self) -> String {
        let status = self.status.map_or_else(
            || "no response".to_owned(),
            |status| format!("HTTP {status}"),
        );
        let details = [self.error.as_deref(), self.description.as_deref()];
        let details: Vec<_> = details.into_iter().flatten().map(printable_line).collect();
        let end = if self.refused {
            "refused"
        } else {
            "NOT REFUSED"
        };
        format!(
            "  {}: {end}\n    {status}: {}",
            self.attempt,
            details.join(": ")
        )
    }
}

/// The steps of the token's acquisition, and the call.
fn step_reports(token: &AccessToken, call: Duration) -> Vec<StepReport> {
    let of_token = token
        .timings()
        .iter()
        .map(|timing| (timing.step.as_str(), timing.elapsed));
    let all = of_token.chain([("resource", call)]);
    let reports = all.map(|(step, elapsed)| StepReport {
        number: steps::number(step),
        step,
        title: steps::title(step),
        elapsed_ms: millis(elapsed),
    });
    reports.collect()
}

const MAX_RESPONSE_BYTES: usize = 1024 * 1024;
const OPENING: &str = "\
The whole flow in one process, on loopback. Key, attestation and services are simulated; the cryptography is real.
";
