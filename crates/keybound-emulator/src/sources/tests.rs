//! The sources of bearer tokens, without sockets: cases as data.
mod arc;

use crate::config::{Config, Identity, IdentityType, OsType};
use crate::reply::Reply;
use crate::service::Service;
use crate::state::State;
use crate::testing::{JsonResponse, handle, send, state};
use bytes::Bytes;
use http::Request;
use keybound_core::UnverifiedJwt;
use serde_json::{Value, json};
use std::sync::Arc;

const SYSTEM: &str = "5a5a5a5a-0000-4000-8000-000000000001";
const USER: &str = "5a5a5a5a-0000-4000-8000-000000000002";
const USER_OBJECT: &str = "5a5a5a5a-0000-4000-8000-0000000000f2";
const USER_RESOURCE: &str = "%2FSUBSCRIPTIONS%2F5a5a5a5a-0000-4000-8000-0000000000aa%2FresourceGroups%2Fkeybound%2Fproviders%2FMicrosoft.ManagedIdentity%2FuserAssignedIdentities%2Fdemo";
const VAULT: &str = "https%3A%2F%2Fvault.azure.net%2F";

/// One request; a part that begins with `+` is added to the query or the form of a valid one, `-name` removes a parameter or a
/// header, `name: value` sets a header, `METHOD /path` replaces both.
struct Template {
    service: Service,
    method: String,
    path: String,
    headers: Vec<(String, String)>,
    parameters: Vec<String>,
}

impl Template {
    /// A valid request to a source, for the system-assigned identity.
    fn valid(state: &State, source: &str) -> Self {
        let secrets = &state.source_secrets;
        let (service, path, headers, parameters) = match source {
            "imds" => (
                Service::Imds,
                "/metadata/identity/oauth2/token",
                vec![("metadata", "true")],
                vec!["api-version=2018-02-01"],
            ),
            "app-service" => (
                Service::AppService,
                "/msi/token",
                vec![("x-identity-header", secrets.app_service.expose())],
                vec!["api-version=2019-08-01"],
            ),
            "app-service-2017" => (
                Service::AppService,
                "/msi/token",
                vec![("secret", secrets.app_service.expose())],
                vec!["api-version=2017-09-01"],
            ),
            "service-fabric" => (
                Service::ServiceFabric,
                "/metadata/identity/oauth2/token",
                vec![("secret", secrets.service_fabric.expose())],
                vec!["api-version=2020-05-01"],
            ),
            "machine-learning" => (
                Service::MachineLearning,
                "/MSI/auth",
                vec![("secret", secrets.machine_learning.expose())],
                vec![
                    "api-version=2017-09-01",
                    "clientid=5a5a5a5a-0000-4000-8000-000000000001",
                ],
            ),
            "cloud-shell" => (
                Service::CloudShell,
                "/oauth2/token",
                vec![
                    ("metadata", "true"),
                    ("content-type", "application/x-www-form-urlencoded"),
                ],
                vec![],
            ),
            other => panic!("no such source: {other}"),
        };
        let owned = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        Self {
            service,
            method: if source == "cloud-shell" {
                "POST"
            } else {
                "GET"
            }
            .to_owned(),
            path: path.to_owned(),
            headers: headers.into_iter().map(owned).collect(),
            parameters: [parameters, vec![&format!("resource={VAULT}")]]
                .concat()
                .into_iter()
                .map(str::to_owned)
                .collect(),
        }
    }

    fn changed(mut self, changes: &[&str]) -> Self {
        for change in changes {
            if let Some(parameter) = change.strip_prefix('+') {
                self.parameters.push(parameter.to_owned());
            } else if let Some(name) = change.strip_prefix('-') {
                let prefix = format!("{name}=");
                self.parameters.retain(|it| !it.starts_with(&prefix));
                self.headers.retain(|(it, _)| it != name);
            } else if let Some((name, value)) = change.split_once(": ") {
                self.headers.retain(|(it, _)| it != name);
                self.headers.push((name.to_owned(), value.to_owned()));
            } else {
                let (method, path) = change.split_once(' ').unwrap();
                self.method = method.to_owned();
                self.path = path.to_owned();
            }
        }
        self
    }

    fn request(&self) -> Request<Bytes> {
        let parameters = self.parameters.join("&");
        let is_form = self.service == Service::CloudShell;
        let (target, body) = match is_form {
            true => (self.path.clone(), parameters),
            false => (format!("{}?{parameters}", self.path), String::new()),
        };
        let mut request = Request::builder().method(&*self.method).uri(target);
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        request.body(body.into()).unwrap()
    }
}

