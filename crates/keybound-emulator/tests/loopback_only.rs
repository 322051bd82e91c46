//! A stolen key of the emulator's CA is useless for other hosts than loopback, for any certificate that it signs. Tested with a
//! client that trusts the CA for all hosts, the most permissive configuration.
#![expect(clippy::unwrap_used, reason = "a test fails on an unexpected error")]

use keybound_emulator::{Config, Emulator};
use keybound_transport::{
    HttpsClient, HttpsSettings, ProxyConfig, RequestBody, TlsEngine, TransportError,
    TransportErrorKind, TrustAnchors,
};
use openssl::asn1::Asn1Time;
use openssl::bn::BigNum;
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::ssl::{SslAcceptor, SslMethod};
use openssl::x509::extension::{BasicConstraints, ExtendedKeyUsage, SubjectAlternativeName};
use openssl::x509::{X509, X509Builder, X509Name};
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// A certificate and its key.
#[derive(Clone)]
struct Pair(X509, PKey<Private>);

/// The CA, read from the state folder.
fn stolen_ca() -> (Pair, Vec<u8>) {
    let folder = tempfile::tempdir().unwrap();
    let builder = Emulator::builder().config(Config::default());
    let emulator = builder.state_dir(folder.path()).start().unwrap();
    let pem = std::fs::read(folder.path().join("ca-key.pem")).unwrap();
    let certificate = X509::from_pem(&pem).unwrap();
    let key = PKey::private_key_from_pem(&pem).unwrap();
    (Pair(certificate, key), emulator.ca_pem().to_vec())
}

/// Signs a certificate with a common name and optional subject alternative names.
fn sign(ca: &Pair, common_name: &str, names: &[&str], is_ca: bool) -> Pair {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
    let key = PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap();
    let mut subject = X509Name::builder().unwrap();
    subject
        .append_entry_by_nid(Nid::COMMONNAME, common_name)
        .unwrap();
    let mut builder = X509::builder().unwrap();
    builder.set_version(2).unwrap();
    let serial = BigNum::from_u32(7).unwrap().to_asn1_integer().unwrap();
    builder.set_serial_number(&serial).unwrap();
    builder.set_subject_name(&subject.build()).unwrap();
    builder.set_issuer_name(ca.0.subject_name()).unwrap();
    builder.set_pubkey(&key).unwrap();
    let (start, end) = (Asn1Time::days_from_now(0), Asn1Time::days_from_now(1));
    builder.set_not_before(&start.unwrap()).unwrap();
    builder.set_not_after(&end.unwrap()).unwrap();
    let mut constraints = BasicConstraints::new();
    if is_ca {
        constraints.critical().ca();
    }
    builder
        .append_extension(constraints.build().unwrap())
        .unwrap();
    let usage = ExtendedKeyUsage::new().server_auth().build().unwrap();
    builder.append_extension(usage).unwrap();
    if !names.is_empty() {
        add_names(&mut builder, names);
    }
    builder.sign(&ca.1, MessageDigest::sha256()).unwrap();
    Pair(builder.build(), key)
}

fn add_names(builder: &mut X509Builder, names: &[&str]) {
    let mut extension = SubjectAlternativeName::new();
    for name in names {
        match name.parse::<std::net::IpAddr>() {
            Ok(_) => extension.ip(name),
            Err(_) => extension.dns(name),
        };
    }
    let extension = extension
        .build(&builder.x509v3_context(None, None))
        .unwrap();
    builder.append_extension(extension).unwrap();
}

/// A server that is also a proxy, so that it is reached under any name. It counts its requests.
struct Impostor {
    port: u16,
    requests: Arc<AtomicUsize>,
}

impl Impostor {
    fn start(leaf: &Pair, intermediate: Option<&Pair>) -> Self {
        let mut acceptor = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls_server()).unwrap();
        acceptor.set_certificate(&leaf.0).unwrap();
        acceptor.set_private_key(&leaf.1).unwrap();
        if let Some(Pair(certificate, _)) = intermediate {
            acceptor.add_extra_chain_cert(certificate.clone()).unwrap();
        }
        let acceptor = acceptor.build();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let requests = Arc::new(AtomicUsize::new(0));
        let counted = requests.clone();
        std::thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                serve(stream, &acceptor, &counted);
            }
        });
        Self { port, requests }
    }
}

fn serve(mut stream: TcpStream, acceptor: &SslAcceptor, requests: &AtomicUsize) {
    let mut first = [0];
    if matches!(stream.peek(&mut first), Ok(1)) && first == *b"C" {
        let mut head = vec![];
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            if stream.read_exact(&mut byte).is_err() {
                return;
            }
            head.push(byte[0]);
        }
        if stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").is_err() {
            return;
        }
    }
    let Ok(mut stream) = acceptor.accept(stream) else {
        return;
    };
    if matches!(stream.read(&mut [0; 4096]), Ok(1..)) {
        requests.fetch_add(1, Ordering::SeqCst);
        let _ = stream.write_all(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n");
    }
}

