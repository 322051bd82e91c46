//! The headers by which a client could name another caller, another certificate or another address. A proxy that is asked removes them: by
//! what their names contain, since programs read several spellings as one name.

/// The headers in which proxies and platforms pass on a client certificate, or what they know of it. APIs that trust one of them get
/// none from the client, and none from the proxy.
pub const CERTIFICATE_HEADERS: &[&str] = &[
    // RFC 9440.
    "client-cert",
    "client-cert-chain",
    // Envoy, nginx, HAProxy, Traefik.
    "x-forwarded-client-cert",
    "x-ssl-client-cert",
    "x-ssl-client-der",
    "x-ssl-client-verify",
    "x-ssl-client-dn",
    "x-ssl-client-s-dn",
    "x-ssl-client-i-dn",
    "x-ssl-client-cn",
    "x-ssl-client-serial",
    "x-ssl-client-sha1",
    "x-ssl-client-fingerprint",
    "x-forwarded-tls-client-cert",
    "x-forwarded-tls-client-cert-info",
    // The ingress controller of nginx.
    "ssl-client-cert",
    "ssl-client-verify",
    "ssl-client-subject-dn",
    "ssl-client-issuer-dn",
    // AWS, App Service, others.
    "x-amzn-mtls-clientcert",
    "x-amzn-mtls-clientcert-leaf",
    "x-amzn-mtls-clientcert-serial-number",
    "x-amzn-mtls-clientcert-subject",
    "x-amzn-mtls-clientcert-issuer",
    "x-amzn-mtls-clientcert-validity",
    "x-arr-clientcert",
    "x-client-cert",
];

/// The headers in which proxies pass on the address of a client, and how it connected. APIs get those of their proxy only.
pub const ADDRESS_HEADERS: &[&str] = &[
    "forwarded",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-prefix",
    "x-forwarded-proto",
    "x-forwarded-scheme",
    "x-forwarded-server",
    "x-forwarded-ssl",
    "x-original-forwarded-for",
    "x-real-ip",
    "x-client-ip",
    "x-cluster-client-ip",
    "true-client-ip",
];

/// The parts of the names of [`ADDRESS_HEADERS`], as in [`PARTS`].
static ADDRESS_PARTS: [&str; 3] = ["forwarded", "real-ip", "client-ip"];

/// The names with a caller, and those with a certificate. For a hyphen, a name has any character that is neither letter nor digit, or none.
static PARTS: [&str; 4] = [CALLER, "client-cert", "ssl-client", "amzn-mtls"];
const CALLER: &str = "keybound";

/// A regular expression for a part of a name in lower case, without the names of callers.
pub(super) fn regex_without_callers() -> String {
    let parts = PARTS.iter().filter(|part| **part != CALLER);
    regex(parts.chain(&ADDRESS_PARTS))
}

/// A regular expression for a part of each name.
pub(super) fn regex_of_all() -> String {
    regex(all_parts())
}

fn all_parts() -> impl Iterator<Item = &'static &'static str> {
    PARTS.iter().chain(&ADDRESS_PARTS)
}

fn regex<'a>(parts: impl Iterator<Item = &'a &'a str>) -> String {
    let parts: Vec<String> = parts.map(|part| part.replace('-', "[^a-z0-9]?")).collect();
    parts.join("|")
}

/// Patterns of Lua, as the elements of a table.
pub(super) fn lua_patterns() -> String {
    let patterns = all_parts().map(|part| format!("\"{}\"", part.replace('-', "%W?")));
    patterns.collect::<Vec<_>>().join(", ")
}

/// Parts of names without wildcards in them: with each character that programs read as a hyphen, and with none.
pub(super) fn spellings() -> impl Iterator<Item = String> {
    all_parts().flat_map(|part| {
        let separators = if part.contains('-') {
            &["-", "_", ".", ""][..]
        } else {
            &[""]
        };
        separators
            .iter()
            .map(move |separator| part.replace('-', separator))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::IDENTITY_HEADERS;

    #[test]
    fn each_header_contains_a_part() {
        for header in [IDENTITY_HEADERS, CERTIFICATE_HEADERS, ADDRESS_HEADERS].concat() {
            let mut spellings = spellings();
            assert!(spellings.any(|part| header.contains(&part)), "{header}");
        }
    }
}
