//! Verification of the certificates by `openssl verify`.
use super::{LOCALHOST, issue, text_of, usual_subject};
use crate::faults::ServerCertificateFault;
use crate::pki::Pki;
use crate::pki::authority::{Template, common_name_only, p256_key};
use crate::pki::server_ca::{ServerCa, extensions_with, server_validity};
use openssl::x509::X509;
use openssl::x509::extension::{BasicConstraints, SubjectAlternativeName};
use std::fs;
use std::path::Path;
use std::process::Command;

#[test]
fn openssl_verifies_server_certificate_for_each_name() {
    let pki = Pki::new(None, LOCALHOST).unwrap();
    let certificate = &pki.server().certificate;
    for name in [
        ["-verify_hostname", "localhost"],
        ["-verify_ip", "127.0.0.1"],
        ["-verify_ip", "::1"],
    ] {
        let arguments = [&["-purpose", "sslserver"][..], &name].concat();
        let (valid, message) = openssl_verify(pki.ca_file(), certificate, &arguments);
        assert!(valid, "{name:?}: {message}");
    }
    let elsewhere = [
        "-purpose",
        "sslserver",
        "-verify_hostname",
        "login.microsoftonline.com",
    ];
    assert!(!openssl_verify(pki.ca_file(), certificate, &elsewhere).0);
    let (valid, message) = openssl_verify(pki.ca_file(), certificate, &["-purpose", "sslclient"]);
    assert!(!valid, "{message}");
}

#[test]
fn name_constraints_limit_the_ca_to_loopback() {
    let ca = ServerCa::create().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ca.pem");
    fs::write(&file, ca.pem()).unwrap();
    for name in [
        "DNS:login.microsoftonline.com",
        "IP:10.0.0.1",
        "IP:169.254.169.254",
        "IP:::2",
        "CN:login.microsoftonline.com",
        "CN:10.0.0.1",
    ] {
        let certificate = certificate_for(&ca, name);
        let (valid, message) = openssl_verify(&file, &certificate, &["-purpose", "sslserver"]);
        assert!(
            !valid && message.contains("permitted subtree violation"),
            "{name}: {message}"
        );
    }
    for name in ["DNS:localhost", "IP:127.9.9.9", "IP:::1"] {
        let certificate = certificate_for(&ca, name);
        let (valid, message) = openssl_verify(&file, &certificate, &["-purpose", "sslserver"]);
        assert!(valid, "{name}: {message}");
    }
    let own = text_of(&X509::from_pem(ca.pem()).unwrap());
    for part in [
        "Name Constraints: critical",
        "CA:TRUE, pathlen:0",
        "TLS Web Server Authentication",
    ] {
        assert!(own.contains(part), "{part} is missing from {own}");
    }
}

#[test]
fn openssl_rejects_each_faulty_server_certificate() {
    let pki = Pki::new(None, LOCALHOST).unwrap();
    for (fault, part) in [
        (
            ServerCertificateFault::Untrusted,
            "unable to get local issuer certificate",
        ),
        (ServerCertificateFault::Expired, "certificate has expired"),
        (ServerCertificateFault::OtherName, "hostname mismatch"),
    ] {
        let server = pki.faulty_server(fault).unwrap();
        let arguments = ["-purpose", "sslserver", "-verify_hostname", "localhost"];
        let (valid, message) = openssl_verify(pki.ca_file(), &server.certificate, &arguments);
        let forged =
            fault == ServerCertificateFault::Untrusted && message.contains("signature failure");
        assert!(
            !valid && (message.contains(part) || forged),
            "{fault:?}: {message}"
        );
    }
}

#[test]
fn server_ca_does_not_verify_binding_certificates() {
    let pki = Pki::new(None, LOCALHOST).unwrap();
    let certificate = X509::from_der(&issue(&pki, &usual_subject())).unwrap();
    let (valid, message) = openssl_verify(pki.ca_file(), &certificate, &["-purpose", "sslclient"]);
    assert!(!valid, "{message}");
}

#[test]
fn openssl_verifies_server_certificate_of_a_loaded_ca() {
    let folder = tempfile::tempdir().unwrap();
    drop(Pki::new(Some(folder.path()), LOCALHOST).unwrap());
    let loaded = Pki::new(Some(folder.path()), LOCALHOST).unwrap();
    let certificate = &loaded.server().certificate;
    let (valid, message) = openssl_verify(&folder.path().join("ca.pem"), certificate, &[]);
    assert!(valid, "{message}");
}

/// Whether `openssl verify` accepts a certificate for a purpose and a name, and its output.
fn openssl_verify(ca: &Path, certificate: &X509, arguments: &[&str]) -> (bool, String) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("certificate.pem");
    fs::write(&file, certificate.to_pem().unwrap()).unwrap();
    let output = Command::new("openssl")
        .args([
            "verify",
            "-no-CAfile",
            "-no-CApath",
            "-x509_strict",
            "-CAfile",
        ])
        .arg(ca)
        .args(arguments)
        .arg(&file)
        .output()
        .unwrap_or_else(|error| panic!("this test needs openssl: {error}"));
    let message = [output.stdout, output.stderr].concat();
    (
        output.status.success(),
        String::from_utf8_lossy(&message).into_owned(),
    )
}

/// A certificate for a name (`DNS:…`, `IP:…`, or `CN:…` in the subject alone) that the constraints may forbid.
fn certificate_for(ca: &ServerCa, name: &str) -> X509 {
    let mut names = SubjectAlternativeName::new();
    let (common_name, extensions) = match name.split_once(':') {
        Some(("CN", name)) => (
            name,
            vec![BasicConstraints::new().critical().build().unwrap()],
        ),
        Some(("IP", address)) => ("other", extensions_with(names.ip(address)).unwrap()),
        _ => {
            let name = name.trim_start_matches("DNS:");
            ("other", extensions_with(names.dns(name)).unwrap())
        }
    };
    let key = p256_key().unwrap();
    let template = Template {
        subject: &common_name_only(common_name).unwrap(),
        public_key: &key,
        validity: server_validity(None),
        extensions,
    };
    ca.authority.sign(&template).unwrap()
}
