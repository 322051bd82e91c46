//! The services of `tests/foreign/services.py`: one process with many service sets, each on its own ports.
use keybound_testing::ChildProcess;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::process::Command;
use std::sync::{LazyLock, Mutex, PoisonError};

/// Metadata service, token endpoint and resource, on their own ports.
#[derive(Debug, Deserialize)]
pub struct ServiceSet {
    #[serde(rename = "service_set")]
    number: u64,
    pub imds: String,
    pub resource: String,
    pub audience: String,
    pub client_id: String,
    pub user_assigned_id: String,
    pub tenant_id: String,
}

/// The requests that a service set received, and the secrets that it issued.
#[derive(Debug, Deserialize)]
pub struct Log {
    pub requests: Vec<LoggedRequest>,
    /// The error messages for requests that violated the protocol.
    pub rejections: Vec<String>,
    pub secrets: Vec<String>,
}

#[derive(Debug, Deserialize)]
pub struct LoggedRequest {
    pub leg: String,
    pub target: String,
}

impl ServiceSet {
    pub fn log(&self) -> Log {
        command(&json!({ "log": self.number }))
    }
}

impl Drop for ServiceSet {
    fn drop(&mut self) {
        // A second panic would abort the test run.
        if !std::thread::panicking() {
            command::<Value>(&json!({ "close": self.number }));
        }
    }
}

/// The Python that runs the services: `KEYBOUND_PYTHON`, else Debian's, which has `cryptography`.
pub fn python() -> Command {
    let program = std::env::var("KEYBOUND_PYTHON").unwrap_or_else(|_| "/usr/bin/python3".into());
    let mut python = Command::new(program);
    // No byte code is left in the source tree.
    python.arg("-B").current_dir(FOLDER);
    python
}

/// Sends a command to the services, and returns their response.
pub fn command<T: DeserializeOwned>(command: &Value) -> T {
    let mut process = SERVICES.0.lock().unwrap_or_else(PoisonError::into_inner);
    process.send(command);
    let response: Value = serde_json::from_str(&process.expect("")).unwrap();
    assert!(response.get("error").is_none(), "{command}: {response}");
    serde_json::from_value(response).unwrap()
}

/// The CA certificate of the services, in PEM.
pub fn authority() -> &'static [u8] {
    &SERVICES.1
}

/// The process, which ends at the end of its standard input, with this one; and the CA certificate. It needs Python 3.11 with
/// the package cryptography.
static SERVICES: LazyLock<(Mutex<ChildProcess>, Vec<u8>)> = LazyLock::new(|| {
    let mut process = ChildProcess::start(python().arg("services.py"));
    let ready: Value = serde_json::from_str(&process.expect("")).unwrap();
    let authority = std::fs::read(ready["ca_file"].as_str().unwrap()).unwrap();
    (Mutex::new(process), authority)
});
const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/foreign");
