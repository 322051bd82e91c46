//! AKS workload identity.
use super::super::federated::{WorkloadIdentity, required};
use super::assert_finding;
use crate::diagnosis::{Finding, Level};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use keybound_core::{Authority, Cloud};
use serde_json::{Value, json};
use std::fs;
use std::time::{Duration, SystemTime};

#[test]
fn checks_variables_before_the_file() {
    let change = |name: &'static str, value: Option<&'static str>| {
        move |known: &str| match known == name {
            true => value.map(str::to_owned),
            false => variable(known, "/nowhere/swordfish"),
        }
    };
    for (name, value, level, part) in [
        (
            "AZURE_FEDERATED_TOKEN_FILE",
            None,
            Level::Skipped,
            "not configured",
        ),
        (
            "AZURE_FEDERATED_TOKEN_FILE",
            Some(""),
            Level::Skipped,
            "not configured",
        ),
        (
            "AZURE_CLIENT_ID",
            None,
            Level::Warning,
            "AZURE_CLIENT_ID is not set",
        ),
        (
            "AZURE_TENANT_ID",
            Some(""),
            Level::Warning,
            "AZURE_TENANT_ID is not set",
        ),
        (
            "AZURE_TENANT_ID",
            Some("swordfish"),
            Level::Warning,
            "not a GUID",
        ),
        ("X", None, Level::Warning, "cannot be used"),
    ] {
        let finding = WorkloadIdentity::new(change(name, value), Some(&public())).judge(now());
        assert_finding(&finding, level, part);
        assert!(!format!("{finding:?}").contains("swordfish"), "{finding:?}");
    }
}

#[test]
fn checks_the_token_in_the_file() {
    let hour = 3600;
    let at = |offset: i64| NOW.cast_signed() + offset;
    let valid = || {
        json!({
            "iss": "https://oidc.example/11111111-2222-3333-4444-555555555555/",
            "sub": "system:serviceaccount:default:app",
            "aud": ["api://AzureADTokenExchange"],
            "exp": at(hour), "nbf": at(-hour),
        })
    };
    let claims = |change: Value| {
        let mut claims = valid();
        for (name, value) in change.as_object().unwrap() {
            claims[name] = value.clone();
        }
        jwt(&claims)
    };
    let without = |name: &str| {
        let mut claims = valid();
        claims.as_object_mut().unwrap().remove(name);
        jwt(&claims)
    };
    for (content, level, part) in [
        (
            claims(json!({})) + "\n",
            Level::Ok,
            "valid for 1 h 0 min, issuer https://oidc.example/11111111-2222-3333-4444-555555555555/, subject system:serviceaccount:default:app, audience api://AzureADTokenExchange",
        ),
        (
            claims(json!({"aud": "api://AzureADTokenExchange"})),
            Level::Ok,
            "valid",
        ),
        (
            claims(json!({"sub": "a\u{1b}[2J"})),
            Level::Ok,
            "subject a\u{fffd}[2J",
        ),
        (
            claims(json!({"exp": at(0)})),
            Level::Warning,
            "expired at 2027-01-15T08:00:00Z",
        ),
        (
            claims(json!({"exp": "soon"})),
            Level::Warning,
            "is not a time",
        ),
        (
            claims(json!({"exp": 1e300})),
            Level::Warning,
            "is not a time",
        ),
        (
            claims(json!({"exp": u64::MAX})),
            Level::Warning,
            "is not a time",
        ),
        (
            claims(json!({"exp": 9e18})),
            Level::Warning,
            "is not a time",
        ),
        (
            claims(json!({"exp": null})),
            Level::Warning,
            "is not a time",
        ),
        (
            claims(json!({"exp": -1})),
            Level::Warning,
            "expired at 1970",
        ),
        (without("exp"), Level::Warning, "no expiry"),
        (without("iss"), Level::Warning, "no issuer"),
        (without("sub"), Level::Warning, "no subject"),
        (without("aud"), Level::Warning, "is none, and not"),
        (without("nbf"), Level::Ok, "valid for 1 h"),
        (claims(json!({"sub": 1})), Level::Warning, "no subject"),
        (
            claims(json!({"iss": jwt(&json!({"sub": "swordfish"}))})),
            Level::Ok,
            "issuer [redacted],",
        ),
        (
            claims(json!({"nbf": 9e18})),
            Level::Warning,
            "from the year 10000",
        ),
        (
            claims(json!({"aud": {"a": 1}})),
            Level::Warning,
            "is none, and not",
        ),
        (
            claims(json!({"nbf": at(1)})),
            Level::Warning,
            "valid from 2027-01-15T08:00:01Z",
        ),
        (
            claims(json!({"aud": "https://kubernetes"})),
            Level::Warning,
            "is https://kubernetes, and not api://AzureADTokenExchange",
        ),
        (claims(json!({"aud": 1})), Level::Warning, "and not api://"),
        ("swordfish".to_owned(), Level::Warning, "contains no JWT"),
        (String::new(), Level::Warning, "contains no JWT"),
        ("x".repeat(1 << 20), Level::Warning, "longer than"),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("token");
        fs::write(&file, &content).unwrap();
        let finding = judge(file.to_str().unwrap());
        assert_finding(&finding, level, part);
        let shown = format!("{finding:?}");
        assert!(
            !shown.contains("swordfish") && !shown.contains("eyJ"),
            "{shown}"
        );
    }
}

