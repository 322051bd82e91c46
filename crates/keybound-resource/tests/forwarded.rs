//! Client certificates in the headers of proxies.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

mod support;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use http::{Extensions, HeaderMap, HeaderName, HeaderValue};
use keybound_resource::source::{
    CertificateSource, ConnectionPeer, ForwardedCertificate, Network, Peer, PeerAddress,
    TrustedPeers,
};
use keybound_resource::{CertificateError, ClientCertificate};
use std::net::SocketAddr;
use support::issuer;

#[test]
fn reads_the_header_of_each_proxy() {
    let (der, pem) = (der(), pem());
    let base64 = STANDARD.encode(&der);
    let chain = format!(
        "{pem}{}",
        issuer().certificates.url_encoded_pem(&other_der())
    );
    let local = TrustedPeers::local;
    for (source, header, value) in [
        (
            ForwardedCertificate::rfc9440(local()),
            "client-cert",
            format!(":{base64}:"),
        ),
        (
            ForwardedCertificate::xfcc(local()),
            "x-forwarded-client-cert",
            issuer().certificates.xfcc_element(&der),
        ),
        (
            ForwardedCertificate::nginx(local()),
            "x-ssl-client-cert",
            pem.clone(),
        ),
        (
            ForwardedCertificate::haproxy(local()),
            "x-ssl-client-der",
            base64.clone(),
        ),
        (
            ForwardedCertificate::aws_leaf(local()),
            "x-amzn-mtls-clientcert-leaf",
            with_plain_base64(&pem),
        ),
        (
            ForwardedCertificate::aws_passthrough(local()),
            "x-amzn-mtls-clientcert",
            chain,
        ),
        (
            ForwardedCertificate::app_service(),
            "x-arr-clientcert",
            base64.clone(),
        ),
        // Version 2 of Traefik, and version 3 with a chain.
        (
            ForwardedCertificate::traefik(local()),
            "x-forwarded-tls-client-cert",
            url_encoded(&base64),
        ),
        (
            ForwardedCertificate::traefik(local()),
            "x-forwarded-tls-client-cert",
            format!("{base64},{}", STANDARD.encode(other_der())),
        ),
    ] {
        for _ in 0..2 {
            let found = source.certificate(&headers(&[(header, &value)]), &loopback());
            assert_eq!(found, Ok(Some(certificate())), "{header}");
        }
        let none = source.certificate(&headers(&[]), &loopback());
        assert_eq!(none, Ok(None), "{header}");
        let empty = source.certificate(&headers(&[(header, "")]), &loopback());
        assert_eq!(empty, Ok(None), "{header}");
        let twice = headers(&[(header, &value), (header, &value)]);
        let twice = source.certificate(&twice, &loopback());
        assert_eq!(twice, Err(CertificateError::Repeated), "{header}");
        let damaged = format!("{}!{}", &value[..80], &value[81..]);
        for other in ["x", "%", "%00", ":x:", "Cert=x", "\u{e9}", &damaged] {
            let found = source.certificate(&headers(&[(header, other)]), &loopback());
            assert!(!matches!(found, Ok(Some(_))), "{header}: {other}");
        }
    }
}

/// Each differs from all others in one character of its signature, which a certificate in a header need not have.
#[test]
fn certificates_that_differ_in_one_byte_are_not_confused() {
    let source = ForwardedCertificate::haproxy(TrustedPeers::local());
    let der = der();
    let changed = |position: usize| {
        let mut changed = der.clone();
        changed[position] ^= 1;
        changed
    };
    let signature = der.len() - 200..der.len();
    for _ in 0..2 {
        for position in signature.clone() {
            let changed = changed(position);
            let read = source.parse_value(STANDARD.encode(&changed).as_bytes());
            assert_eq!(read, ClientCertificate::from_der(&changed).map(Some));
            let read = source.parse_value(STANDARD.encode(&der).as_bytes());
            assert_eq!(read, Ok(Some(certificate())), "{position}");
        }
    }
}

#[test]
fn ignored_headers_are_counted() {
    let source = ForwardedCertificate::nginx(TrustedPeers::local());
    let own = ("x-ssl-client-cert", "x");
    let counts = |source: &ForwardedCertificate| {
        let ignored = source.ignored();
        (ignored.untrusted_peer, ignored.other_header)
    };
    for (sent, peer, expected) in [
        (vec![], loopback(), (0, 0)),
        (vec![own], loopback(), (0, 0)),
        (vec![own, ("client-cert", "x")], loopback(), (0, 0)),
        (vec![("client-cert", "x")], loopback(), (0, 1)),
        // One request counts once.
        (
            vec![("x-ssl-client-der", "x"), ("x-arr-clientcert", "x")],
            loopback(),
            (0, 2),
        ),
        (vec![("x-other", "x")], loopback(), (0, 2)),
        (vec![], Extensions::new(), (0, 2)),
        (vec![("client-cert", "x")], Extensions::new(), (0, 2)),
        (vec![own], Extensions::new(), (1, 2)),
    ] {
        let _ = source.clone().certificate(&headers(&sent), &peer);
        assert_eq!(counts(&source), expected, "{sent:?}");
    }
    let other = source.with_trusted(TrustedPeers::everyone());
    assert_eq!(counts(&other), (1, 2));
    let found = other.certificate(&headers(&[own]), &Extensions::new());
    assert_eq!(found, Err(CertificateError::Malformed));
}

