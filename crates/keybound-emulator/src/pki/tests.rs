//! The stored CA and the issued certificates.
#[cfg(unix)]
mod modes;
// The openssl program is used on Unix only.
#[cfg(unix)]
mod verified;

use super::server_ca::ServerCa;
use super::{ClientCertificateProblem, ClientCertificateRequest, Pki};
use crate::clock::host_now;
use crate::start_error::StartError;
use keybound_testing::{CertificateBuilder, p256_key};
use openssl::asn1::Asn1Type;
use openssl::nid::Nid;
use openssl::rsa::Rsa;
use openssl::x509::{X509, X509Name, X509NameRef};
use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::LazyLock;
use std::time::Duration;

const CLIENT: &str = "11111111-1111-4111-8111-11111111111a";
const TENANT: &str = "22222222-2222-4222-8222-22222222222b";
const LOCALHOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const DAY: Duration = Duration::from_secs(24 * 3600);

static KEY: LazyLock<Vec<u8>> =
    LazyLock::new(|| Rsa::generate(2048).unwrap().public_key_to_der().unwrap());

fn subject(entries: &[(Nid, &str, Asn1Type)]) -> X509Name {
    let mut name = X509Name::builder().unwrap();
    for (attribute, text, kind) in entries {
        name.append_entry_by_nid_with_type(*attribute, text, *kind)
            .unwrap();
    }
    name.build()
}

fn usual_subject() -> X509Name {
    subject(&[
        (Nid::DOMAINCOMPONENT, TENANT, Asn1Type::IA5STRING),
        (Nid::COMMONNAME, CLIENT, Asn1Type::PRINTABLESTRING),
    ])
}

fn issue(pki: &Pki, subject: &X509NameRef) -> Vec<u8> {
    let now = host_now();
    let request = ClientCertificateRequest {
        subject,
        public_key: &KEY,
        validity: now - DAY..now + DAY,
        token_not_after: None,
    };
    pki.issue(&request).unwrap()
}

fn text_of(certificate: &X509) -> String {
    // Versions of OpenSSL differ in their spaces.
    String::from_utf8(certificate.to_text().unwrap())
        .unwrap()
        .replace(" = ", "=")
}

#[test]
fn issues_binding_certificate_for_the_requested_subject_and_key() {
    let pki = Pki::new(None, LOCALHOST).unwrap();
    let der = issue(&pki, &usual_subject());
    let certificate = X509::from_der(&der).unwrap();
    let text = text_of(&certificate);
    for part in [
        "Issuer: CN=managedidentitysnissuer.login.microsoft.com",
        &format!("Subject: DC={TENANT}, CN={CLIENT}"),
        "TLS Web Client Authentication",
        "CA:FALSE",
        "Digital Signature",
    ] {
        assert!(text.contains(part), "{part} is missing from {text}");
    }
    assert_eq!(
        certificate
            .public_key()
            .unwrap()
            .public_key_to_der()
            .unwrap(),
        *KEY
    );
    let again = X509::from_der(&issue(&pki, &usual_subject())).unwrap();
    assert_ne!(
        certificate.serial_number().to_bn().unwrap(),
        again.serial_number().to_bn().unwrap()
    );
}

#[test]
fn checks_issuer_validity_and_names_of_client_certificates() {
    use ClientCertificateProblem::{Expired, Foreign, Malformed, NotYetValid};
    let (pki, other) = (
        Pki::new(None, LOCALHOST).unwrap(),
        Pki::new(None, LOCALHOST).unwrap(),
    );
    let now = host_now();
    let valid = issue(&pki, &usual_subject());
    let read = pki.check_client_certificate(&valid, now).unwrap();
    assert_eq!(
        (read.client_id.as_str(), read.tenant_id.as_str()),
        (CLIENT, TENANT)
    );
    assert_eq!(read.thumbprint, keybound_core::X5tS256::of_der(&valid));
    assert_eq!(
        pki.check_client_certificate(&valid, now + 2 * DAY),
        Err(Expired)
    );
    assert_eq!(
        pki.check_client_certificate(&valid, now - 2 * DAY),
        Err(NotYetValid)
    );
    // Another issuer of the same name.
    assert_eq!(other.check_client_certificate(&valid, now), Err(Foreign));
    let server = pki.server().certificate.to_der().unwrap();
    assert_eq!(pki.check_client_certificate(&server, now), Err(Foreign));
    let mut changed = valid.clone();
    *changed.last_mut().unwrap() ^= 1;
    assert_eq!(pki.check_client_certificate(&changed, now), Err(Foreign));
    for der in [&b""[..], b"garbage", &valid[..valid.len() - 1]] {
        assert_eq!(pki.check_client_certificate(der, now), Err(Malformed));
    }
    let no_tenant = subject(&[(Nid::COMMONNAME, CLIENT, Asn1Type::PRINTABLESTRING)]);
    assert_eq!(
        pki.check_client_certificate(&issue(&pki, &no_tenant), now),
        Err(Malformed)
    );
    let two = subject(&[
        (Nid::DOMAINCOMPONENT, TENANT, Asn1Type::IA5STRING),
        (Nid::COMMONNAME, CLIENT, Asn1Type::PRINTABLESTRING),
        (Nid::COMMONNAME, TENANT, Asn1Type::PRINTABLESTRING),
    ]);
    assert_eq!(
        pki.check_client_certificate(&issue(&pki, &two), now),
        Err(Malformed)
    );
    assert!(
        openssl::error::ErrorStack::get().errors().is_empty(),
        "the error queue is not empty"
    );
}

