use crate::check::{self, CLIENT, TENANT, assert_no_canary, assert_printable};
use keybound_core::{
    Challenge, Claims, EndpointPolicy, Guid, ManagedIdentity, MtlsEndpoint, Scope, Sha1Thumbprint,
    attestation_endpoint, merge_capabilities, printable,
};
use serde_json::Value;

/// Three lines: the mTLS endpoint, the token endpoint and an entry of the allow-list; the last two are optional. The entry is
/// parsed as the operator's list too.
pub fn endpoint(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let mut lines = text.splitn(3, '\n');
    let (endpoint, token) = (lines.next().unwrap_or(""), lines.next());
    let allowed = lines.next().filter(|entry| !entry.is_empty());
    let tenant = Guid::parse(TENANT).expect("a GUID");
    for loopback in [false, true] {
        let mut policy = EndpointPolicy::new(loopback);
        if let Some(entry) = allowed {
            policy = policy.with_allowed_hosts(vec![entry.to_owned()]);
        }
        if let Some(list) = allowed {
            assert_operator_hosts(endpoint, loopback, list);
        }
        match attestation_endpoint(endpoint, &policy) {
            Err(error) => check::error(&error),
            Ok(url) => {
                assert_endpoint(&url, loopback);
                assert_eq!((url.path(), url.query(), url.fragment()), ("/", None, None));
                let again = attestation_endpoint(url.as_str(), &policy);
                assert_eq!(again.expect("the printed value parses"), url);
                assert_allowed(url.host_str(), allowed);
            }
        }
        match MtlsEndpoint::new(endpoint, token, &tenant, &policy) {
            Err(error) => check::error(&error),
            Ok(parsed) => {
                assert_endpoint(parsed.origin(), loopback);
                assert_endpoint(parsed.token_url(), loopback);
                assert_eq!(parsed.token_url().origin(), parsed.origin().origin());
                assert_allowed(parsed.token_url().host_str(), allowed);
            }
        }
    }
}

/// Checks a URL that credentials may be sent to.
pub fn assert_endpoint<U: std::fmt::Display>(url: &U, loopback: bool) {
    let url = url.to_string();
    let without_scheme = url.strip_prefix("https://").expect("https only");
    assert!(url.bytes().all(|byte| byte.is_ascii_graphic()), "{url}");
    let authority = without_scheme
        .split(['/', '?'])
        .next()
        .expect("an authority");
    assert!(
        !authority.is_empty() && !authority.contains(['@', '\\', '%']),
        "{url}"
    );
    assert!(!url.contains('#'), "{url}");
    if !loopback {
        assert!(
            authority.contains('.') && !authority.contains([':', '[']),
            "{url}"
        );
        assert!(authority.parse::<std::net::IpAddr>().is_err(), "{url}");
        assert!(!authority.ends_with(".localhost"), "{url}");
    }
}

fn assert_allowed(host: Option<&str>, entry: Option<&str>) {
    let (host, Some(entry)) = (host.expect("a host"), entry) else {
        return;
    };
    let entry = entry.to_ascii_lowercase();
    match entry.strip_prefix('*') {
        Some(suffix) => assert!(
            host.ends_with(suffix) && host.len() > suffix.len(),
            "{host} {entry}"
        ),
        None => assert_eq!(host, entry),
    }
}

/// A resource.
pub fn scope(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    match Scope::for_resource(text) {
        Err(error) => check::error(&error),
        Ok(scope) => {
            assert!(scope.as_str().bytes().all(|byte| byte.is_ascii_graphic()));
            assert_eq!(scope.as_str().matches("/.default").count(), 1 + inner(text));
            assert!(scope.as_str().ends_with("/.default"));
            for form in [scope.as_str(), scope.resource()] {
                assert_eq!(
                    Scope::for_resource(form).expect("the printed value parses"),
                    scope
                );
            }
        }
    }
}

/// The number of times the suffix occurs before the end of the resource.
fn inner(resource: &str) -> usize {
    let mut bare = resource.trim_end_matches('/');
    while let Some(shorter) = bare.strip_suffix("/.default") {
        bare = shorter.trim_end_matches('/');
    }
    bare.matches("/.default").count()
}

/// A claims request.
pub fn claims(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let claims = match Claims::parse(text) {
        Ok(claims) => claims,
        Err(error) => return check::error(&error),
    };
    assert_no_canary(&format!("{claims:?}"));
    let printed = merge_capabilities(Some(&claims), &[]).expect("no capability, no conflict");
    if let Some(printed) = &printed {
        assert!(!printed.to_ascii_lowercase().contains("\"xms_cc\":"));
        if let Ok(again) = Claims::parse(printed) {
            let twice = merge_capabilities(Some(&again), &[]);
            assert_eq!(twice.expect("merged before").as_ref(), Some(printed));
        }
    }
    match merge_capabilities(Some(&claims), &["cp1".into()]) {
        Err(error) => check::error(&error),
        Ok(merged) => assert_merged(&merged.expect("claims with a capability")),
    }
}

