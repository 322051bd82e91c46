use super::{out, read_config, wrong};
use crate::args::CheckArgs;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::json;
use crate::session::{read_bounded, run_to_end};
use crate::text::printable_line;
use keybound_verify::{Explanation, Outcome, explain, regular_file};
use openssl::x509::X509;
use std::path::Path;

/// Verifies one token, and explains each step.
pub(super) fn run(args: &CheckArgs) -> Result<Exit, Failure> {
    let config = read_config(&args.config)?;
    let host = args.host.as_deref().unwrap_or(config.apis[0].name());
    let authorization = authorization(args)?;
    let certificate = match &args.certificate {
        None => None,
        Some(path) => {
            let pem = read("--certificate", path)?;
            let certificate = X509::from_pem(&pem).and_then(|certificate| certificate.to_der());
            Some(certificate.map_err(|_| not_pem(path, &pem))?)
        }
    };
    let result = run_to_end(explain(
        &config,
        host,
        &authorization,
        certificate.as_deref(),
    ))?;
    let explanation = result.map_err(|error| wrong(&args.config, &error))?;
    match args.json {
        true => out::line(&json::document(&explanation)?)?,
        false => out::line(&text(&explanation))?,
    }
    Ok(match explanation.accepted {
        true => Exit::Success,
        false => Exit::Failed,
    })
}

fn not_pem(path: &Path, content: &[u8]) -> Failure {
    let path = printable_line(&path.to_string_lossy());
    let next = match X509::from_der(content) {
        Ok(_) => format!(": it is in DER, convert it with `openssl x509 -inform der -in {path}`"),
        Err(_) => String::new(),
    };
    Failure::Input(format!(
        "--certificate {path}: it is not a certificate in PEM{next}"
    ))
}

/// The header: a token without a scheme gets the usual one. The name of the header and a byte order mark are dropped.
fn authorization(args: &CheckArgs) -> Result<String, Failure> {
    let path = printable_line(&args.token_file.to_string_lossy());
    let wrong = |problem: &str| Failure::Input(format!("--token-file {path}: {problem}"));
    let bytes = match args.token_file.as_os_str() == "-" {
        true => read_bounded(std::io::stdin().lock(), MAX_FILE)
            .map_err(|error| wrong(&error.to_string()))?,
        false => read("--token-file", &args.token_file)?,
    };
    let text = String::from_utf8(bytes).map_err(|_| wrong("it is not UTF-8"))?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let text = text.trim_end_matches(['\r', '\n']);
    let text = match text.split_once(':') {
        Some((name, value)) if name.eq_ignore_ascii_case("authorization") => value.trim_start(),
        _ => text,
    };
    if text.is_empty() {
        return Err(wrong("it is empty"));
    }
    Ok(match text.contains(' ') {
        true => text.to_owned(),
        false => format!("mtls_pop {text}"),
    })
}

/// Regular files only: a pipe without a writer would be waited for.
fn read(option: &str, path: &Path) -> Result<Vec<u8>, Failure> {
    regular_file::read(path, MAX_FILE).map_err(|error| {
        let path = printable_line(&path.to_string_lossy());
        Failure::Input(format!("{option} {path}: {error}"))
    })
}

fn text(explanation: &Explanation) -> String {
    let mut lines = Vec::new();
    for step in &explanation.steps {
        let mark = match step.outcome {
            Outcome::Passed => "ok  ",
            Outcome::Failed => "FAIL",
            _ => "-   ",
        };
        lines.push(format!("{mark}  {:<12} {}", step.name, step.text));
    }
    lines.push(String::new());
    lines.push(match (explanation.accepted, &explanation.reason) {
        (true, _) => format!(
            "The request is accepted by the policy of {}.",
            explanation.host
        ),
        (false, reason) => format!(
            "The request is refused with status {}: {}.",
            explanation.status,
            reason.as_deref().unwrap_or_default()
        ),
    });
    if let Some(challenge) = &explanation.challenge {
        lines.push(format!("WWW-Authenticate: {challenge}"));
    }
    lines.join("\n")
}

/// In bytes: more than a token may have.
const MAX_FILE: usize = 64 * 1024;