/// Sends a valid request to a source with changes.
async fn ask(state: &Arc<State>, source: &str, changes: &[&str]) -> JsonResponse {
    let template = Template::valid(state, source).changed(changes);
    send(state, template.service, template.request()).await
}

const SOURCES: [&str; 6] = [
    "imds",
    "app-service",
    "app-service-2017",
    "service-fabric",
    "machine-learning",
    "cloud-shell",
];

fn token(response: &JsonResponse) -> UnverifiedJwt {
    UnverifiedJwt::parse(response.text("access_token")).unwrap()
}

#[tokio::test]
async fn issues_signed_tokens_in_the_form_of_each_source() {
    let state = state(Config::default());
    let number = |value: &Value| value.is_u64();
    let text = |value: &Value| {
        value
            .as_str()
            .is_some_and(|text| text.parse::<u64>().is_ok())
    };
    let date = |value: &Value| {
        value
            .as_str()
            .is_some_and(|text| text.ends_with("M +00:00"))
    };
    let absent = |value: &Value| value.is_null();
    type Check = fn(&Value) -> bool;
    let forms: [(&str, Check, Check, Check); 6] = [
        ("imds", text, text, text),
        ("app-service", text, absent, absent),
        ("app-service-2017", date, absent, absent),
        ("service-fabric", number, absent, absent),
        ("machine-learning", number, absent, absent),
        ("cloud-shell", text, text, text),
    ];
    for (source, expires_on, expires_in, not_before) in forms {
        let response = ask(&state, source, &[]).await;
        assert_eq!(response.status, 200, "{source} {response:?}");
        assert_eq!(response.text("token_type"), "Bearer", "{source}");
        // Unchanged, with the slash.
        assert_eq!(response.text("resource"), "https://vault.azure.net/");
        let body = &response.body;
        assert!(expires_on(&body["expires_on"]), "{source} {body}");
        assert!(expires_in(&body["expires_in"]), "{source} {body}");
        assert!(not_before(&body["not_before"]), "{source} {body}");
        assert_eq!(response.headers["cache-control"], "no-store", "{source}");
        let jwt = token(&response);
        assert_eq!(jwt.text("aud"), Some("https://vault.azure.net/"));
        assert_eq!(jwt.text("appid"), Some(SYSTEM), "{source}");
        assert!(jwt.claims.get("cnf").is_none(), "{source}");
        let signer = state.keys.entra.get().await.unwrap();
        assert!(signer.verifies(response.text("access_token")), "{source}");
        let record = state.records.all().pop().unwrap();
        assert_eq!(record.status, Some(200));
        assert_eq!(record.notes["client_id"], SYSTEM);
        assert_eq!(record.notes["resource"], "https://vault.azure.net/");
    }
    let shown = serde_json::to_string(&state.records.all()).unwrap();
    for secret in [
        &state.source_secrets.app_service,
        &state.source_secrets.service_fabric,
        &state.source_secrets.machine_learning,
    ] {
        assert!(!shown.contains(secret.expose()), "{shown}");
    }
    assert!(!shown.contains("eyJ"), "{shown}");
}

#[tokio::test]
async fn dates_are_those_of_the_operating_system() {
    let mut config = Config::default();
    config.compute.os_type = OsType::Linux;
    let state = state(config);
    let response = ask(&state, "app-service-2017", &[]).await;
    let date = response.text("expires_on");
    let (day, time) = date.split_once(' ').unwrap();
    assert!(day.len() == 10 && time.len() == 15, "{date}");
}

#[tokio::test]
async fn selects_the_named_identity() {
    let state = state(Config::default());
    let by_client = format!("+client_id={}", USER.to_uppercase());
    let by_object = format!("+object_id={USER_OBJECT}");
    let cases = [
        ("imds", vec![by_client.clone()]),
        ("imds", vec![by_object.clone()]),
        ("imds", vec![format!("+msi_res_id={USER_RESOURCE}")]),
        ("app-service", vec![by_client]),
        ("app-service", vec![by_object]),
        ("app-service", vec![format!("+principal_id={USER_OBJECT}")]),
        ("app-service", vec![format!("+mi_res_id={USER_RESOURCE}")]),
        ("app-service-2017", vec![format!("+clientid={USER}")]),
        (
            "service-fabric",
            vec![format!("+principalId={USER_OBJECT}")],
        ),
        (
            "machine-learning",
            vec!["-clientid".into(), format!("+clientid={USER}")],
        ),
    ];
    for (source, changes) in cases {
        let changes: Vec<&str> = changes.iter().map(String::as_str).collect();
        let response = ask(&state, source, &changes).await;
        assert_eq!(response.status, 200, "{source} {changes:?} {response:?}");
        let jwt = token(&response);
        assert_eq!(jwt.text("appid"), Some(USER), "{source} {changes:?}");
        assert_eq!(jwt.text("oid"), Some(USER_OBJECT), "{source} {changes:?}");
    }
}

