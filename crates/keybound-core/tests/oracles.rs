//! Comparison with other implementations: OpenSSL's command line and Python's `cryptography`. On Unix only: neither is
//! available under Wine.
#![cfg(unix)]
#![cfg(test)]

#[allow(dead_code, reason = "shared with the other tests")]
#[path = "behaviour/support.rs"]
mod support;

use keybound_core::csr::{Csr, UnsignedCsr};
use keybound_core::{Certificate, CuId, UnverifiedJwt};
use keybound_keys::{BindingKey as _, SignatureScheme};
use serde_json::{Value, json};
use std::io::Write as _;
use std::process::{Command, Output, Stdio};
use support::{CLIENT, Issue, KEY, TENANT, client, jwt, tenant};

const CU_ID: &str = r#"{"vmId":"33333333-3333-3333-3333-333333333333","vmssId":"s \"ü\""}"#;

/// Runs a program that reads standard input.
fn output(program: &str, arguments: &[&str], input: &[u8]) -> Output {
    let missing = |error| panic!("{program} is needed ({error}): run scripts/setup");
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(missing);
    // A program that does not read to the end closes its input; its output counts.
    let _ = child.stdin.take().unwrap().write_all(input);
    child.wait_with_output().unwrap()
}

/// Runs a program that must succeed; returns its standard output and standard error.
fn run(program: &str, arguments: &[&str], input: &[u8]) -> (Vec<u8>, String) {
    let output = output(program, arguments, input);
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        output.status.success(),
        "{program} failed (where a module is missing: run scripts/setup): {stderr}"
    );
    (output.stdout, stderr)
}

fn openssl(arguments: &[&str], input: &[u8]) -> String {
    let (out, _) = run("openssl", arguments, input);
    String::from_utf8(out).unwrap()
}

/// Runs a Python script that prints one JSON value.
fn python(script: &str, input: &[u8]) -> Value {
    let program = std::env::var("KEYBOUND_PYTHON").unwrap_or_else(|_| "/usr/bin/python3".into());
    let (out, _) = run(&program, &["-c", script], input);
    serde_json::from_slice(&out).unwrap()
}

fn csr() -> Csr {
    let vmss = Some("s \"ü\"".to_owned());
    let cu_id = CuId::new(Some("33333333-3333-3333-3333-333333333333".into()), vmss).unwrap();
    let unsigned = UnsignedCsr::new(&client(), &tenant(), &cu_id, KEY.public_key_der()).unwrap();
    let signature = KEY.sign(SignatureScheme::PssSha256, &unsigned.digest());
    unsigned.finish(&signature.unwrap()).unwrap()
}

fn certificate() -> Certificate {
    Issue::default().certificate()
}

#[test]
fn openssl_accepts_the_signing_request() {
    let arguments = ["req", "-inform", "DER", "-verify", "-noout", "-subject"];
    let arguments = [&arguments[..], &["-nameopt", "RFC2253"]].concat();
    let (out, stderr) = run("openssl", &arguments, csr().der());
    let out = String::from_utf8(out).unwrap();
    assert!(format!("{out}{stderr}").contains("verify OK"), "{stderr}");
    assert!(
        out.contains(&format!("subject=CN={CLIENT},DC={TENANT}")),
        "{out}"
    );
}

#[test]
fn openssl_rejects_modified_signing_request() {
    let mut der = csr().der().to_vec();
    der[40] ^= 1;
    let arguments = ["req", "-inform", "DER", "-verify", "-noout"];
    let output = output("openssl", &arguments, &der);
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(stderr.contains("verify failure"), "{stderr}");
}

#[test]
fn python_accepts_the_signing_request() {
    let result = python(
        r#"
import json, sys
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
csr = x509.load_der_x509_csr(sys.stdin.buffer.read())
oid = x509.ObjectIdentifier("1.3.6.1.4.1.311.90.2.10")
print(json.dumps({
    "valid": csr.is_signature_valid,
    "subject": csr.subject.rfc4514_string(),
    "names": [[part.oid.dotted_string, part.value, part._type.name] for part in csr.subject],
    "attribute": csr.attributes.get_attribute_for_oid(oid).value.decode(),
    "algorithm": csr.signature_algorithm_oid.dotted_string,
    "key": csr.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo).hex(),
}))
"#,
        csr().der(),
    );
    let key: String = KEY
        .public_key_der()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    assert_eq!(
        result,
        json!({
            "valid": true,
            "subject": format!("CN={CLIENT},DC={TENANT}"),
            "names": [
                ["0.9.2342.19200300.100.1.25", TENANT, "IA5String"],
                ["2.5.4.3", CLIENT, "PrintableString"],
            ],
            "attribute": CU_ID,
            "algorithm": "1.2.840.113549.1.1.10",
            "key": key,
        })
    );
}

#[test]
fn openssl_agrees_on_thumbprints() {
    let certificate = certificate();
    for (digest, actual) in [
        ("-sha1", &certificate.thumbprints().sha1),
        ("-sha256", &certificate.thumbprints().sha256),
    ] {
        let arguments = ["x509", "-inform", "DER", "-noout", "-fingerprint", digest];
        let result = openssl(&arguments, certificate.der());
        let (_, fingerprint) = result.trim().split_once('=').unwrap();
        assert_eq!(fingerprint.replace(':', ""), *actual);
    }
}

