use crate::support::{
    CLIENT, Issue, KEY, MANAGED_IDENTITY_ISSUER, NOW, OTHER, TENANT, at, client, generalized_time,
    tenant,
};
use keybound_core::{Certificate, ErrorKind, Guid, MAX_CERTIFICATE, Stage};
use keybound_keys::BindingKey as _;
use keybound_keys::memory::MemoryKey;
use openssl::asn1::Asn1Type;
use openssl::nid::Nid;
use openssl::x509::X509;
use std::time::Duration;

fn error_kind(der: &[u8]) -> ErrorKind {
    let error = Certificate::from_der(der).unwrap_err();
    assert_eq!(error.stage(), Stage::Credential);
    error.kind()
}

fn named(names: &[(Nid, Asn1Type, &str)]) -> Certificate {
    let names = names
        .iter()
        .map(|(nid, kind, text)| (*nid, *kind, (*text).to_owned()))
        .collect();
    Issue {
        names,
        ..Issue::default()
    }
    .certificate()
}

#[test]
fn parses_issued_certificate() {
    let issue = Issue::default();
    let certificate = issue.certificate();
    assert_eq!(certificate.subject(), format!("CN={CLIENT},DC={TENANT}"));
    assert_eq!(
        certificate.issuer(),
        "CN=managedidentitysnissuer.login.microsoft.com"
    );
    assert_eq!(certificate.not_before(), at(issue.not_before));
    assert_eq!(certificate.not_after(), at(issue.not_after));
    assert_eq!(certificate.public_key_der(), KEY.public_key_der());
    assert_eq!(certificate.clone(), certificate);
    assert_eq!(
        Certificate::from_der(certificate.der()).unwrap(),
        certificate
    );
    let later = Issue {
        not_after: NOW + 1,
        ..Issue::default()
    };
    assert_ne!(later.certificate(), certificate);
    assert!(format!("{certificate:?}").len() < 300);
}

#[test]
fn certificate_matches_key() {
    let certificate = Issue::default().certificate();
    certificate.check_key(KEY.public_key_der()).unwrap();
    let other = MemoryKey::generate().unwrap();
    let flipped = {
        let mut key = KEY.public_key_der().to_vec();
        key[100] ^= 1;
        key
    };
    for key in [other.public_key_der(), &flipped, &[]] {
        let error = certificate.check_key(key).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::CertificateKeyMismatch);
    }
}

#[test]
fn validity_includes_both_ends() {
    let issue = Issue::default();
    let certificate = issue.certificate();
    let beyond = Duration::from_nanos(1000);
    for now in [issue.not_before, NOW, issue.not_after] {
        certificate.check_validity(at(now)).unwrap();
    }
    for (now, words) in [
        (at(issue.not_before) - beyond, "not yet valid"),
        (at(0), "not yet valid"),
        (at(issue.not_after) + beyond, "has expired"),
        (at(u64::from(u32::MAX)), "has expired"),
    ] {
        let error = certificate.check_validity(now).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::CertificateNotValid);
        assert!(error.to_string().contains(words), "{error}");
    }
}

#[test]
fn reversed_validity_is_never_valid() {
    let certificate = Issue {
        not_before: NOW + 10,
        not_after: NOW - 10,
        ..Issue::default()
    }
    .certificate();
    for now in [NOW - 20, NOW, NOW + 20] {
        assert!(certificate.check_validity(at(now)).is_err());
    }
}

#[test]
fn parses_dates_after_2050() {
    let issue = Issue {
        not_after: 253_402_300_799, // the last second of the year 9999
        ..Issue::default()
    };
    assert_eq!(issue.certificate().not_after(), at(issue.not_after));
}

#[test]
fn compares_names_without_case_in_every_string_type() {
    let lower = (CLIENT.to_lowercase(), TENANT.to_lowercase());
    for kind in [Asn1Type::PRINTABLESTRING, Asn1Type::UTF8STRING] {
        let certificate = named(&[
            (Nid::COMMONNAME, kind, &lower.0),
            (Nid::DOMAINCOMPONENT, Asn1Type::IA5STRING, &lower.1),
        ]);
        certificate.check_names(&client(), &tenant()).unwrap();
    }
}