#[tokio::test]
async fn rejects_what_the_services_reject() {
    let state = state(Config::default());
    let unknown = "00000000-0000-4000-8000-000000000000";
    let unknown_client = format!("+client_id={unknown}");
    let unknown_object = format!("+principalId={unknown}");
    let both = [
        format!("+client_id={USER}"),
        format!("+object_id={USER_OBJECT}"),
    ];
    let [client, object] = [both[0].as_str(), both[1].as_str()];
    let unknown_old = format!("+clientid={unknown}");
    let long_resource = format!("+resource={}", "a".repeat(3000));
    // The source, the changes of a valid request, the status, and what the error contains.
    let cases: &[(&str, &[&str], u16, &str)] = &[
        (
            "imds",
            &["-metadata"],
            400,
            "Required metadata header not specified",
        ),
        (
            "imds",
            &["metadata: no"],
            400,
            "Required metadata header not specified",
        ),
        (
            "imds",
            &["x-forwarded-for: 10.0.0.1"],
            400,
            "X-Forwarded-For",
        ),
        ("imds", &["-api-version"], 400, "api-version"),
        (
            "imds",
            &["-api-version", "+api-version=2017-09-01"],
            400,
            "api-version",
        ),
        ("imds", &["+api-version=2018-02-01"], 400, "twice"),
        (
            "imds",
            &["-resource"],
            400,
            "Required query variable 'resource' is missing",
        ),
        (
            "imds",
            &["-resource", "+resource="],
            400,
            "Required query variable 'resource' is missing",
        ),
        (
            "imds",
            &[
                "-resource",
                "+resource=https%3A%2F%2Fvault.azure.net%2F.default",
            ],
            400,
            "AADSTS500011",
        ),
        (
            "imds",
            &["-resource", "+resource=a%20b"],
            400,
            "AADSTS500011",
        ),
        ("imds", &["-resource", &long_resource], 400, "AADSTS500011"),
        (
            "imds",
            &["+mi_res_id=x"],
            400,
            "Unsupported query variables",
        ),
        ("imds", &["+xms_cc=cp1"], 400, "Unsupported query variables"),
        ("imds", &["+bypass_cache=false"], 400, "bypass_cache"),
        ("imds", &[&unknown_client], 400, "Identity not found"),
        ("imds", &["+client_id="], 400, "Identity not found"),
        ("imds", &[client, object], 400, "two ways"),
        (
            "imds",
            &["POST /metadata/identity/oauth2/token"],
            405,
            "method",
        ),
        ("app-service", &["-x-identity-header"], 401, "missing"),
        (
            "app-service",
            &["x-identity-header: 00"],
            401,
            "another value",
        ),
        (
            "app-service",
            &["-x-identity-header", "secret: 00"],
            401,
            "missing",
        ),
        ("app-service", &["-api-version"], 400, "api-version"),
        (
            "app-service",
            &["-api-version", "+api-version=2025-03-30"],
            400,
            "api-version",
        ),
        (
            "app-service",
            &["+clientid=x"],
            400,
            "Unsupported query variables",
        ),
        (
            "app-service",
            &["+msi_res_id=x"],
            400,
            "Unsupported query variables",
        ),
        (
            "app-service",
            &[&unknown_client],
            400,
            "No User Assigned or Delegated Managed Identity found",
        ),
        ("app-service", &["-resource"], 400, "resource"),
        (
            "app-service",
            &["-resource", "+resource=x/.default"],
            500,
            "AAD Token",
        ),
        ("app-service", &["POST /msi/token"], 405, "method"),
        ("app-service", &["GET /"], 404, "not found"),
        ("app-service-2017", &["secret: 00"], 401, "another value"),
        (
            "app-service-2017",
            &["+client_id=x"],
            400,
            "Unsupported query variables",
        ),
        (
            "app-service-2017",
            &[&unknown_old],
            400,
            "No User Assigned or Delegated Managed Identity found",
        ),
        ("service-fabric", &["-secret"], 400, "SecretHeaderNotFound"),
        (
            "service-fabric",
            &["secret: 00"],
            404,
            "ManagedIdentityNotFound",
        ),
        (
            "service-fabric",
            &["-api-version"],
            400,
            "InvalidApiVersion",
        ),
        (
            "service-fabric",
            &["-api-version", "+api-version=2019-08-01"],
            400,
            "InvalidApiVersion",
        ),
        ("service-fabric", &["-resource"], 400, "ArgumentNullOrEmpty"),
        (
            "service-fabric",
            &["-resource", "+resource=x/.default"],
            500,
            "InternalServerError",
        ),
        (
            "service-fabric",
            &[client],
            400,
            "Unsupported query variables",
        ),
        (
            "service-fabric",
            &[&unknown_object],
            404,
            "ManagedIdentityNotFound",
        ),
        (
            "service-fabric",
            &["+token_sha256_to_refresh=AB"],
            400,
            "token_sha256_to_refresh",
        ),
        ("service-fabric", &["+xms_cc=a%20b"], 400, "xms_cc"),
        ("machine-learning", &["-secret"], 401, "Unauthorized"),
        ("machine-learning", &["secret: 00"], 401, "Unauthorized"),
        ("machine-learning", &["-clientid"], 400, "IdentityNotFound"),
        (
            "machine-learning",
            &["-clientid", &unknown_old],
            400,
            "IdentityNotFound",
        ),
        (
            "machine-learning",
            &["-api-version", "+api-version=2019-08-01"],
            400,
            "api-version",
        ),
        (
            "machine-learning",
            &[client],
            400,
            "Unsupported query variables",
        ),
        ("machine-learning", &["-resource"], 400, "resource"),
        ("machine-learning", &["POST /MSI/auth"], 405, "method"),
        ("cloud-shell", &["-metadata"], 400, "bad_request_102"),
        (
            "cloud-shell",
            &["-resource"],
            400,
            "Required audience parameter not specified",
        ),
        (
            "cloud-shell",
            &["-content-type"],
            400,
            "Required audience parameter not specified",
        ),
        (
            "cloud-shell",
            &["-resource", "+resource=x/.default"],
            400,
            "AudienceNotSupported",
        ),
        ("cloud-shell", &[client], 400, "Unsupported query variables"),
        (
            "cloud-shell",
            &["POST /oauth2/token?resource=x"],
            400,
            "Unsupported query variables",
        ),
        ("cloud-shell", &["GET /oauth2/token"], 405, "method"),
        ("cloud-shell", &["POST /"], 404, "not found"),
    ];
    for (source, changes, status, part) in cases {
        let response = ask(&state, source, changes).await;
        let body = response.body.to_string();
        assert_eq!(response.status, *status, "{source} {changes:?} {body}");
        assert!(body.contains(part), "{source} {changes:?} {body}");
        assert!(!body.contains("access_token\""), "{source} {changes:?}");
        let record = state.records.all().pop().unwrap();
        assert!(record.notes.contains_key("refused"), "{source} {changes:?}");
        if *status == 405 {
            let allowed = if *source == "cloud-shell" {
                "POST"
            } else {
                "GET"
            };
            assert_eq!(response.headers["allow"], allowed, "{source}");
        }
    }
    // The form of each source's errors.
    let error = |body: &Value| match body {
        body if body["error"].is_string() => "oauth",
        body if body["error"]["correlationId"].is_string() => "nested with an id",
        body if body["error"]["code"].is_string() => "nested",
        body if body["statusCode"].is_u64() => "plain",
        _ => "unknown",
    };
    for (source, form) in SOURCES.into_iter().zip([
        "oauth",
        "plain",
        "plain",
        "nested with an id",
        "nested",
        "nested",
    ]) {
        let response = ask(&state, source, &["-resource"]).await;
        assert_eq!(error(&response.body), form, "{source}");
    }
}

