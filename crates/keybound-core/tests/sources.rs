//! Managed identity sources: every case of `tests/sources/*.json`.
#![expect(clippy::unwrap_used, reason = "a panic fails the test")]
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use keybound_core::source::{
    ArcChallenge, ArcPlatform, MAX_ARC_KEY, SourceEndpoint, SourceMethod, SourceQuery, SourceToken,
    SourceVariables, arc_secret, source_error_kind,
};
use keybound_core::{
    Error, ErrorKind, MAX_BODY, MAX_JWT, ManagedIdentity, ManagedIdentitySource, SecretString,
    ServiceError, Stage,
};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use url::Url;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Detection {
    why: String,
    variables: BTreeMap<String, String>,
    #[serde(default)]
    arc_agent: bool,
    source: String,
}

#[test]
fn detects_source_in_documented_order() {
    for case in cases::<Detection>(include_str!("sources/detection.json")) {
        let (found, reason) = variables(&case.variables, case.arc_agent).detect_with_reason();
        assert_eq!(found, source(&case.source), "{}", case.why);
        let is_set = |name: &&str| {
            case.variables
                .get(*name)
                .is_some_and(|value| !value.is_empty())
        };
        let names = reason.variables();
        assert!(names.iter().all(is_set), "{}: {reason}", case.why);
        let expected = match (names.is_empty(), found) {
            (false, _) => "variables",
            (true, ManagedIdentitySource::AzureArc) => "azure_arc_agent",
            (true, _) => "default",
        };
        assert_eq!(reason.as_str(), expected, "{}", case.why);
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RequestCase {
    why: String,
    variables: BTreeMap<String, String>,
    source: String,
    #[serde(default)]
    imds: Option<String>,
    #[serde(default)]
    identity: Option<Map<String, Value>>,
    #[serde(default)]
    resource: Option<String>,
    #[serde(default)]
    capabilities: Vec<String>,
    #[serde(default)]
    revoked: Option<String>,
    #[serde(default)]
    request: Option<ExpectedRequest>,
    #[serde(default)]
    error: Option<ExpectedError>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ExpectedRequest {
    method: String,
    url: String,
    headers: BTreeMap<String, String>,
    #[serde(default)]
    body: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ExpectedError {
    kind: String,
    #[serde(default)]
    message: Option<String>,
    /// Code and description of the service's error.
    #[serde(default)]
    service: Option<(Option<String>, Option<String>)>,
}

#[test]
fn builds_request_of_each_source() {
    for case in cases::<RequestCase>(include_str!("sources/requests.json")) {
        let why = &case.why;
        let imds = case.imds.as_deref().unwrap_or("http://169.254.169.254");
        let variables = variables(&case.variables, false);
        let identity = identity(case.identity.as_ref());
        let revoked = case.revoked.clone().map(SecretString::new);
        let query = SourceQuery {
            resource: case
                .resource
                .as_deref()
                .unwrap_or("https://vault.azure.net"),
            identity: &identity,
            capabilities: &case.capabilities,
            revoked: revoked.as_ref(),
        };
        let endpoint =
            SourceEndpoint::new(source(&case.source), &variables, &Url::parse(imds).unwrap());
        assert_no_secret(&format!("{variables:?} {endpoint:?}"), why);
        let request = endpoint.and_then(|endpoint| endpoint.request(&query));
        assert_no_secret(&format!("{request:?}"), why);
        match (request, &case.request, &case.error) {
            (Ok(request), Some(expected), None) => {
                let method = match request.method {
                    SourceMethod::Get => "GET",
                    SourceMethod::Post => "POST",
                };
                let headers = request.headers.iter();
                let headers =
                    headers.map(|(name, value)| ((*name).to_owned(), value.expose().to_owned()));
                assert_eq!(method, expected.method, "{why}");
                assert_eq!(request.url.as_str(), expected.url, "{why}");
                assert_eq!(
                    headers.collect::<BTreeMap<_, _>>(),
                    expected.headers,
                    "{why}"
                );
                assert_eq!(request.body, expected.body, "{why}");
            }
            (Err(error), None, Some(expected)) => {
                assert_error(&error, expected, why);
                assert_eq!(error.stage(), Stage::Request, "{why}");
            }
            (result, ..) => panic!("{why}: {result:?}"),
        }
    }
}

#[test]
fn pins_the_server_of_service_fabric_only() {
    let mut all = BTreeMap::new();
    for name in SourceVariables::NAMES {
        all.insert(name.to_owned(), "swordfish".to_owned());
    }
    let thumbprint = "A9993e364706816aba3e25717850c26c9cd0d89d";
    all.insert(
        "IDENTITY_SERVER_THUMBPRINT".to_owned(),
        thumbprint.to_owned(),
    );
    all.insert("MSI_ENDPOINT".to_owned(), "http://h/".to_owned());
    all.insert(
        "DEFAULT_IDENTITY_CLIENT_ID".to_owned(),
        "1a1a1111-1111-1111-1111-11111111111b".to_owned(),
    );
    for source in ManagedIdentitySource::ALL {
        let fabric = source == ManagedIdentitySource::ServiceFabric;
        let url = if fabric {
            "https://127.0.0.1/"
        } else {
            "http://127.0.0.1/"
        };
        all.insert("IDENTITY_ENDPOINT".to_owned(), url.to_owned());
        let imds = Url::parse("http://169.254.169.254").unwrap();
        let endpoint = SourceEndpoint::new(source, &variables(&all, false), &imds).unwrap();
        assert_eq!(endpoint.source(), source);
        assert_eq!(endpoint.is_https(), fabric, "{source}");
        let pinned = endpoint.server_thumbprint();
        assert_eq!(pinned.is_some(), fabric, "{source}");
        let shown = pinned.map(|pinned| pinned.to_string());
        assert!(shown.is_none_or(|shown| shown == thumbprint.to_uppercase()));
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ResponseCase {
    why: String,
    #[serde(rename = "from", default)]
    _from: Option<String>,
    #[serde(default)]
    body: Option<Value>,
    #[serde(default)]
    text: Option<String>,
    #[serde(default)]
    source: Option<String>,
    #[serde(default)]
    identity: Option<Map<String, Value>>,
    /// The claims of the token `{jwt}`.
    #[serde(default)]
    claims: Option<Value>,
    /// The clock, if not [`now`], in seconds.
    #[serde(default)]
    now: Option<u64>,
    #[serde(default)]
    life: Option<u64>,
    #[serde(default)]
    refresh_in: Option<u64>,
    #[serde(default)]
    error: Option<ExpectedError>,
}

#[test]
fn reads_responses_as_sources_send_them() {
    for case in cases::<ResponseCase>(include_str!("sources/responses.json")) {
        let why = &case.why;
        let body = case
            .text
            .clone()
            .unwrap_or_else(|| case.body.as_ref().unwrap().to_string());
        let jwt = jwt(case.claims.as_ref().unwrap_or(&Value::Null));
        let body = body
            .replace("{jwt}", &jwt)
            .replace("{long}", &"s".repeat(MAX_JWT + 1));
        let source = source(case.source.as_deref().unwrap_or("imds"));
        let identity = identity(case.identity.as_ref());
        let clock = case
            .now
            .map_or_else(now, |seconds| UNIX_EPOCH + Duration::from_secs(seconds));
        let parsed = SourceToken::parse(body.as_bytes(), source, &identity, clock);
        assert_no_secret(&format!("{parsed:?}"), why);
        match (parsed, case.life, &case.error) {
            (Ok(token), Some(life), None) => {
                let secret = token.access_token.expose();
                assert!(secret == "swordfish" || secret == jwt, "{why}");
                assert_eq!(token.life.as_secs(), life, "{why}");
                assert_eq!(
                    token.refresh_in.map(|time| time.as_secs()),
                    case.refresh_in,
                    "{why}"
                );
            }
            (Err(error), None, Some(expected)) => {
                assert_error(&error, expected, why);
                assert_eq!(error.stage(), Stage::Source, "{why}");
            }
            (parsed, ..) => panic!("{why}: {parsed:?}"),
        }
    }
}

/// Every source that names an identity, and Azure Arc if it names none.
#[test]
fn identity_confirmed() {
    let client = ManagedIdentity::client_id("1a1a1111-1111-1111-1111-11111111111b").unwrap();
    let body = |id: &str| format!(r#"{{"access_token":"t","expires_in":60,"client_id":"{id}"}}"#);
    let own = body("1A1A1111-1111-1111-1111-11111111111B");
    let other = body("9f9f9999-9999-9999-9999-99999999999f");
    for source in ManagedIdentitySource::ALL {
        let parse = |body: &str| SourceToken::parse(body.as_bytes(), source, &client, now());
        assert!(parse(&own).is_ok(), "{source}");
        let error = parse(&other).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::IdentityMismatch, "{source}");
        let confirmed = parse(&body("")).is_ok();
        assert_eq!(
            confirmed,
            source != ManagedIdentitySource::AzureArc,
            "{source}"
        );
    }
}

/// Machine Learning requires an id for the system-assigned identity too: the response must name it.
#[test]
fn default_identity_of_machine_learning_is_confirmed() {
    let own = "3c3c3333-3333-3333-3333-33333333333d";
    let named = |name: &str| {
        Some(match name {
            "MSI_ENDPOINT" => "http://10.0.0.4/t".to_owned(),
            "MSI_SECRET" => "swordfish".to_owned(),
            "DEFAULT_IDENTITY_CLIENT_ID" => own.to_uppercase(),
            _ => return None,
        })
    };
    let imds = Url::parse("http://169.254.169.254").unwrap();
    let variables = SourceVariables::new(named, false);
    let learning = ManagedIdentitySource::MachineLearning;
    let endpoint = SourceEndpoint::new(learning, &variables, &imds).unwrap();
    let requested = endpoint.requested_identity(&ManagedIdentity::system_assigned());
    for (id, accepted) in [(own, true), ("9f9f9999-9999-9999-9999-99999999999f", false)] {
        let body = format!(r#"{{"access_token":"t","expires_in":60,"client_id":"{id}"}}"#);
        let parsed = SourceToken::parse(body.as_bytes(), learning, &requested, now());
        let kind = parsed.map(|_| ()).map_err(|error| error.kind());
        let expected = if accepted {
            Ok(())
        } else {
            Err(ErrorKind::IdentityMismatch)
        };
        assert_eq!(kind, expected, "{id}");
    }
    let object = ManagedIdentity::object_id(own).unwrap();
    assert_eq!(endpoint.requested_identity(&object), object);
}

#[test]
fn bounded_input() {
    let body = |length: usize| {
        let json = r#"{"access_token":"swordfish","expires_in":60}"#;
        format!("{json}{}", " ".repeat(length - json.len()))
    };
    let parse = |body: String| {
        let identity = ManagedIdentity::system_assigned();
        SourceToken::parse(
            body.as_bytes(),
            ManagedIdentitySource::Imds,
            &identity,
            now(),
        )
    };
    assert!(parse(body(MAX_BODY)).is_ok());
    let error = parse(body(MAX_BODY + 1)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ResponseTooLarge);
    assert!(arc_secret(vec![b'x'; MAX_ARC_KEY]).is_ok());
    assert!(arc_secret(vec![b'x'; MAX_ARC_KEY + 1]).is_err());
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ErrorCase {
    why: String,
    #[serde(rename = "from", default)]
    _from: Option<String>,
    source: String,
    #[serde(default)]
    identity: Option<Map<String, Value>>,
    status: u16,
    #[serde(default)]
    body: Option<Value>,
    #[serde(default)]
    text: Option<String>,
    kind: String,
    error: Option<String>,
    description: Option<String>,
}

#[test]
fn reads_errors_as_sources_send_them() {
    for case in cases::<ErrorCase>(include_str!("sources/errors.json")) {
        let why = &case.why;
        let body = case
            .text
            .clone()
            .unwrap_or_else(|| case.body.as_ref().unwrap().to_string());
        let service = ServiceError::from_response(body.as_bytes());
        assert_no_secret(&format!("{service:?}"), why);
        let identity = identity(case.identity.as_ref());
        let kind = source_error_kind(
            source(&case.source),
            &identity,
            case.status,
            service.as_ref(),
        );
        assert_eq!(kind.code(), case.kind, "{why}");
        let service = service.unwrap_or_default();
        assert_eq!(service.error, case.error, "{why}");
        assert_eq!(service.description, case.description, "{why}");
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ChallengeCase {
    why: String,
    platform: String,
    values: Vec<String>,
    file_name: Option<String>,
}

#[test]
fn accepts_only_keys_in_the_directory_of_azure_arc() {
    for case in cases::<ChallengeCase>(include_str!("sources/arc_challenges.json")) {
        let (platform, directory) = match &*case.platform {
            "linux" => (ArcPlatform::Linux, "/var/opt/azcmagent/tokens"),
            "windows" => (
                ArcPlatform::Windows,
                r"C:\ProgramData\AzureConnectedMachineAgent\Tokens",
            ),
            other => panic!("{other}"),
        };
        let values = case.values.iter().map(String::as_bytes);
        let parsed = ArcChallenge::parse(values, directory, platform);
        let name = parsed.as_ref().ok().map(ArcChallenge::file_name);
        assert_eq!(
            name,
            case.file_name.as_deref(),
            "{} {:?}",
            case.why,
            case.values
        );
        if let Err(error) = parsed {
            let found = (error.kind(), error.stage());
            assert_eq!(found, (ErrorKind::ArcChallengeFailed, Stage::Source));
        }
    }
}

#[test]
fn reads_key_of_azure_arc() {
    for (content, secret) in [
        (&b"c3dvcmQ="[..], Some("c3dvcmQ=")),
        (b"c3dvcmQ=\r\n", Some("c3dvcmQ=")),
        (b" c3dvcmQ= ", Some("c3dvcmQ=")),
        (b"", None),
        (b" \n", None),
        (b"a b", None),
        (b"a\nX-Header: b", None),
        (b"a\0b", None),
        (b"\xff\xfea", None),
        (b"\xc3\xa4", None),
    ] {
        let read = arc_secret(content.to_vec()).ok();
        assert_eq!(
            read.as_ref().map(SecretString::expose),
            secret,
            "{content:?}"
        );
    }
}

fn assert_error(error: &Error, expected: &ExpectedError, why: &str) {
    assert_eq!(error.kind().code(), expected.kind, "{why}: {error:?}");
    let message = error.to_string();
    if let Some(part) = &expected.message {
        assert!(message.contains(part), "{why}: {message}");
    }
    if let Some(service) = &expected.service {
        let found = error.service().expect(why);
        assert_eq!(
            (&found.error, &found.description),
            (&service.0, &service.1),
            "{why}"
        );
    }
}

fn assert_no_secret(text: &str, why: &str) {
    assert!(!text.contains("swordfish"), "{why}: {text}");
}

fn cases<T: DeserializeOwned>(json: &str) -> Vec<T> {
    let cases: Vec<T> = serde_json::from_str(json).unwrap();
    assert!(!cases.is_empty());
    cases
}

fn variables(values: &BTreeMap<String, String>, arc_agent: bool) -> SourceVariables {
    SourceVariables::new(|name| values.get(name).cloned(), arc_agent)
}

fn source(name: &str) -> ManagedIdentitySource {
    let mut all = ManagedIdentitySource::ALL.into_iter();
    all.find(|source| source.as_str() == name).expect(name)
}

fn identity(selector: Option<&Map<String, Value>>) -> ManagedIdentity {
    let Some((kind, id)) = selector.and_then(|selector| selector.iter().next()) else {
        return ManagedIdentity::system_assigned();
    };
    let id = id.as_str().unwrap();
    match &**kind {
        "client_id" => ManagedIdentity::client_id(id),
        "object_id" => ManagedIdentity::object_id(id),
        "resource_id" => ManagedIdentity::resource_id(id),
        other => panic!("{other}"),
    }
    .unwrap()
}

fn jwt(claims: &Value) -> String {
    format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(claims.to_string()))
}

fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_700_000_000)
}
