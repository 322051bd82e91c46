//! The managed identity sources of v1: each checks its requests and issues bearer tokens. Azure Arc requires the content of a
//! file first.
use super::entra::{jwt, seconds};
use super::imds::SYSTEM;
use super::script::{RequestContext, ScriptedResponse};
use super::test_host::{Reply, TokenRecord, parameters, reply, request_id};
use super::{Call, Leg, TestHost};
use crate::wire::Route;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method};
use keybound_core::lock;
use openssl::sha::sha256;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::path::{MAIN_SEPARATOR_STR, Path};
use std::time::Duration;

/// The kind of a host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum HostKind {
    #[default]
    VirtualMachine,
    AppService,
    ServiceFabric,
    AzureArc,
    MachineLearning,
    CloudShell,
}

impl HostKind {
    /// The variables that the host sets.
    pub(super) fn variables(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::VirtualMachine => &[],
            Self::AppService => &[
                ("IDENTITY_ENDPOINT", APP_SERVICE),
                ("IDENTITY_HEADER", SECRET),
            ],
            Self::ServiceFabric => &[
                ("IDENTITY_ENDPOINT", SERVICE_FABRIC),
                ("IDENTITY_HEADER", SECRET),
                ("IDENTITY_SERVER_THUMBPRINT", THUMBPRINT),
            ],
            Self::AzureArc => &[
                (
                    "IDENTITY_ENDPOINT",
                    "http://localhost:40342/metadata/identity/oauth2/token",
                ),
                ("IMDS_ENDPOINT", "http://localhost:40342"),
            ],
            Self::MachineLearning => &[
                ("MSI_ENDPOINT", MACHINE_LEARNING),
                ("MSI_SECRET", SECRET),
                ("DEFAULT_IDENTITY_CLIENT_ID", SYSTEM),
            ],
            Self::CloudShell => &[("MSI_ENDPOINT", CLOUD_SHELL)],
        }
    }

    /// The source at an address.
    fn at(address: &str) -> Self {
        match address {
            IMDS => Self::VirtualMachine,
            APP_SERVICE => Self::AppService,
            SERVICE_FABRIC => Self::ServiceFabric,
            AZURE_ARC => Self::AzureArc,
            MACHINE_LEARNING => Self::MachineLearning,
            CLOUD_SHELL => Self::CloudShell,
            other => panic!("no source listens at {other}"),
        }
    }

    fn api_version(self) -> Option<&'static str> {
        match self {
            Self::VirtualMachine => Some("2018-02-01"),
            Self::AppService => Some("2019-08-01"),
            Self::ServiceFabric => Some("2020-05-01"),
            Self::AzureArc => Some("2020-06-01"),
            Self::MachineLearning => Some("2017-09-01"),
            Self::CloudShell => None,
        }
    }

    fn headers(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::VirtualMachine | Self::AzureArc | Self::CloudShell => &[("Metadata", "true")],
            Self::AppService => &[("X-IDENTITY-HEADER", SECRET)],
            Self::ServiceFabric => &[("secret", SECRET)],
            Self::MachineLearning => &[("secret", SECRET), ("Metadata", "true")],
        }
    }

    /// The parameters that the source knows, besides version and resource.
    fn parameters(self) -> &'static [&'static str] {
        match self {
            Self::VirtualMachine | Self::AzureArc => &["client_id", "object_id", "msi_res_id"],
            Self::AppService => &["client_id", "object_id", "mi_res_id"],
            Self::ServiceFabric => &["principalId", "xms_cc", "token_sha256_to_refresh"],
            Self::MachineLearning => &["clientid"],
            Self::CloudShell => &[],
        }
    }
}

/// How the file that Azure Arc names differs from the right one.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum KeyFile {
    #[default]
    Correct,
    Missing,
    /// The agent issues the token without one.
    NotRequired,
    Symlink,
    HardLink,
    WritableByAll,
    Directory,
    Content(String),
    /// A file of so many bytes.
    Size(usize),
}