/// A host without a system-assigned identity, with this number of user-assigned ones.
fn user_assigned(number: usize) -> Config {
    let mut config = Config::default();
    config.identities.retain(|it| it.kind == IdentityType::User);
    let template = config.identities[0].clone();
    for index in 1..number {
        let id = |kind: char| format!("5a5a5a5a-0000-4000-8000-0000000000{kind}{index}");
        let guid = |kind| keybound_core::Guid::parse(&id(kind)).unwrap();
        let resource = format!("{}{index}", template.resource_id.clone().unwrap());
        config
            .identities
            .push(Identity::user_assigned(guid('b'), guid('c'), resource));
    }
    config
}

#[tokio::test]
async fn selects_the_only_identity_where_the_service_does() {
    let unable = "Unable to load the proper Managed Identity";
    for (number, source, status, part) in [
        (1, "imds", 200, "access_token"),
        (2, "imds", 400, "Multiple user assigned identities exist"),
        (1, "service-fabric", 200, "access_token"),
        (1, "app-service", 400, unable),
        (2, "app-service", 400, unable),
        (1, "cloud-shell", 400, "no system-assigned identity"),
    ] {
        let state = state(user_assigned(number));
        let response = ask(&state, source, &[]).await;
        let body = response.body.to_string();
        assert_eq!(response.status, status, "{number} {source} {body}");
        assert!(body.contains(part), "{number} {source} {body}");
    }
}