#[test]
fn reads_regular_files_only() {
    let directory = tempfile::tempdir().unwrap();
    let missing = directory.path().join("missing");
    for (path, part, next_step) in [
        (directory.path(), "is not a regular file", "name the file"),
        (missing.as_path(), "", "create the pod again"),
    ] {
        let finding = judge(path.to_str().unwrap());
        assert_finding(&finding, Level::Warning, part);
        let next_step_found = finding.next_step.unwrap();
        assert!(next_step_found.contains(next_step), "{next_step_found}");
    }
    let file = directory.path().join("token");
    fs::write(&file, b"swordfish\xff").unwrap();
    let finding = judge(file.to_str().unwrap());
    assert_finding(&finding, Level::Warning, "it is not text");
    assert!(!format!("{finding:?}").contains("swordfish"));
}

#[test]
fn compares_the_audience_with_that_of_the_authority() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("token");
    let claims = json!({
        "iss": "i", "sub": "s", "exp": NOW + 60, "aud": "api://AzureADTokenExchangeChina",
    });
    fs::write(&file, jwt(&claims)).unwrap();
    let china = Authority::of_cloud(Cloud::China);
    for (authority, level, part) in [
        (
            Some(&china),
            Level::Ok,
            "audience api://AzureADTokenExchangeChina",
        ),
        (
            Some(&public()),
            Level::Warning,
            "and not api://AzureADTokenExchange",
        ),
        (None, Level::Warning, "AZURE_AUTHORITY_HOST is malformed"),
    ] {
        let lookup = |name: &str| variable(name, file.to_str().unwrap());
        let finding = WorkloadIdentity::new(lookup, authority).judge(now());
        assert_finding(&finding, level, part);
    }
}

/// A request for a token of the app registration fails for what is wrong.
#[test]
fn is_a_problem_if_it_is_required() {
    for (finding, level) in [
        (Finding::skipped("x"), Level::Problem),
        (Finding::warning("x", "y"), Level::Problem),
        (Finding::ok("x"), Level::Ok),
    ] {
        assert_finding(&required(finding), level, "");
    }
}

fn judge(file: &str) -> Finding {
    WorkloadIdentity::new(|name| variable(name, file), Some(&public())).judge(now())
}

fn public() -> Authority {
    Authority::of_cloud(Cloud::Public)
}

fn variable(name: &str, file: &str) -> Option<String> {
    let value = match name {
        "AZURE_FEDERATED_TOKEN_FILE" => file,
        "AZURE_CLIENT_ID" | "AZURE_TENANT_ID" => "5a5a5a5a-0000-4000-8000-000000000001",
        _ => return None,
    };
    Some(value.to_owned())
}

fn jwt(claims: &Value) -> String {
    let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"RS256"}"#);
    format!(
        "{header}.{}.c2ln",
        URL_SAFE_NO_PAD.encode(claims.to_string())
    )
}

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(NOW)
}

/// 2027-01-15T08:00:00Z.
const NOW: u64 = 1_800_000_000;