/// Checks that an allowed host is in the operator's list.
fn assert_operator_hosts(endpoint: &str, loopback: bool, list: &str) {
    let policy = EndpointPolicy::new(loopback).with_operator_hosts(list);
    match attestation_endpoint(endpoint, &policy) {
        Err(error) => check::error(&error),
        Ok(url) => {
            let host = url.host_str().expect("an endpoint has a host");
            let mut entries = list
                .split([',', ';'])
                .map(|entry| entry.trim().to_ascii_lowercase());
            let named = entries.any(|entry| match entry.strip_prefix("*.") {
                Some(domain) => host == domain || host.ends_with(&format!(".{domain}")),
                None => host == entry,
            });
            assert!(named || list.trim().is_empty(), "{host} by {list:?}");
        }
    }
}

fn assert_merged(merged: &str) {
    let value: Value = serde_json::from_str(merged).expect("JSON");
    let values = value["access_token"]["xms_cc"]["values"].as_array();
    let values = values.expect("an array");
    assert!(values.iter().any(|value| value == "cp1"));
    if let Ok(again) = Claims::parse(merged) {
        let twice = merge_capabilities(Some(&again), &["cp1".into()]);
        assert_eq!(twice.expect("merged before").as_deref(), Some(merged));
    }
}

/// A `WWW-Authenticate` header.
pub fn challenge(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let challenges = Challenge::parse_all(data);
    assert!(challenges.len() <= 16);
    for challenge in challenges {
        let scheme = challenge.scheme();
        assert!(!scheme.is_empty() && scheme.bytes().all(|byte| byte.is_ascii_graphic()));
        assert!(text.contains(scheme) && !scheme.contains(['"', ',', '=']));
        assert_no_canary(&format!("{challenge:?}"));
        for name in ["realm", "error", "claims", "ERROR_DESCRIPTION"] {
            let (upper, lower) = (name.to_ascii_uppercase(), name.to_ascii_lowercase());
            assert_eq!(challenge.parameter(&upper), challenge.parameter(&lower));
            let length = challenge.parameter(name).map_or(0, str::len);
            assert!(length < text.len());
        }
        let Some(found) = challenge.claims() else {
            continue;
        };
        if let Some(error) = challenge.parameter("error") {
            assert!(error.eq_ignore_ascii_case("insufficient_claims"));
        }
        let printed = merge_capabilities(Some(&found), &[]).expect("no capability, no conflict");
        if let Some(printed) = printed {
            claims(printed.as_bytes());
        }
    }
}

/// A GUID.
pub fn guid(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let Some(guid) = Guid::parse(text) else {
        return;
    };
    assert_eq!(
        (guid.as_str(), guid.to_string().as_str(), text.len()),
        (text, text, 36)
    );
    assert!(
        text.bytes()
            .all(|byte| byte.is_ascii_hexdigit() || byte == b'-')
    );
    for other in [text.to_ascii_uppercase(), text.to_ascii_lowercase()] {
        assert!(guid.matches(&other));
        assert_eq!(Guid::parse(&other), Some(guid.clone()));
    }
    assert_eq!(guid.matches(CLIENT), text.eq_ignore_ascii_case(CLIENT));
}

/// The SHA-1 thumbprint of a pinned certificate.
pub fn thumbprint(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let is_thumbprint = text.len() == 40 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let parsed = Sha1Thumbprint::parse(text);
    assert_eq!(parsed.is_some(), is_thumbprint);
    if let Some(parsed) = parsed {
        assert_eq!(parsed.to_string(), text.to_ascii_uppercase());
        assert_eq!(
            Sha1Thumbprint::parse(&text.to_ascii_lowercase()),
            Some(parsed)
        );
    }
}

/// The id of an identity, parsed as each kind of id.
pub fn identity(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    for parse in [
        ManagedIdentity::client_id,
        ManagedIdentity::object_id,
        ManagedIdentity::resource_id,
    ] {
        match parse(text) {
            Err(error) => check::error(&error),
            Ok(identity) => {
                let (name, id) = identity.v2_selector().expect("user-assigned");
                assert!(["client_id", "object_id", "mi_res_id"].contains(&name));
                assert!(id.eq_ignore_ascii_case(text) && id.len() <= 2048);
                assert_printable(id);
                assert_eq!(parse(id).expect("the printed value parses"), identity);
            }
        }
    }
}

/// Text from a service.
pub fn redact(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let clean = keybound_core::redact(&text);
    assert_printable(&clean);
    assert!(clean.chars().count() <= 1025);
    let word = |c: char| c.is_ascii_alphanumeric() || "-_.+/=~".contains(c);
    for part in clean.split(|c| !word(c)) {
        assert!(part.len() <= 128, "{part}");
        assert!(!part.contains("eyJ") || part.len() <= 8, "{part}");
    }
    assert!(!clean.contains("-----BEGIN"), "{clean}");
    assert_eq!(keybound_core::redact(&clean), clean);
    let shown = printable(&text, 100);
    assert_printable(&shown);
    assert!(shown.chars().count() <= 101);
    assert_eq!(printable(&shown, 101), shown);
}