#[test]
fn identity_as_asked() {
    const CN: (Nid, Asn1Type) = (Nid::COMMONNAME, Asn1Type::UTF8STRING);
    const DC: (Nid, Asn1Type) = (Nid::DOMAINCOMPONENT, Asn1Type::IA5STRING);
    let padded = format!("{CLIENT} ");
    let zero = format!("{CLIENT}\0");
    for names in [
        &[(CN, OTHER), (DC, TENANT)][..],
        &[(CN, CLIENT), (DC, OTHER)],
        &[(CN, TENANT), (DC, CLIENT)],
        &[(CN, CLIENT)],
        &[(DC, TENANT)],
        &[],
        // Two names, of which peers may use the other one.
        &[(CN, CLIENT), (CN, OTHER), (DC, TENANT)],
        &[(CN, CLIENT), (CN, CLIENT), (DC, TENANT)],
        &[(CN, CLIENT), (DC, TENANT), (DC, OTHER)],
        &[(CN, &padded), (DC, TENANT)],
        &[(CN, &zero), (DC, TENANT)],
        &[
            ((Nid::COMMONNAME, Asn1Type::BMPSTRING), CLIENT),
            (DC, TENANT),
        ],
    ] {
        let names: Vec<_> = names
            .iter()
            .map(|((nid, kind), text)| (*nid, *kind, *text))
            .collect();
        let error = named(&names).check_names(&client(), &tenant()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::IdentityMismatch, "{names:?}");
    }
    let certificate = Issue::default().certificate();
    certificate.check_names(&client(), &tenant()).unwrap();
    let other = Guid::parse(OTHER).unwrap();
    assert!(certificate.check_names(&other, &tenant()).is_err());
    assert!(certificate.check_names(&client(), &other).is_err());
}

