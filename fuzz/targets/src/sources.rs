use crate::check::{self, CLIENT, assert_no_canary};
use keybound_core::source::{
    ArcChallenge, ArcPlatform, MAX_ARC_KEY, SourceEndpoint, SourceQuery, SourceToken,
    SourceVariables, arc_secret, source_error_kind,
};
use keybound_core::{
    IdentityKind, MAX_JWT, ManagedIdentity, ManagedIdentitySource, SecretString, ServiceError,
};
use serde_json::Value;
use std::collections::HashMap;
use std::time::{Duration, UNIX_EPOCH};
use url::{Host, Url};

/// A response of a managed identity source.
pub fn source_response(data: &[u8]) {
    let service = ServiceError::from_response(data);
    for source in ManagedIdentitySource::ALL {
        for identity in identities() {
            for status in [200, 302, 400, 404, 503] {
                source_error_kind(source, &identity, status, service.as_ref());
            }
            let now = UNIX_EPOCH + Duration::from_secs(1_700_000_000);
            match SourceToken::parse(data, source, &identity, now) {
                Err(error) => check::error(&error),
                Ok(token) => {
                    assert_no_canary(&format!("{token:?}"));
                    let text = token.access_token.expose();
                    assert!((1..=MAX_JWT).contains(&text.len()));
                    assert!(text.bytes().all(|byte| byte.is_ascii_graphic()));
                    assert!(!token.life.is_zero() && token.life.as_secs() <= 86_400);
                    assert!(token.refresh_in.is_none_or(|time| time <= token.life));
                    assert_echo(data, source, &identity);
                }
            }
        }
    }
}

/// Ids in the response are those of the identity; Azure Arc names it.
fn assert_echo(data: &[u8], source: ManagedIdentitySource, identity: &ManagedIdentity) {
    let names: &[&str] = match identity.kind() {
        IdentityKind::SystemAssigned => return,
        IdentityKind::ClientId => &["client_id"],
        IdentityKind::ObjectId => &["object_id"],
        IdentityKind::ResourceId => &["msi_res_id", "mi_res_id"],
    };
    let data = data.strip_prefix(b"\xef\xbb\xbf").unwrap_or(data);
    // What serde_json's own value type does not represent (1e400) is not checked here.
    let Ok(body) = serde_json::from_slice::<Value>(data) else {
        return;
    };
    let ids = names.iter().filter_map(|name| body.get(name)?.as_str());
    let ids: Vec<_> = ids.filter(|id| !id.is_empty()).collect();
    let asked = identity.id().expect("a user-assigned identity");
    assert!(ids.iter().all(|id| id.eq_ignore_ascii_case(asked)));
    assert!(source != ManagedIdentitySource::AzureArc || !ids.is_empty());
}

/// The values of `WWW-Authenticate` from Azure Arc, one in each line; also the content of a key file.
pub fn arc_challenge(data: &[u8]) {
    for (platform, directory, separator) in [
        (ArcPlatform::Linux, "/var/opt/azcmagent/tokens", '/'),
        (
            ArcPlatform::Windows,
            r"C:\ProgramData\AzureConnectedMachineAgent\Tokens",
            '\\',
        ),
    ] {
        let values = data.split(|byte| *byte == b'\n');
        match ArcChallenge::parse(values, directory, platform) {
            Err(error) => check::error(&error),
            Ok(challenge) => {
                let name = challenge.file_name();
                let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
                assert!(name.to_ascii_lowercase().ends_with(".key") && name.bytes().all(allowed));
                assert!(!name.starts_with('.') && !name.contains(".."));
                let path = format!("{directory}{separator}{name}").to_ascii_lowercase();
                let text = String::from_utf8_lossy(data).to_ascii_lowercase();
                // A quoted string may contain escapes.
                assert!(text.contains(&path) || text.contains('"'));
            }
        }
    }
    match arc_secret(data.to_vec()) {
        Err(error) => check::error(&error),
        Ok(secret) => {
            assert!((1..=MAX_ARC_KEY).contains(&secret.expose().len()));
            assert!(secret.expose().bytes().all(|byte| byte.is_ascii_graphic()));
        }
    }
}

/// Variables as lines `NAME=VALUE`.
pub fn source_environment(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let values: HashMap<_, _> = text
        .split('\n')
        .filter_map(|line| line.split_once('='))
        .collect();
    let lookup = |name: &str| values.get(name).map(|value| (*value).to_owned());
    let variables = SourceVariables::new(lookup, false);
    assert_no_canary(&format!("{variables:?}"));
    let detected = variables.detect();
    assert!(detected == ManagedIdentitySource::Imds || !values.is_empty());
    let imds = Url::parse("http://169.254.169.254").expect("a URL");
    for source in ManagedIdentitySource::ALL {
        match SourceEndpoint::new(source, &variables, &imds) {
            Err(error) => check::error(&error),
            Ok(endpoint) => assert_requests(&endpoint),
        }
    }
}

fn assert_requests(endpoint: &SourceEndpoint) {
    let source = endpoint.source();
    let fabric = source == ManagedIdentitySource::ServiceFabric;
    assert_eq!(endpoint.server_thumbprint().is_some(), fabric);
    assert_no_canary(&format!("{endpoint:?}"));
    let revoked = SecretString::new("swordfish".to_owned());
    for identity in identities() {
        let query = SourceQuery {
            resource: "https://vault.azure.net",
            identity: &identity,
            capabilities: &["cp1".to_owned()],
            revoked: Some(&revoked),
        };
        let request = match endpoint.request(&query) {
            Err(error) => {
                check::error(&error);
                continue;
            }
            Ok(request) => request,
        };
        assert_no_canary(&format!("{request:?}"));
        let schemes: &[&str] = match source {
            ManagedIdentitySource::ServiceFabric => &["https"],
            ManagedIdentitySource::Imds | ManagedIdentitySource::AzureArc => &["http"],
            _ => &["http", "https"],
        };
        assert!(schemes.contains(&request.url.scheme()), "{}", request.url);
        assert!(request.url.username().is_empty() && request.url.fragment().is_none());
        if source == ManagedIdentitySource::AzureArc {
            assert!(is_loopback(&request.url), "{}", request.url);
        }
        for (name, value) in &request.headers {
            let visible = value.expose().bytes().all(|byte| byte.is_ascii_graphic());
            assert!(visible, "{name}");
        }
    }
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => {
            address.is_loopback() || address.to_ipv4_mapped().is_some_and(|ip| ip.is_loopback())
        }
        Some(Host::Domain(_)) | None => false,
    }
}

fn identities() -> [ManagedIdentity; 4] {
    let resource = "/subscriptions/s/resourceGroups/g/providers/Microsoft.ManagedIdentity/userAssignedIdentities/n";
    [
        ManagedIdentity::system_assigned(),
        ManagedIdentity::client_id(CLIENT).expect("a GUID"),
        ManagedIdentity::object_id(CLIENT).expect("a GUID"),
        ManagedIdentity::resource_id(resource).expect("a path"),
    ]
}