#[test]
fn removes_the_temporary_ca_file_when_dropped() {
    let pki = Pki::new(None, LOCALHOST).unwrap();
    let file = pki.ca_file().to_owned();
    assert_eq!(fs::read(&file).unwrap(), pki.ca_pem());
    drop(pki);
    assert!(!file.exists() && !file.parent().unwrap().exists());
}

#[test]
fn loads_a_stored_ca() {
    let folder = tempfile::tempdir().unwrap();
    let stored = folder.path().join("deep").join("state");
    let first = Pki::new(Some(&stored), LOCALHOST).unwrap();
    let pem = first.ca_pem().to_vec();
    assert_eq!(first.ca_file(), stored.join("ca.pem"));
    drop(first);
    assert_eq!(fs::read(stored.join("ca.pem")).unwrap(), pem);
    let second = Pki::new(Some(&stored), LOCALHOST).unwrap();
    assert_eq!(second.ca_pem(), pem);
    // The certificate file is restored from the key file.
    fs::remove_file(stored.join("ca.pem")).unwrap();
    assert_eq!(Pki::new(Some(&stored), LOCALHOST).unwrap().ca_pem(), pem);
    assert_eq!(fs::read(stored.join("ca.pem")).unwrap(), pem);
    let mut names: Vec<_> = fs::read_dir(&stored)
        .unwrap()
        .map(|file| file.unwrap().file_name())
        .collect();
    names.sort();
    assert_eq!(names, ["ca-key.pem", "ca.pem"], "no other file remains");
}

/// Editors and version control change line ends and add comments; clients read the same certificate.
#[test]
fn compares_stored_certificates_by_content() {
    let folder = tempfile::tempdir().unwrap();
    let pem = Pki::new(Some(folder.path()), LOCALHOST)
        .unwrap()
        .ca_pem()
        .to_vec();
    let other = ServerCa::create().unwrap();
    let (ca_file, key_file) = (
        folder.path().join("ca.pem"),
        folder.path().join("ca-key.pem"),
    );
    let key_pem = fs::read_to_string(&key_file).unwrap();
    let text = String::from_utf8(pem.clone()).unwrap();
    let other_text = String::from_utf8(other.pem().to_vec()).unwrap();
    let commented = other_text.replace("-----BEGIN", "# -----BEGIN");
    let variants = |text: &str| {
        [
            text.replace('\n', "\r\n"),
            format!("\u{feff}{text}"),
            format!("\u{feff}{}", text.replace('\n', "\r\n")),
            format!("# the CA of the emulator\n\n{text}"),
            format!("{text}\n\n# its end"),
            format!("{commented}{text}"),
            text.trim_end().to_owned(),
        ]
    };
    for variant in variants(&text) {
        fs::write(&ca_file, &variant).unwrap();
        assert_eq!(
            Pki::new(Some(folder.path()), LOCALHOST).unwrap().ca_pem(),
            pem,
            "{variant:?}"
        );
        assert_eq!(
            fs::read_to_string(&ca_file).unwrap(),
            variant,
            "the file is not changed"
        );
    }
    fs::write(&ca_file, &text).unwrap();
    for variant in variants(&key_pem) {
        fs::write(&key_file, &variant).unwrap();
        assert_eq!(
            Pki::new(Some(folder.path()), LOCALHOST).unwrap().ca_pem(),
            pem,
            "{variant:?}"
        );
    }
    fs::write(&key_file, &key_pem).unwrap();
    for wrong in [
        String::new(),
        "# nothing\n".to_owned(),
        other_text.clone(),
        format!("{text}{other_text}"),
        format!("{text}{text}"),
        text.replace("-----BEGIN", "# -----BEGIN"),
    ] {
        fs::write(&ca_file, &wrong).unwrap();
        let Err(StartError::StateDir { problem, .. }) = Pki::new(Some(folder.path()), LOCALHOST)
        else {
            panic!("{wrong:?} was accepted");
        };
        assert_eq!(problem, "ca.pem is not the certificate in ca-key.pem");
    }
}