#[test]
fn rejects_other_encodings() {
    let base64 = STANDARD.encode(der());
    let pem = pem();
    let plain = "-----BEGIN CERTIFICATE-----%0A".to_owned() + &URL_SAFE.encode(der());
    let cases = [
        (
            ForwardedCertificate::nginx(TrustedPeers::local()),
            "x-ssl-client-cert",
            vec![
                base64.clone(),
                format!("{pem}x"),
                format!("%20{pem}"),
                format!("{pem}{pem}"),
                plain,
                pem.replace("CERTIFICATE", "X509"),
                pem.replace("%0A", "%20"),
                format!("{pem}%FF"),
            ],
        ),
        (
            ForwardedCertificate::rfc9440(TrustedPeers::local()),
            "client-cert",
            vec![
                base64.clone(),
                format!("\"{base64}\""),
                format!(":{base64}"),
                format!(":{base64}:;a=1"),
                format!(":{base64}:, :{base64}:"),
                format!(":{}:", base64.trim_end_matches('=').to_owned() + "=A"),
                "::".to_owned(),
            ],
        ),
        (
            ForwardedCertificate::haproxy(TrustedPeers::local()),
            "x-ssl-client-der",
            vec![
                format!("{base64}A"),
                format!("{base64},{base64}"),
                pem.clone(),
                format!(" {base64}"),
            ],
        ),
    ];
    for (source, header, values) in cases {
        for value in values {
            let found = source.certificate(&headers(&[(header, &value)]), &loopback());
            assert_eq!(found, Err(CertificateError::Malformed), "{header}: {value}");
        }
    }
}

/// Envoy writes URIs and DNS names of the client's certificate as they are. A thief makes a certificate whose name contains the public
/// certificate of a token's owner.
#[test]
fn names_in_a_certificate_do_not_replace_it_in_the_header_of_envoy() {
    let source = ForwardedCertificate::xfcc(TrustedPeers::local());
    let read = |value: &str| {
        let headers = headers(&[("x-forwarded-client-cert", value)]);
        source.certificate(&headers, &loopback())
    };
    let own = |key: &str| value_of(&issuer().certificates.xfcc_element(&other_der()), key);
    let owners = |key: &str| value_of(&issuer().certificates.xfcc_element(&der()), key);
    let (hash, owners_hash, owners_pem) = (own("Hash"), owners("Hash"), owners("Cert"));
    // Without `cert: true`, the only certificate is that in the name.
    for forged in [
        format!("By=a;Hash={hash};URI=x;Cert={owners_pem}"),
        format!("By=a;Hash={hash};URI=x;Hash={owners_hash};Cert={owners_pem}"),
        format!("Hash={hash};DNS=x;hash={owners_hash};cert={owners_pem};URI=x"),
        format!("URI=x;Cert={owners_pem}"),
        format!("Hash=;URI=x;Cert={owners_pem}"),
        format!("Hash=00;URI=x;Cert={owners_pem}"),
        format!("Hash={};Cert={owners_pem}", &owners_hash[1..]),
        format!("Hash={hash};Cert={};URI=x;Cert={owners_pem}", own("Cert")),
    ] {
        assert_eq!(read(&forged), Err(CertificateError::Malformed), "{forged}");
    }
    let true_one = format!("By=a;By=b;Hash={owners_hash};Cert={owners_pem};URI=x;DNS=y");
    assert_eq!(read(&true_one), Ok(Some(certificate())));
    let capitals = true_one.replace(&*owners_hash, &owners_hash.to_uppercase());
    assert_eq!(read(&capitals), Ok(Some(certificate())));
}

/// The value of a key in an element, with its quotes.
fn value_of(element: &str, key: &str) -> String {
    let mut pairs = element.split(';').filter_map(|pair| pair.split_once('='));
    pairs.find(|(name, _)| *name == key).unwrap().1.to_owned()
}