#[test]
fn python_agrees_on_thumbprints_and_certificate() {
    let certificate = certificate();
    let result = python(
        r#"
import base64, calendar, json, sys
from cryptography import x509
from cryptography.hazmat.primitives import hashes
certificate = x509.load_der_x509_certificate(sys.stdin.buffer.read())
def unix_time(name):
    value = getattr(certificate, name + "_utc", None) or getattr(certificate, name)
    return calendar.timegm(value.timetuple())
digest = certificate.fingerprint(hashes.SHA256())
print(json.dumps({
    "x5t#S256": base64.urlsafe_b64encode(digest).rstrip(b"=").decode(),
    "subject": certificate.subject.rfc4514_string(),
    "issuer": certificate.issuer.rfc4514_string(),
    "not_before": unix_time("not_valid_before"),
    "not_after": unix_time("not_valid_after"),
}))
"#,
        certificate.der(),
    );
    let seconds = |time: std::time::SystemTime| {
        time.duration_since(std::time::UNIX_EPOCH)
            .unwrap()
            .as_secs()
    };
    assert_eq!(
        result,
        json!({
            "x5t#S256": certificate.thumbprints().x5t_s256.as_str(),
            "subject": certificate.subject(),
            "issuer": certificate.issuer(),
            "not_before": seconds(certificate.not_before()),
            "not_after": seconds(certificate.not_after()),
        })
    );
}

#[test]
fn pem_matches_openssl() {
    let certificate = certificate();
    let pem = openssl(&["x509", "-inform", "DER"], certificate.der());
    assert_eq!(certificate.to_pem(), pem);
    let (der, _) = run(
        "openssl",
        &["x509", "-outform", "DER"],
        certificate.to_pem().as_bytes(),
    );
    assert_eq!(Certificate::from_der(&der).unwrap(), certificate);
}

#[test]
fn python_parses_jwts_alike() {
    let valid = jwt("{}");
    let mut tokens = vec![
        jwt(
            r#"{"aud":"https://vault.azure.net","exp":1780000000,"tid":"t","cnf":{"x5t#S256":"a"}}"#,
        ),
        jwt(r#"{"a":[null,true,1.5,-1,"ü\u00fc\ud83d\ude42\n"],"b":{"c":{"d":[]}}}"#),
        jwt(r#"{"n":[0.1,1e300,123456789.12345679,18446744073709551615]}"#),
        jwt(" {\"a\" : 1}\n"),
        jwt(r#"{"a":1,"a":2}"#),
        jwt(r#"{"a":"\ud83d"}"#),
        jwt("[]"),
        jwt("{}{}"),
        jwt("{'a':1}"),
        jwt(r#"{"a":01}"#),
        jwt("\u{feff}{}"),
        valid.clone(),
    ];
    for (old, new) in [
        (".", ".."),
        ("e", "é"),
        ("e", "+"),
        ("e", "="),
        ("e", " "),
        (".", ""),
    ] {
        tokens.push(valid.replacen(old, new, 1));
    }
    tokens.extend((0..valid.len()).map(|length| valid[..length].to_owned()));
    tokens.extend([
        format!("{valid}="),
        format!("{valid}\n"),
        format!("{valid}A"),
    ]);
    let result = python(
        r#"
import base64, json, re, sys

def unique(pairs):
    if len(dict(pairs)) != len(pairs):
        raise ValueError("duplicate")
    return dict(pairs)

def decode(part):
    if not re.fullmatch("[A-Za-z0-9_-]*", part):
        raise ValueError("alphabet")
    data = base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
    if base64.urlsafe_b64encode(data).rstrip(b"=").decode() != part:
        raise ValueError("not canonical")
    return data

def read(token):
    try:
        header, claims, signature = [decode(part) for part in token.split(".")]
        parts = [json.loads(part.decode("utf-8-sig", "replace"), object_pairs_hook=unique) for part in (header, claims)]
        # A lone surrogate is replaced byte by byte.
        parts = json.loads(json.dumps(parts, ensure_ascii=False).encode("utf-8", "surrogatepass").decode("utf-8", "replace"))
        return parts if signature and all(isinstance(part, dict) for part in parts) else None
    except (ValueError, UnicodeError):
        return None

print(json.dumps([read(token) for token in json.load(sys.stdin)]))
"#,
        &serde_json::to_vec(&tokens).unwrap(),
    );
    let expected = result.as_array().unwrap();
    assert_eq!(expected.len(), tokens.len());
    for (token, expected) in tokens.iter().zip(expected) {
        let actual =
            UnverifiedJwt::parse(token).map_or(Value::Null, |jwt| json!([jwt.header, jwt.claims]));
        assert_eq!(actual, *expected, "{token:?}");
    }
    assert!(expected.iter().any(Value::is_null) && expected.iter().any(Value::is_array));
}