impl TestHost {
    /// Responds to a request to a source of v1.
    pub(super) async fn source(
        &self,
        head: &Parts,
        body: &[u8],
        timeout: Duration,
        route: &Route<'_>,
    ) -> Reply {
        let url = head.uri.to_string();
        let (address, query) = url.split_once('?').unwrap_or((&url, ""));
        let host = HostKind::at(address);
        let pinned = matches!(route, Route::Pinned(_));
        self.check(
            pinned == (host == HostKind::ServiceFabric),
            format!("{host:?}: pin"),
        );
        let form = host == HostKind::CloudShell;
        let given = if form { body } else { query.as_bytes() };
        let given: BTreeMap<_, _> = parameters(given).into_iter().collect();
        self.check_source_request(host, head, &given);
        if host == HostKind::AzureArc && !head.headers.contains_key("authorization") {
            return self.challenge(head, &given, timeout).await;
        }
        let resource = given.get("resource").cloned().unwrap_or_default();
        self.record_source(Leg::Source, head, self.with_token_number(given.clone()));
        let response = self.response(&RequestContext {
            leg: Leg::Source,
            certificate: None,
            resource: Some(&resource),
        });
        if let Some(reply) = self.respond(&response, timeout).await {
            return reply;
        }
        if host == HostKind::AzureArc && !self.accepts_key(head) {
            return Ok(reply(401, HeaderMap::new(), String::new()));
        }
        self.issue_from_source(&given, &response)
    }

    /// Issues a token.
    fn issue_from_source(
        &self,
        given: &BTreeMap<String, String>,
        response: &ScriptedResponse,
    ) -> Reply {
        let resource = given.get("resource").cloned().unwrap_or_default();
        let life = response
            .expires_in
            .map_or(self.setup.token_life, |life| life as f64);
        let issued = self.true_time() - Duration::from_secs(response.age.unwrap_or_default());
        let expires = issued + Duration::from_secs_f64(life);
        let number = self.record_token(resource.clone(), expires);
        let ids = ["client_id", "clientid"]
            .iter()
            .find_map(|name| given.get(*name));
        let mut claims = json!({
            "jti": number.to_string(),
            "appid": ids.map_or(SYSTEM, String::as_str),
            "exp": seconds(expires),
        });
        for (name, value) in &response.claims {
            claims[name] = value.clone();
        }
        let token = jwt(&claims);
        lock(&self.history).secrets.push(token.clone());
        let mut body = json!({
            "access_token": token,
            "expires_on": seconds(expires).to_string(),
            "resource": resource,
            "token_type": "Bearer",
        });
        for name in ["client_id", "object_id", "msi_res_id"] {
            if let Some(id) = given.get(name) {
                body[name] = json!(id);
            }
        }
        if let Some(refresh_in) = response.refresh_in {
            body["refresh_in"] = json!(refresh_in.to_string());
        }
        response.change(&mut body);
        Ok(reply(200, self.date(), response.serialize(&body)))
    }

    fn check_source_request(&self, host: HostKind, head: &Parts, given: &BTreeMap<String, String>) {
        let header = |name: &str| head.headers.get(name).map(HeaderValue::as_bytes);
        let form = host == HostKind::CloudShell;
        let method = if form { Method::POST } else { Method::GET };
        self.check(head.method == method, format!("{host:?}: {}", head.method));
        self.check(
            header("x-ms-client-request-id").is_some_and(|id| id.len() == 36),
            format!("{host:?}: request id"),
        );
        self.check(header("x-forwarded-for").is_none(), "X-Forwarded-For");
        for (name, value) in host.headers() {
            self.check(
                header(name) == Some(value.as_bytes()),
                format!("{host:?}: {name}"),
            );
        }
        let others = ["Metadata", "secret", "X-IDENTITY-HEADER"];
        for name in others {
            let expected = host.headers().iter().any(|(known, _)| *known == name);
            self.check(
                expected || header(name).is_none(),
                format!("{host:?}: {name}"),
            );
        }
        let version = given.get("api-version").map(String::as_str);
        self.check(
            version == host.api_version(),
            format!("{host:?}: {version:?}"),
        );
        for name in given.keys() {
            let known = ["api-version", "resource"].contains(&&**name)
                || host.parameters().contains(&&**name);
            self.check(known, format!("{host:?}: {name}"));
        }
        self.check(
            given.contains_key("resource"),
            format!("{host:?}: resource"),
        );
    }

    fn record_source(&self, leg: Leg, head: &Parts, query: BTreeMap<String, String>) {
        self.record(Call {
            leg,
            at: self.elapsed(),
            bypass: false,
            claims: None,
            attestation: None,
            request_id: request_id(head),
            query,
        });
    }

    fn record_token(&self, resource: String, expires: std::time::SystemTime) -> usize {
        let mut history = lock(&self.history);
        history.tokens.push(TokenRecord {
            resource,
            certificate: 0,
            expires,
        });
        history.tokens.len()
    }

    /// Replaces the hash of a revoked token by the token's number.
    fn with_token_number(&self, mut query: BTreeMap<String, String>) -> BTreeMap<String, String> {
        if let Some(hash) = query.get_mut("token_sha256_to_refresh") {
            let history = lock(&self.history);
            let matches = |token: &String| {
                let digest = sha256(token.as_bytes());
                let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
                hex == *hash
            };
            let tokens = history
                .secrets
                .iter()
                .filter(|secret| secret.starts_with("ey"));
            if let Some(index) = tokens.clone().position(matches) {
                *hash = format!("token {}", index + 1);
            }
        }
        query
    }