async fn get(trust: &TrustAnchors, impostor: &Impostor, host: &str) -> Result<u16, TransportError> {
    let port = impostor.port;
    let proxy = format!("http://127.0.0.1:{port}");
    let settings = HttpsSettings {
        engine: TlsEngine::OpenSsl,
        trust: trust.clone(),
        proxy: ProxyConfig::from_values(Some(&proxy), None).unwrap(),
        ..HttpsSettings::default()
    };
    let client = HttpsClient::new(None, settings).unwrap();
    let request = http::Request::get(format!("https://{host}:{port}/"))
        .body(RequestBody::empty())
        .unwrap();
    let response = client.send(request, Duration::from_secs(30)).await?;
    Ok(response.status().as_u16())
}

#[tokio::test]
async fn stolen_ca_is_trusted_for_loopback_only() {
    let (ca, pem) = stolen_ca();
    let trust = TrustAnchors::system().with_pem(&pem).unwrap();
    let loopback_only = TrustAnchors::system().with_loopback_pem(&pem).unwrap();
    for (common_name, names, host) in [
        // In the subject only: name constraints do not apply to a common name without a dot.
        ("intranet", &[][..], "intranet"),
        ("my.vault.azure.net", &[], "my.vault.azure.net"),
        ("*.azure.net", &[], "my.azure.net"),
        ("10.0.0.1", &[], "10.0.0.1"),
        ("localhost", &[], "localhost"),
        ("127.0.0.1", &[], "127.0.0.1"),
        ("*", &[], "intranet"),
        // In the subject, with a permitted alternative name.
        ("intranet", &["localhost"], "intranet"),
        ("intranet", &["127.0.0.1"], "intranet"),
        ("my.vault.azure.net", &["localhost"], "my.vault.azure.net"),
        // As the alternative name.
        ("other", &["intranet"], "intranet"),
        ("other", &["localhost", "intranet"], "intranet"),
        (
            "other",
            &["login.microsoftonline.com"],
            "login.microsoftonline.com",
        ),
        ("other", &["localhost.example"], "localhost.example"),
        ("other", &["*"], "intranet"),
        ("other", &["*.azure.net"], "my.azure.net"),
        ("other", &["10.0.0.1"], "10.0.0.1"),
        ("other", &["128.0.0.1"], "128.0.0.1"),
        ("other", &["::2"], "[::2]"),
    ] {
        let impostor = Impostor::start(&sign(&ca, common_name, names, false), None);
        for trust in [&trust, &loopback_only] {
            let error = get(trust, &impostor, host).await.unwrap_err();
            assert_eq!(
                error.kind(),
                TransportErrorKind::ServerCertificate,
                "CN={common_name} {names:?} as {host}: {error:?}"
            );
        }
        assert_eq!(impostor.requests.load(Ordering::SeqCst), 0, "{host}");
    }
}

#[tokio::test]
async fn stolen_ca_cannot_sign_another_ca() {
    let (ca, pem) = stolen_ca();
    let trust = TrustAnchors::system().with_pem(&pem).unwrap();
    let intermediate = sign(&ca, "another CA", &[], true);
    for (names, host) in [
        (&["intranet"][..], "intranet"),
        (&["localhost"], "localhost"),
    ] {
        let impostor = Impostor::start(
            &sign(&intermediate, "other", names, false),
            Some(&intermediate),
        );
        let error = get(&trust, &impostor, host).await.unwrap_err();
        assert_eq!(
            error.kind(),
            TransportErrorKind::ServerCertificate,
            "{host}"
        );
        assert_eq!(impostor.requests.load(Ordering::SeqCst), 0, "{host}");
    }
}

/// The other tests do not pass merely because no certificate is trusted.
#[tokio::test]
async fn ca_is_trusted_on_loopback() {
    let (ca, pem) = stolen_ca();
    for trust in [
        TrustAnchors::system().with_pem(&pem).unwrap(),
        TrustAnchors::system().with_loopback_pem(&pem).unwrap(),
    ] {
        for (names, host) in [
            (&["localhost"][..], "localhost"),
            (&["127.0.0.1"], "127.0.0.1"),
        ] {
            let impostor = Impostor::start(&sign(&ca, "other", names, false), None);
            assert_eq!(get(&trust, &impostor, host).await.unwrap(), 204, "{host}");
        }
    }
}
