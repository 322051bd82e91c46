//! Requests that other programs make, and what they say of ours.
use super::*;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

/// A library's request, in the shape that the Python system writes by hand.
#[test]
fn python_cryptography_makes_what_is_taken_where_lenient() {
    let script = format!(
        r#"
import sys
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509.oid import NameOID, ObjectIdentifier
key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "{CLIENT}"),
                  x509.NameAttribute(NameOID.DOMAIN_COMPONENT, "{TENANT}")])
csr = (x509.CertificateSigningRequestBuilder().subject_name(name)
       .add_attribute(ObjectIdentifier("1.3.6.1.4.1.311.90.2.10"), b'{CU_ID}')
       .sign(key, hashes.SHA256(), rsa_padding=padding.PSS(padding.MGF1(hashes.SHA256()), 32)))
sys.stdout.buffer.write(csr.public_bytes(serialization.Encoding.DER))
"#
    );
    let request = run("python3", &["-c", &script], None);
    check(&request, &expected(true)).unwrap();
    assert!(check(&request, &expected(false)).is_err());
}

/// `openssl req` makes the subject as it should be, and cannot set the string type of the attribute.
#[test]
fn what_openssl_req_makes_passes_as_far_as_its_attribute() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("req.cnf");
    std::fs::write(
        &config,
        format!(
            "oid_section=oids\n[oids]\ncuId=1.3.6.1.4.1.311.90.2.10\n[req]\nprompt=no\nstring_mask=default\n\
             distinguished_name=dn\nattributes=attrs\n[dn]\nDC={TENANT}\nCN={CLIENT}\n[attrs]\ncuId={CU_ID}\n"
        ),
    )
    .unwrap();
    let key = folder.path().join("key.pem");
    let request = openssl_req(&config, &key);
    assert_eq!(
        refusal(&request),
        "CSR: the machine's id (cuId) is not one UTF8String"
    );
}

fn openssl_req(config: &Path, key: &Path) -> Vec<u8> {
    let (config, key) = (config.to_str().unwrap(), key.to_str().unwrap());
    let arguments = [
        "req",
        "-new",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-keyout",
        key,
        "-config",
        config,
        "-sha256",
        "-sigopt",
        "rsa_padding_mode:pss",
        "-sigopt",
        "rsa_pss_saltlen:32",
        "-outform",
        "DER",
    ];
    run("openssl", &arguments, None)
}

/// What OpenSSL says of a request that passes here.
#[test]
fn openssl_verifies_what_is_in_order_here() {
    let request = Draft::good().signed();
    let text = run(
        "openssl",
        &["req", "-inform", "DER", "-verify", "-noout", "-subject"],
        Some(&request),
    );
    let text = String::from_utf8(text).unwrap();
    assert!(
        text.contains(&format!("DC = {TENANT}, CN = {CLIENT}")),
        "{text}"
    );
}

fn run(program: &str, arguments: &[&str], input: Option<&[u8]>) -> Vec<u8> {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("this test needs {program}: {error}"));
    child
        .stdin
        .take()
        .unwrap()
        .write_all(input.unwrap_or_default())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{program} failed (is it whole? python3 needs cryptography): {said}"
    );
    output.stdout
}
