//! The managed identity sources of v1: each checks its requests and issues bearer tokens. Azure Arc requires the content of a
//! file first.
use super::imds::SYSTEM;
use super::script::ScriptedResponse;
use super::services::{parameters, seconds};
use super::{Call, Leg, TestHost};
use http::Method;
use http::request::Parts;
use keybound_core::lock;
use openssl::sha::sha256;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::path::{MAIN_SEPARATOR_STR, Path};

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
    pub(super) fn variables(self) -> Pairs {
        let source = SOURCES.iter().find(|source| source.host == self);
        source.expect("every host has a source").variables
    }
}

/// What a source expects.
#[derive(Debug)]
struct Source {
    host: HostKind,
    /// The variables that its host sets.
    variables: Pairs,
    address: &'static str,
    api_version: Option<&'static str>,
    headers: Pairs,
    /// The parameters that it knows, besides version and resource.
    parameters: &'static [&'static str],
}

type Pairs = &'static [(&'static str, &'static str)];

const SOURCES: [Source; 6] = [
    Source {
        host: HostKind::VirtualMachine,
        variables: &[],
        address: "http://169.254.169.254/metadata/identity/oauth2/token",
        api_version: Some("2018-02-01"),
        headers: METADATA,
        parameters: &["client_id", "object_id", "msi_res_id"],
    },
    Source {
        host: HostKind::AppService,
        variables: &[
            ("IDENTITY_ENDPOINT", APP_SERVICE),
            ("IDENTITY_HEADER", SECRET),
        ],
        address: APP_SERVICE,
        api_version: Some("2019-08-01"),
        headers: &[("X-IDENTITY-HEADER", SECRET)],
        parameters: &["client_id", "object_id", "mi_res_id"],
    },
    Source {
        host: HostKind::ServiceFabric,
        variables: &[
            ("IDENTITY_ENDPOINT", SERVICE_FABRIC),
            ("IDENTITY_HEADER", SECRET),
            (
                "IDENTITY_SERVER_THUMBPRINT",
                "A9993E364706816ABA3E25717850C26C9CD0D89D",
            ),
        ],
        address: SERVICE_FABRIC,
        api_version: Some("2020-05-01"),
        headers: &[("secret", SECRET)],
        parameters: &["principalId", "xms_cc", "token_sha256_to_refresh"],
    },
    Source {
        host: HostKind::AzureArc,
        variables: &[
            (
                "IDENTITY_ENDPOINT",
                "http://localhost:40342/metadata/identity/oauth2/token",
            ),
            ("IMDS_ENDPOINT", "http://localhost:40342"),
        ],
        // The client connects to the address.
        address: "http://127.0.0.1:40342/metadata/identity/oauth2/token",
        api_version: Some("2020-06-01"),
        headers: METADATA,
        parameters: &["client_id", "object_id", "msi_res_id"],
    },
    Source {
        host: HostKind::MachineLearning,
        variables: &[
            ("MSI_ENDPOINT", MACHINE_LEARNING),
            ("MSI_SECRET", SECRET),
            ("DEFAULT_IDENTITY_CLIENT_ID", SYSTEM),
        ],
        address: MACHINE_LEARNING,
        api_version: Some("2017-09-01"),
        headers: &[("secret", SECRET), ("Metadata", "true")],
        parameters: &["clientid"],
    },
    Source {
        host: HostKind::CloudShell,
        variables: &[("MSI_ENDPOINT", CLOUD_SHELL)],
        address: CLOUD_SHELL,
        api_version: None,
        headers: METADATA,
        parameters: &[],
    },
];

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
    /// Checks a request to a source of v1.
    pub(super) fn read_source_request(&self, head: &Parts, body: &[u8], tls: bool) -> Call {
        let url = head.uri.to_string();
        let (address, query) = url.split_once('?').unwrap_or((&url, ""));
        let source = SOURCES.iter().find(|source| source.address == address);
        let source = source.unwrap_or_else(|| panic!("no source listens at {address}"));
        let host = source.host;
        let (method, given) = match host {
            HostKind::CloudShell => (Method::POST, body),
            _ => (Method::GET, query.as_bytes()),
        };
        let header = |name: &str| head.headers.get(name).and_then(|value| value.to_str().ok());
        let authorization = header("authorization").map(str::to_owned);
        let is_arc = host == HostKind::AzureArc;
        let call = Call {
            leg: match is_arc && authorization.is_none() {
                true => Leg::Challenge,
                false => Leg::Source,
            },
            parameters: self.with_token_number(parameters(given)),
            authorization,
            ..Call::default()
        };
        let check = |holds, rule: &str| self.check(holds, format!("{host:?}: {rule}: {url}"));
        check(tls == (host == HostKind::ServiceFabric), "TLS");
        check(head.method == method, "method");
        check(is_arc || call.authorization.is_none(), "Authorization");
        for name in ["Metadata", "secret", "X-IDENTITY-HEADER", "X-Forwarded-For"] {
            let expected = source.headers.iter().find(|(known, _)| *known == name);
            check(header(name) == expected.map(|(_, value)| *value), name);
        }
        let version = call.parameters.get("api-version").map(String::as_str);
        check(version == source.api_version, "api-version");
        for name in call.parameters.keys().map(String::as_str) {
            let general = ["api-version", "resource"].contains(&name);
            check(general || source.parameters.contains(&name), name);
        }
        check(call.parameters.contains_key("resource"), "resource");
        call
    }

    /// Replaces the hash of a revoked token by the token's number.
    fn with_token_number(&self, mut query: BTreeMap<String, String>) -> BTreeMap<String, String> {
        if let Some(hash) = query.get_mut("token_sha256_to_refresh") {
            let hex = |token: &str| -> String {
                let digest = sha256(token.as_bytes());
                digest.iter().map(|byte| format!("{byte:02x}")).collect()
            };
            let history = lock(&self.history);
            let mut tokens = history.tokens.iter();
            if let Some(index) = tokens.position(|issued| hex(&issued.token) == *hash) {
                *hash = format!("token {}", index + 1);
            }
        }
        query
    }

    /// The response to a request to a source.
    pub(super) fn source(&self, call: &Call, response: &ScriptedResponse) -> (u16, Value) {
        let authorized = match &call.authorization {
            Some(value) => *value == format!("Basic {}", lock(&self.history).arc_key),
            None => call.leg == Leg::Source || matches!(response.key, KeyFile::NotRequired),
        };
        if !authorized {
            return (401, Value::Null);
        }
        let client = ["client_id", "clientid"].map(|name| call.parameters.get(name));
        let client = client.into_iter().flatten().next();
        let claims = json!({ "appid": client.map_or(SYSTEM, String::as_str) });
        let (_, expires, token) = self.issue_token(call, response, claims);
        let mut body = json!({
            "access_token": token,
            "expires_on": seconds(expires).to_string(),
            "resource": call.resource(),
            "token_type": "Bearer",
        });
        for name in ["client_id", "object_id", "msi_res_id"] {
            if let Some(id) = call.parameters.get(name) {
                body[name] = json!(id);
            }
        }
        if let Some(refresh_in) = response.refresh_in {
            body["refresh_in"] = json!(refresh_in.to_string());
        }
        (200, body)
    }

    /// The challenge of Azure Arc, whose file holds the key of the next request.
    pub(super) fn challenge(&self, response: &ScriptedResponse) -> String {
        let number = self.calls(Leg::Challenge).len();
        let (name, content) = (format!("{number}.key"), format!("swordfish{number}"));
        write_key(&self.arc_tokens().join(&name), &content, &response.key);
        let mut history = lock(&self.history);
        history.secrets.push(content.clone());
        history.arc_key = content;
        let value = response.www_authenticate.as_deref();
        value
            .unwrap_or("Basic realm={tokens}{separator}{name}")
            .replace("{tokens}", self.arc_tokens().to_str().unwrap())
            .replace("{separator}", MAIN_SEPARATOR_STR)
            .replace("{name}", &name)
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

const APP_SERVICE: &str = "http://127.0.0.1:41601/msi/token";
const SERVICE_FABRIC: &str = "https://10.0.0.5:2377/metadata/identity/oauth2/token";
const MACHINE_LEARNING: &str = "http://10.0.0.4:46809/MSI/auth";
const CLOUD_SHELL: &str = "http://localhost:50342/oauth2/token";
const METADATA: Pairs = &[("Metadata", "true")];
const SECRET: &str = "swordfish";
