//! The services of `tests/foreign/services.py`: one process, many worlds, each with ports of its own.
use serde::Deserialize;
use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{LazyLock, Mutex, PoisonError};

/// How a world answers where nothing is wrong.
#[derive(Clone, Copy, Debug)]
pub struct Manner<'a> {
    pub forms: &'a [String],
    pub tls: &'a str,
    pub host: &'a str,
    pub issuer: &'a str,
}

/// Metadata service, token endpoint and resource, on ports of their own.
#[derive(Debug, Deserialize)]
pub struct World {
    #[serde(rename = "world")]
    number: u64,
    pub imds: String,
    pub resource: String,
    pub audience: String,
    pub client_id: String,
    pub user_assigned_id: String,
    pub tenant_id: String,
}

/// What a world was asked and what it gave out.
#[derive(Debug, Deserialize)]
pub struct Log {
    pub requests: Vec<Asked>,
    /// Requests that broke the protocol, in the services' words.
    pub refusals: Vec<String>,
    pub secrets: Vec<String>,
    /// The most bytes sent on one connection.
    pub sent: u64,
}

#[derive(Debug, Deserialize)]
pub struct Asked {
    pub leg: String,
    pub target: String,
}

impl World {
    pub fn open(manner: Manner<'_>) -> Self {
        let settings = json!({"forms": manner.forms, "tls": manner.tls, "host": manner.host, "issuer": manner.issuer});
        read(command(&json!({ "open": settings })))
    }

    /// Spoils the answers of a leg; null heals it.
    pub fn set_fault(&self, leg: &str, fault: &Value) {
        command(&json!({"fault": {"world": self.number, "leg": leg, "fault": fault}}));
    }

    pub fn log(&self) -> Log {
        read(command(&json!({ "log": self.number })))
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // A second panic would end the whole run.
        if !std::thread::panicking() {
            command(&json!({ "close": self.number }));
        }
    }
}

/// The authority of the services' own certificates, in PEM.
pub fn authority() -> Vec<u8> {
    services().authority.clone()
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

struct Services {
    /// Ends when its standard input does, with this process.
    _child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    authority: Vec<u8>,
}

impl Services {
    fn start() -> Self {
        let mut child = python()
            .arg("services.py")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("Python is needed: /usr/bin/python3, or the one that KEYBOUND_PYTHON names");
        let input = child.stdin.take().expect("it is piped");
        let output = BufReader::new(child.stdout.take().expect("it is piped"));
        let mut services = Self {
            _child: child,
            input,
            output,
            authority: Vec::new(),
        };
        let ready = services.answer();
        let ca_file = ready["ca_file"].as_str().expect("a ready line");
        services.authority = std::fs::read(ca_file).expect("the ready line names a file");
        services
    }

    fn ask(&mut self, command: &Value) -> Value {
        writeln!(self.input, "{command}").expect("the services listen");
        let answer = self.answer();
        assert!(answer.get("error").is_none(), "{command}: {answer}");
        answer
    }

    fn answer(&mut self) -> Value {
        let mut line = String::new();
        self.output.read_line(&mut line).expect("a line of text");
        serde_json::from_str(&line)
            .expect("the services ended; do they have Python 3.11 and its package cryptography?")
    }
}

fn command(command: &Value) -> Value {
    services().ask(command)
}

fn services() -> std::sync::MutexGuard<'static, Services> {
    SERVICES.lock().unwrap_or_else(PoisonError::into_inner)
}

fn read<T: for<'de> Deserialize<'de>>(value: Value) -> T {
    serde_json::from_value(value).expect("services and tests agree")
}

static SERVICES: LazyLock<Mutex<Services>> = LazyLock::new(|| Mutex::new(Services::start()));