#[tokio::test]
async fn service_fabric_takes_capabilities_and_the_hash_of_a_revoked_token() {
    let state = state(Config::default());
    let refresh = format!("+token_sha256_to_refresh={}", "0a".repeat(32));
    let response = ask(&state, "service-fabric", &["+xms_cc=cp1,cp2", &refresh]).await;
    assert_eq!(token(&response).claims["xms_cc"], json!(["cp1", "cp2"]));
    let record = state.records.all().pop().unwrap();
    assert!(record.query.contains(&refresh[1..]), "{}", record.query);
}

#[tokio::test]
async fn applies_faults_of_tokens_on_each_source() {
    let legs = SOURCES.map(|source| match source {
        "imds" => "imds-token",
        "app-service-2017" => "app-service",
        source => source,
    });
    for (source, leg) in SOURCES.into_iter().zip(legs) {
        let state = state(Config::default());
        for action in [
            "garbage-token",
            "expired-token",
            "foreign-key",
            "other-client",
            "token-type:pop",
            "status:429,Retry-After=7",
            "status:429",
            "status:410",
            "status:503",
            "set-field:access_token=7",
        ] {
            let fault = format!("{leg}={action}*1").parse().unwrap();
            state.faults.add(vec![fault]).unwrap();
            let response = ask(&state, source, &[]).await;
            let token = || token(&response);
            let seen = match action {
                "garbage-token" => UnverifiedJwt::parse(response.text("access_token")).is_none(),
                "expired-token" => {
                    token().claims["exp"].as_u64().unwrap() < state.clock.unix()
                        && response.body["expires_in"]
                            .as_str()
                            .is_none_or(|it| it == "0")
                }
                "foreign-key" => {
                    let signer = state.keys.entra.get().await.unwrap();
                    !signer.verifies(response.text("access_token"))
                }
                "other-client" => token().text("appid") != Some(SYSTEM),
                "token-type:pop" => response.text("token_type") == "pop",
                "status:429,Retry-After=7" => {
                    response.status == 429 && response.headers["retry-after"] == "7"
                }
                "set-field:access_token=7" => response.body["access_token"] == 7,
                status => format!("status:{}", response.status) == status,
            };
            assert!(seen, "{source} {action} {response:?}");
        }
        assert_eq!(ask(&state, source, &[]).await.status, 200, "{source}");
        assert_eq!(state.records.counts()[leg], 11, "{source}");
    }
}

#[tokio::test]
async fn imds_of_version_1_requires_no_request_id_and_accepts_a_probe() {
    let state = state(Config::default());
    let probe = Request::get("/metadata/identity/oauth2/token")
        .body(Bytes::new())
        .unwrap();
    let Reply::Full(response) = handle(&state, Service::Imds, probe).await else {
        panic!("expected a response");
    };
    assert_eq!(response.status(), 400);
    assert_eq!(response.headers()["server"], "IMDS/150.870.65.1854");
    let body: Value = serde_json::from_slice(response.body()).unwrap();
    assert_eq!(
        body,
        json!({"error": "invalid_request", "error_description": "Required metadata header not specified"})
    );
    // MSAL for Node.js adds a slash.
    let slash = "GET /metadata/identity/oauth2/token/";
    assert_eq!(ask(&state, "imds", &[slash]).await.status, 200);
    for parameter in [
        "+bypass_cache=true",
        "+authority=https%3A%2F%2Flogin.example",
    ] {
        assert_eq!(ask(&state, "imds", &[parameter]).await.status, 200);
    }
}