#[test]
fn trusts_the_headers_of_its_proxies_only() {
    let own = issuer().certificates.der("rsa-2048").unwrap();
    let thumbprint = ClientCertificate::from_der(&own)
        .unwrap()
        .thumbprint()
        .clone();
    let tcp = |address: &str| PeerAddress::Tcp(SocketAddr::new(address.parse().unwrap(), 1));
    let peers = [
        ("nobody", None),
        ("loopback", Some(Peer::new(tcp("127.0.0.1")))),
        ("loopback, version 6", Some(Peer::new(tcp("::1")))),
        ("loopback, mapped", Some(Peer::new(tcp("::ffff:127.0.0.2")))),
        ("socket", Some(Peer::new(PeerAddress::UnixSocket))),
        ("proxy", Some(Peer::new(tcp("10.0.0.7")))),
        ("proxy, mapped", Some(Peer::new(tcp("::ffff:10.0.0.7")))),
        ("stranger", Some(Peer::new(tcp("10.0.0.8")))),
        (
            "pinned",
            Some(Peer::new(tcp("10.0.0.8")).with_certificate(Some(&own))),
        ),
        (
            "other certificate",
            Some(Peer::new(tcp("10.0.0.8")).with_certificate(Some(&other_der()))),
        ),
        (
            "malformed certificate",
            Some(Peer::new(tcp("10.0.0.8")).with_certificate(Some(b"x"))),
        ),
    ];
    let rules = [
        (
            TrustedPeers::local(),
            vec![
                "loopback",
                "loopback, version 6",
                "loopback, mapped",
                "socket",
            ],
        ),
        (
            TrustedPeers::addresses(["10.0.0.7".parse().unwrap()]),
            vec!["proxy", "proxy, mapped"],
        ),
        (
            TrustedPeers::networks([Network::parse("10.0.0.0/29").unwrap()]),
            vec!["proxy", "proxy, mapped"],
        ),
        (TrustedPeers::certificates([thumbprint]), vec!["pinned"]),
        (TrustedPeers::addresses([]), vec![]),
        (
            TrustedPeers::everyone(),
            peers.iter().map(|(name, _)| *name).collect(),
        ),
    ];
    for (rule, trusted) in rules {
        let source = ForwardedCertificate::nginx(rule.clone());
        let headers = headers(&[("x-ssl-client-cert", &pem())]);
        for (name, peer) in &peers {
            let mut extensions = Extensions::new();
            if let Some(peer) = peer {
                extensions.insert(peer.clone());
            }
            let found = source.certificate(&headers, &extensions).unwrap();
            assert_eq!(found.is_some(), trusted.contains(name), "{rule:?}: {name}");
        }
    }
}

#[test]
fn certificate_of_the_connection_is_not_replaced_by_headers() {
    let all = headers(&[("x-ssl-client-cert", &pem()), ("client-cert", "x")]);
    assert_eq!(
        ConnectionPeer::new().certificate(&all, &loopback()),
        Ok(None)
    );
    let address = "127.0.0.1:1".parse().unwrap();
    let mut extensions = Extensions::new();
    let peer = Peer::new(PeerAddress::Tcp(address)).with_certificate(Some(&other_der()));
    extensions.insert(peer);
    let found = ConnectionPeer::new()
        .certificate(&all, &extensions)
        .unwrap();
    assert_eq!(
        found,
        Some(ClientCertificate::from_der(&other_der()).unwrap())
    );
    let malformed = Peer::new(PeerAddress::Tcp(address)).with_certificate(Some(b"x"));
    extensions.insert(malformed);
    let found = ConnectionPeer::new().certificate(&all, &extensions);
    assert_eq!(found, Err(CertificateError::Malformed));
}

fn certificate() -> ClientCertificate {
    ClientCertificate::from_der(&der()).unwrap()
}

fn der() -> Vec<u8> {
    issuer().certificates.der("client").unwrap()
}

fn other_der() -> Vec<u8> {
    issuer().certificates.der("other").unwrap()
}

fn pem() -> String {
    issuer().certificates.url_encoded_pem(&der())
}

/// AWS does not encode the digits of base64.
fn with_plain_base64(pem: &str) -> String {
    pem.replace("%2B", "+")
        .replace("%2F", "/")
        .replace("%3D", "=")
}

fn url_encoded(base64: &str) -> String {
    base64
        .replace('+', "%2B")
        .replace('/', "%2F")
        .replace('=', "%3D")
}

fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        let value = HeaderValue::from_bytes(value.as_bytes()).unwrap();
        headers.append(HeaderName::from_static(name), value);
    }
    headers
}

fn loopback() -> Extensions {
    let address = "127.0.0.1:1".parse().unwrap();
    let mut extensions = Extensions::new();
    extensions.insert(Peer::new(PeerAddress::Tcp(address)));
    extensions
}
