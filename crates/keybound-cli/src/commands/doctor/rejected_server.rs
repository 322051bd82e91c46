//! Why the certificate of the token endpoint is not accepted, in words.
use super::token_endpoint::transport_error;
use crate::diagnosis::Finding;
use crate::report;
use crate::text::rfc3339;
use keybound::tls::TransportError;
use keybound::{Certificate, Error};
use keybound_core::printable;
use openssl::x509::X509;
use std::net::IpAddr;

/// Judges the rejection, by its reason and the certificate that is its reason.
pub(super) fn judge(error: Error) -> Finding {
    let reason = report::chain(&error);
    let rejected = transport_error(&error).and_then(TransportError::rejected_certificate);
    let Some((detail, next_step)) = rejected.and_then(|rejected| explain(&reason, rejected)) else {
        let detail = "the certificate of the token endpoint is not accepted";
        return Finding::failed(detail, error).with_next_step(UNKNOWN_ISSUER);
    };
    Finding::failed(detail, error)
        .with_next_step(next_step)
        .without_error()
}

/// The reason in words and the next step, if it is a usual reason of OpenSSL or Windows.
fn explain(reason: &str, certificate: &Certificate) -> Option<(String, &'static str)> {
    let is = |words: &[&str]| words.iter().any(|word| reason.contains(word));
    let named = || named(certificate);
    Some(if is(&["hostname mismatch", "IP address mismatch"]) {
        let detail = format!(
            "the token endpoint presents a certificate for {}, not for its own name; {}",
            names(certificate),
            named()
        );
        (detail, OTHER_NAME)
    } else if is(&["not yet valid"]) && !is(&["expired"]) {
        let start = rfc3339(certificate.not_before());
        let detail = format!(
            "a certificate of the token endpoint is valid from {start}, later than this host's clock; {}",
            named()
        );
        (detail, NOT_VALID_NOW)
    } else if is(&["expired"]) {
        let end = rfc3339(certificate.not_after());
        let detail = format!(
            "a certificate of the token endpoint expired at {end}, by this host's clock; {}",
            named()
        );
        (detail, NOT_VALID_NOW)
    } else if is(&["self-signed certificate", "self signed certificate"]) {
        let subject = certificate.subject();
        let detail = format!(
            "the token endpoint presents a self-signed certificate that is not trusted here: {subject}"
        );
        (detail, UNKNOWN_ISSUER)
    } else if is(&["issuer", "authority is not trusted", "first certificate"]) {
        let detail = format!(
            "the token endpoint presents a certificate of an issuer that is not trusted here: {}, issued by {}",
            certificate.subject(),
            certificate.issuer()
        );
        (detail, UNKNOWN_ISSUER)
    } else {
        return None;
    })
}

fn named(certificate: &Certificate) -> String {
    format!(
        "it is {}, issued by {}",
        certificate.subject(),
        certificate.issuer()
    )
}

/// The first names of hosts in the certificate, and the number of the other ones.
fn names(certificate: &Certificate) -> String {
    let parsed = X509::from_der(certificate.der()).ok();
    let names = parsed.and_then(|parsed| parsed.subject_alt_names());
    let names = names.iter().flatten().filter_map(|name| {
        let address = || {
            let bytes = name.ipaddress()?;
            let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
            let address = v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from));
            address.ok().map(|address| address.to_string())
        };
        let name = name.dnsname().map(str::to_owned).or_else(address)?;
        Some(printable(&name, MAX_NAME))
    });
    let names: Vec<_> = names.collect();
    match names.split_at_checked(SHOWN_NAMES) {
        Some((shown, more)) if !more.is_empty() => {
            format!("{} and {} more", shown.join(", "), more.len())
        }
        _ if names.is_empty() => "no host".to_owned(),
        _ => names.join(", "),
    }
}

const NOT_VALID_NOW: &str = "check the clock of this host first: the certificate may be valid at the right time; then check which server or proxy presents it";
const OTHER_NAME: &str = "another server or a proxy responds at this address: check --token-endpoint, the DNS servers, the hosts file and the proxy";
const UNKNOWN_ISSUER: &str = "exempt the token endpoint from a proxy that inspects TLS: no client certificate passes it; for a public CA, install the CA certificates of the system (ca-certificates), and unset SSL_CERT_FILE and SSL_CERT_DIR; --ca-file is for a private CA of your own";
const SHOWN_NAMES: usize = 2;
/// A DNS name has at most 253 characters; most have far fewer.
const MAX_NAME: usize = 64;