#[test]
fn concurrent_emulators_share_one_ca() {
    let folder = tempfile::tempdir().unwrap();
    let pems: Vec<Vec<u8>> = std::thread::scope(|scope| {
        let starts: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(|| {
                    Pki::new(Some(folder.path()), LOCALHOST)
                        .unwrap()
                        .ca_pem()
                        .to_vec()
                })
            })
            .collect();
        starts
            .into_iter()
            .map(|start| start.join().unwrap())
            .collect()
    });
    assert!(pems.iter().all(|pem| *pem == pems[0]));
}

#[test]
fn reports_the_problem_of_an_unusable_state_folder() {
    let folder = tempfile::tempdir().unwrap();
    let (key_file, ca_file) = (
        folder.path().join("ca-key.pem"),
        folder.path().join("ca.pem"),
    );
    drop(Pki::new(Some(folder.path()), LOCALHOST).unwrap());
    let ca = fs::read(&ca_file).unwrap();
    // Copies the mode too.
    let aside = folder.path().join("aside.pem");
    fs::copy(&key_file, &aside).unwrap();
    let problem = || match Pki::new(Some(folder.path()), LOCALHOST) {
        Err(error @ StartError::StateDir { problem, .. }) => {
            assert!(!format!("{error} {error:?}").contains("PRIVATE KEY"));
            problem
        }
        Err(other) => panic!("{other:?}"),
        Ok(_) => panic!("the directory was accepted"),
    };
    fs::write(&key_file, b"nonsense").unwrap();
    assert_eq!(
        problem(),
        "ca-key.pem does not hold a key and a certificate"
    );
    fs::write(&key_file, vec![b'x'; 70_000]).unwrap();
    assert_eq!(problem(), "ca-key.pem cannot be read");

    let other = ServerCa::create().unwrap();
    fs::write(&key_file, [&other.key_pem().unwrap()[..], &ca].concat()).unwrap();
    assert_eq!(
        problem(),
        "the certificate in ca-key.pem is for another key"
    );
    fs::write(
        &key_file,
        [&other.key_pem().unwrap()[..], other.pem()].concat(),
    )
    .unwrap();
    assert_eq!(problem(), "ca.pem is not the certificate in ca-key.pem");
    fs::write(&key_file, unconstrained()).unwrap();
    let not_constrained = "the certificate in ca-key.pem is not constrained to servers on loopback as the emulator's is";
    assert_eq!(problem(), not_constrained);
    // Each extension is required.
    for index in 0..super::server_ca::extensions().unwrap().len() {
        let mut extensions = super::server_ca::extensions().unwrap();
        extensions.remove(index);
        let other = ServerCa::with_extensions(host_now() + 300 * DAY, extensions).unwrap();
        fs::write(
            &key_file,
            [&other.key_pem().unwrap()[..], other.pem()].concat(),
        )
        .unwrap();
        assert_eq!(problem(), not_constrained, "{index}");
    }
    let expiring = ServerCa::create_until(host_now() + Duration::from_secs(3600)).unwrap();
    fs::write(
        &key_file,
        [&expiring.key_pem().unwrap()[..], expiring.pem()].concat(),
    )
    .unwrap();
    assert!(problem().contains("expires soon"));

    fs::remove_file(&key_file).unwrap();
    assert_eq!(problem(), "ca.pem exists, but ca-key.pem does not");
    fs::rename(&aside, &key_file).unwrap();
    assert_eq!(
        Pki::new(Some(folder.path()), LOCALHOST).unwrap().ca_pem(),
        ca
    );
    let below_a_file = key_file.join("x");
    assert!(matches!(
        Pki::new(Some(&below_a_file), LOCALHOST),
        Err(StartError::StateDir { problem, .. }) if problem.starts_with("it cannot be created")
    ));
}

/// A CA without constraints.
fn unconstrained() -> Vec<u8> {
    let key = p256_key();
    let builder = CertificateBuilder::new(&key)
        .subject("unconstrained")
        .issuer("unconstrained");
    let certificate = builder.days(0..300).sign(&key);
    [
        key.private_key_to_pem_pkcs8().unwrap(),
        certificate.to_pem().unwrap(),
    ]
    .concat()
}
