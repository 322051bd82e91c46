//! The check of the subject alternative name, for SChannel: Windows accepts the common name too.
use keybound_core::tls::Host;
use std::net::IpAddr;
use x509_cert::Certificate;
use x509_cert::der::Decode as _;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;

/// Whether a certificate (DER) is valid for the host by its subject alternative name (RFC 9525, section 6.3). A wildcard is the
/// whole leftmost label, followed by at least two labels. A malformed certificate matches no host.
pub(crate) fn is_valid_for(certificate: &[u8], host: &Host) -> bool {
    let Ok(certificate) = Certificate::from_der(certificate) else {
        return false;
    };
    let tbs = certificate.tbs_certificate();
    let Ok(Some((_, SubjectAltName(names)))) = tbs.get_extension::<SubjectAltName>() else {
        return false;
    };
    names.iter().any(|name| match (name, host) {
        (GeneralName::DnsName(name), Host::Name(host)) => matches_name(name.as_str(), host),
        (GeneralName::IpAddress(address), Host::Ip(IpAddr::V4(ip))) => {
            address.as_bytes() == ip.octets()
        }
        (GeneralName::IpAddress(address), Host::Ip(IpAddr::V6(ip))) => {
            address.as_bytes() == ip.octets()
        }
        _ => false,
    })
}

fn matches_name(name: &str, host: &str) -> bool {
    if name.eq_ignore_ascii_case(host) {
        return true;
    }
    let (Some(parent), Some((_, rest))) = (name.strip_prefix("*."), host.split_once('.')) else {
        return false;
    };
    parent.contains('.') && parent.eq_ignore_ascii_case(rest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use keybound_testing::{CertificateBuilder, shared_p256_key};

    /// With a common name, and alternative names.
    fn certificate(common_name: &str, dns: &[&str], ip: &[&str]) -> Vec<u8> {
        let builder = CertificateBuilder::new(shared_p256_key()).subject(common_name);
        let certificate = builder.alternative_names(dns, ip).sign(shared_p256_key());
        certificate.to_der().unwrap()
    }

    #[test]
    fn matches_the_subject_alternative_name_only() {
        for (host, common_name, dns, ip, expected) in [
            ("a.b.example", "x", &["a.b.example"][..], &[][..], true),
            ("a.b.example", "x", &["c", "A.B.Example"], &[], true),
            ("a.b.example", "x", &["*.b.example"], &[], true),
            ("a.b.example", "x", &["*.B.EXAMPLE"], &["127.0.0.1"], true),
            ("localhost", "x", &["localhost"], &[], true),
            ("a.b.example", "a.b.example", &[], &[], false),
            ("a.b.example", "a.b.example", &[], &["127.0.0.1"], false),
            ("a.b.example", "a.b.example", &["c.example"], &[], false),
            ("a.b.example", "x", &["*.example"], &[], false),
            ("a.b.example", "x", &["a*.b.example"], &[], false),
            ("a.b.example", "x", &["*a.b.example"], &[], false),
            ("a.b.example", "x", &["a.*.example"], &[], false),
            ("a.b.example", "x", &["*"], &[], false),
            ("b.example", "x", &["*.b.example"], &[], false),
            ("a.example", "x", &["*.example"], &[], false),
            ("127.0.0.1", "x", &[], &["127.0.0.1"], true),
            ("[::1]", "x", &[], &["127.0.0.1", "::1"], true),
            ("127.0.0.1", "127.0.0.1", &[], &[], false),
            ("127.0.0.1", "x", &["127.0.0.1"], &[], false),
            ("127.0.0.1", "x", &[], &["127.0.0.2", "::1"], false),
        ] {
            let der = certificate(common_name, dns, ip);
            let parsed = Host::parse(host).unwrap();
            assert_eq!(
                is_valid_for(&der, &parsed),
                expected,
                "{host} {common_name} {dns:?} {ip:?}"
            );
        }
        let host = Host::parse("a").unwrap();
        assert!(!is_valid_for(b"", &host) && !is_valid_for(&[0x30, 0x80], &host));
    }
}