#[test]
fn names_are_printable() {
    let certificate = named(&[
        (
            Nid::COMMONNAME,
            Asn1Type::UTF8STRING,
            "\u{1b}[2J\u{9b}1m\u{202e}x\r\ny",
        ),
        (
            Nid::ORGANIZATIONNAME,
            Asn1Type::UTF8STRING,
            "Grüße, \"Welt\"",
        ),
    ]);
    let shown = certificate.subject();
    assert!(
        !shown.chars().any(|c| c.is_control() || c == '\u{202e}'),
        "{shown:?}"
    );
    assert!(shown.contains(r#"Grüße\, \"Welt\""#), "{shown:?}");
    assert!(!format!("{certificate:?}").contains(char::is_control));
}

#[test]
fn bounded_input() {
    let sized = |comment_length| {
        Issue {
            comment_length,
            ..Issue::default()
        }
        .der()
    };
    let frame = sized(1000).len() - 1000;
    let largest = sized(MAX_CERTIFICATE - frame);
    assert_eq!(largest.len(), MAX_CERTIFICATE);
    assert!(Certificate::from_der(&largest).is_ok());
    let larger = sized(MAX_CERTIFICATE - frame + 1);
    let error = Certificate::from_der(&larger).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::CertificateMalformed);
    assert!(error.to_string().contains("16 KiB"), "{error}");
    // Names as text are bounded.
    let long = "n".repeat(64);
    let many = vec![
        (
            Nid::ORGANIZATIONALUNITNAME,
            Asn1Type::UTF8STRING,
            long.as_str()
        );
        100
    ];
    assert_eq!(named(&many).subject().chars().count(), 1025);
}

#[test]
fn rejects_anything_but_one_certificate() {
    let valid = Issue::default().der();
    let pem = X509::from_der(&valid).unwrap().to_pem().unwrap();
    for der in [
        &[][..],
        b"garbage",
        &pem,
        &valid[..valid.len() - 1],
        &[&valid[..], &[0]].concat(),
        &[&valid[..], &valid[..]].concat(),
        KEY.public_key_der(),
        &[0x30, 0x84, 0xff, 0xff, 0xff, 0xff],
        &[0x30, 0x80, 0, 0],
    ] {
        assert_eq!(error_kind(der), ErrorKind::CertificateMalformed);
    }
    let thumbprints = Certificate::from_der(&valid).unwrap().thumbprints().clone();
    // Truncated certificates are rejected; a changed byte never causes a panic.
    for length in 0..valid.len() {
        error_kind(&valid[..length]);
    }
    for position in 0..valid.len() {
        let mut changed = valid.clone();
        changed[position] ^= 0x80;
        if let Ok(certificate) = Certificate::from_der(&changed) {
            assert_ne!(certificate.thumbprints(), &thumbprints);
        }
    }
}

const TOKEN_NOT_AFTER: &str = "1.3.6.1.4.1.311.90.2.1";
const KEY_USAGE: &str = "2.5.29.15";
const EXTENDED_KEY_USAGE: &str = "2.5.29.37";

fn extended(extensions: Vec<(&'static str, Vec<u8>)>) -> Certificate {
    Issue {
        extensions,
        ..Issue::default()
    }
    .certificate()
}

#[test]
fn effective_expiry_is_the_earlier_one() {
    let issue = Issue::default();
    let day = 24 * 3600;
    for (extensions, token_not_after, effective) in [
        (vec![], None, issue.not_after),
        (vec![NOW + day], Some(NOW + day), NOW + day),
        (
            vec![issue.not_after + day],
            Some(issue.not_after + day),
            issue.not_after,
        ),
        (vec![NOW + 2 * day, NOW + day], Some(NOW + day), NOW + day),
        (vec![NOW - 2 * day], Some(NOW - 2 * day), NOW - 2 * day),
    ] {
        let values = extensions
            .iter()
            .map(|&end| (TOKEN_NOT_AFTER, generalized_time(end)));
        let certificate = extended(values.collect());
        assert_eq!(certificate.token_not_after(), token_not_after.map(at));
        assert_eq!(certificate.effective_not_after(), at(effective));
        let life = effective.saturating_sub(issue.not_before);
        assert_eq!(certificate.effective_life(), Duration::from_secs(life));
        // TLS uses NotAfter.
        assert_eq!(certificate.not_after(), at(issue.not_after));
        certificate.check_validity(at(issue.not_after)).unwrap();
    }
    let unreadable = extended(vec![(TOKEN_NOT_AFTER, b"\x18\x03now".to_vec())]);
    assert_eq!(unreadable.token_not_after(), None);
    assert_eq!(unreadable.effective_not_after(), at(issue.not_after));
    // The attribute of the signing request has a similar identifier.
    let neighbour = extended(vec![("1.3.6.1.4.1.311.90.2.10", generalized_time(NOW))]);
    assert_eq!(neighbour.token_not_after(), None);
}

#[test]
fn rejects_certificate_from_token_not_after_on() {
    let certificate = extended(vec![(TOKEN_NOT_AFTER, generalized_time(NOW))]);
    certificate.check_token_not_after(at(NOW - 1)).unwrap();
    for now in [NOW, NOW + 1] {
        let error = certificate.check_token_not_after(at(now)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::CertificateNotValid);
        assert!(error.to_string().contains("token_not_after"), "{error}");
    }
    extended(vec![])
        .check_token_not_after(at(u64::from(u32::MAX)))
        .unwrap();
}

#[test]
fn only_certificates_like_those_of_imds_are_plausible() {
    let day = 24 * 3600;
    for (issuer, life, plausible) in [
        (MANAGED_IDENTITY_ISSUER, 8 * 3600, true),
        (MANAGED_IDENTITY_ISSUER, 30 * day, true),
        (MANAGED_IDENTITY_ISSUER, 30 * day + 1, false),
        (
            "ManagedIdentitySNIssuer.login.microsoft.com",
            14 * day,
            true,
        ),
        (
            "managedidentitysnissuer.login.microsoft.com.example",
            day,
            false,
        ),
        (
            "x,CN=managedidentitysnissuer.login.microsoft.com",
            day,
            false,
        ),
        ("", day, false),
    ] {
        let issue = Issue {
            issuer: issuer.to_owned(),
            not_before: NOW,
            not_after: NOW + life,
            ..Issue::default()
        };
        assert_eq!(
            issue.certificate().is_plausible(),
            plausible,
            "{issuer} {life}"
        );
    }
    let backwards = Issue {
        not_before: NOW + 1,
        not_after: NOW,
        ..Issue::default()
    };
    assert!(!backwards.certificate().is_plausible());
}

#[test]
fn rejects_key_usages_without_client_authentication() {
    // Extended key usages in DER: clientAuth, serverAuth, anyExtendedKeyUsage.
    let client = [0x06, 8, 0x2b, 6, 1, 5, 5, 7, 3, 2];
    let server = [0x06, 8, 0x2b, 6, 1, 5, 5, 7, 3, 1];
    let any = [0x06, 4, 0x55, 0x1d, 0x25, 0];
    let purposes = |purposes: &[&[u8]]| {
        let contents = purposes.concat();
        let value = [
            &[0x30, u8::try_from(contents.len()).unwrap()],
            &contents[..],
        ]
        .concat();
        (EXTENDED_KEY_USAGE, value)
    };
    let usage = |bits: &[u8]| {
        let value = [&[0x03, u8::try_from(bits.len()).unwrap()], bits].concat();
        (KEY_USAGE, value)
    };
    let digital_signature = usage(&[7, 0x80]);
    for allowed in [
        vec![],
        vec![purposes(&[&client])],
        vec![purposes(&[&server, &client])],
        vec![digital_signature.clone()],
        vec![usage(&[5, 0xa0]), purposes(&[&client])],
    ] {
        extended(allowed).check_usages().unwrap();
    }
    for (rejected, words) in [
        (vec![purposes(&[&server])], "clientAuth"),
        (vec![purposes(&[&any])], "clientAuth"),
        (vec![digital_signature, purposes(&[&server])], "clientAuth"),
        (vec![(EXTENDED_KEY_USAGE, vec![0x30, 9])], "clientAuth"),
        (vec![usage(&[5, 0x20])], "digitalSignature"),
        (
            vec![usage(&[1, 0x06]), purposes(&[&client])],
            "digitalSignature",
        ),
        (vec![usage(&[0])], "digitalSignature"),
        (vec![(KEY_USAGE, vec![0x04, 1, 0x80])], "digitalSignature"),
        (
            vec![purposes(&[&client]), purposes(&[&server])],
            "clientAuth",
        ),
    ] {
        let error = extended(rejected).check_usages().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::CertificateUnusable);
        assert!(error.to_string().contains(words), "{error}");
    }
}
