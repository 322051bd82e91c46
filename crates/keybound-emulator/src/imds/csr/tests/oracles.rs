//! CSRs of other programs, and CSRs that other programs verify.
use super::*;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

/// A CSR of a library in the form of the Python implementation.
#[test]
fn accepts_csr_of_python_cryptography_only_if_lenient() {
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

/// `openssl req` writes the expected subject, and cannot set the string type of the attribute.
#[test]
fn rejects_only_the_attribute_of_openssl_req() {
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
        problem(&request),
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

/// OpenSSL verifies a CSR that is accepted here.
#[test]
fn openssl_verifies_an_accepted_csr() {
    let request = Draft::valid().signed();
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
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{program} failed (python3 needs cryptography): {stderr}"
    );
    output.stdout
}
