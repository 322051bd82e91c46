//! The services of `tests/foreign/services.py`: one process with many service sets, each on its own ports.
use serde::Deserialize;
use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{LazyLock, Mutex, PoisonError};

/// The responses of a service set.
#[derive(Clone, Copy, Debug)]
pub struct Settings<'a> {
    pub forms: &'a [String],
    pub tls: &'a str,
    pub host: &'a str,
    pub issuer: &'a str,
}

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
    pub fn open(settings: Settings<'_>) -> Self {
        let open = json!({"forms": settings.forms, "tls": settings.tls, "host": settings.host, "issuer": settings.issuer});
        read(command(&json!({ "open": open })))
    }

    pub fn log(&self) -> Log {
        read(command(&json!({ "log": self.number })))
    }
}

impl Drop for ServiceSet {
    fn drop(&mut self) {
        // A second panic would abort the test run.
        if !std::thread::panicking() {
            command(&json!({ "close": self.number }));
        }
    }
}

/// The CA certificate of the services, in PEM.
pub fn authority() -> Vec<u8> {
    process().authority.clone()
}

/// The Python that runs the services: `KEYBOUND_PYTHON`, else Debian's, which has `cryptography`.
pub fn python() -> Command {
    let program = std::env::var("KEYBOUND_PYTHON").unwrap_or_else(|_| "/usr/bin/python3".into());
    let mut python = Command::new(program);
    // No byte code is left in the source tree.
    python.arg("-B").current_dir(folder());
    python
}

pub fn folder() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/foreign"))
}

struct Process {
    /// Ends at the end of its standard input, with this process.
    _child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    authority: Vec<u8>,
}

impl Process {
    fn start() -> Self {
        let mut child = python()
            .arg("services.py")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("Python is needed: /usr/bin/python3, or the one that KEYBOUND_PYTHON names");
        let input = child.stdin.take().expect("it is piped");
        let output = BufReader::new(child.stdout.take().expect("it is piped"));
        let mut process = Self {
            _child: child,
            input,
            output,
            authority: Vec::new(),
        };
        let ready = process.read_line();
        let ca_file = ready["ca_file"].as_str().expect("a ready line");
        process.authority = std::fs::read(ca_file).expect("the ready line names a file");
        process
    }

    fn run(&mut self, command: &Value) -> Value {
        writeln!(self.input, "{command}").expect("the services are running");
        let response = self.read_line();
        assert!(response.get("error").is_none(), "{command}: {response}");
        response
    }

    fn read_line(&mut self) -> Value {
        let mut line = String::new();
        self.output.read_line(&mut line).expect("a line of text");
        serde_json::from_str(&line)
            .expect("the services exited; is there Python 3.11 with the package cryptography?")
    }
}

fn command(command: &Value) -> Value {
    process().run(command)
}

fn process() -> std::sync::MutexGuard<'static, Process> {
    PROCESS.lock().unwrap_or_else(PoisonError::into_inner)
}

fn read<T: for<'de> Deserialize<'de>>(value: Value) -> T {
    serde_json::from_value(value).expect("a response of the services")
}

static PROCESS: LazyLock<Mutex<Process>> = LazyLock::new(|| Mutex::new(Process::start()));