    /// Names the file that holds the key of the next request.
    async fn challenge(
        &self,
        head: &Parts,
        given: &BTreeMap<String, String>,
        timeout: Duration,
    ) -> Reply {
        self.record_source(Leg::Challenge, head, BTreeMap::new());
        let response = self.response(&RequestContext {
            leg: Leg::Challenge,
            certificate: None,
            resource: None,
        });
        if let Some(mut reply) = self.respond(&response, timeout).await {
            let named = response.www_authenticate.as_deref();
            if let (Ok(reply), Some(value)) = (&mut reply, named) {
                let value = self.in_directory(value);
                reply
                    .headers_mut()
                    .insert("www-authenticate", value.parse().unwrap());
            }
            return reply;
        }
        if matches!(response.key, KeyFile::NotRequired) {
            return self.issue_from_source(given, &response);
        }
        let name = format!("{}.key", self.calls(Leg::Challenge).len());
        let content = format!("swordfish{}", self.calls(Leg::Challenge).len());
        {
            let mut history = lock(&self.history);
            history.secrets.push(content.clone());
            history.arc_key = content.clone();
        }
        write_key(&self.arc_tokens().join(&name), &content, &response.key);
        let value = response
            .www_authenticate
            .as_deref()
            .unwrap_or("Basic realm={tokens}{separator}{name}");
        let value = self
            .in_directory(value)
            .replace("{separator}", MAIN_SEPARATOR_STR)
            .replace("{name}", &name);
        let mut headers = HeaderMap::new();
        headers.insert("www-authenticate", value.parse().unwrap());
        Ok(reply(401, headers, String::new()))
    }

    fn in_directory(&self, value: &str) -> String {
        value.replace("{tokens}", self.arc_tokens().to_str().unwrap())
    }

    fn accepts_key(&self, head: &Parts) -> bool {
        let expected = format!("Basic {}", lock(&self.history).arc_key);
        head.headers
            .get("authorization")
            .is_some_and(|value| value == expected.as_str())
    }

    fn date(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        if !self.setup.no_date {
            let date = httpdate::fmt_http_date(self.true_time());
            headers.insert(http::header::DATE, date.parse().unwrap());
        }
        headers
    }
}

fn write_key(path: &Path, content: &str, file: &KeyFile) {
    match file {
        KeyFile::Correct => fs::write(path, content).unwrap(),
        KeyFile::Missing | KeyFile::NotRequired => {}
        KeyFile::Directory => fs::create_dir(path).unwrap(),
        KeyFile::Content(other) => fs::write(path, other).unwrap(),
        KeyFile::Size(size) => fs::write(path, "x".repeat(*size)).unwrap(),
        #[cfg(unix)]
        KeyFile::Symlink | KeyFile::HardLink => {
            let other = path.with_extension("other");
            fs::write(&other, content).unwrap();
            match file {
                KeyFile::Symlink => std::os::unix::fs::symlink(&other, path).unwrap(),
                _ => fs::hard_link(&other, path).unwrap(),
            }
        }
        #[cfg(unix)]
        KeyFile::WritableByAll => {
            use std::os::unix::fs::PermissionsExt as _;
            fs::write(path, content).unwrap();
            fs::set_permissions(path, fs::Permissions::from_mode(0o666)).unwrap();
        }
        #[cfg(not(unix))]
        _ => panic!("a case for Unix"),
    }
}

/// The content of a list of requests as JSON.
pub(super) fn queries(calls: &[Call]) -> Vec<Value> {
    calls.iter().map(|call| json!(call.query)).collect()
}

const IMDS: &str = "http://169.254.169.254/metadata/identity/oauth2/token";
const APP_SERVICE: &str = "http://127.0.0.1:41601/msi/token";
const SERVICE_FABRIC: &str = "https://10.0.0.5:2377/metadata/identity/oauth2/token";
/// As the client requests it: the variable names `localhost`.
const AZURE_ARC: &str = "http://127.0.0.1:40342/metadata/identity/oauth2/token";
const MACHINE_LEARNING: &str = "http://10.0.0.4:46809/MSI/auth";
const CLOUD_SHELL: &str = "http://localhost:50342/oauth2/token";
const SECRET: &str = "swordfish";
const THUMBPRINT: &str = "A9993E364706816ABA3E25717850C26C9CD0D89D";
