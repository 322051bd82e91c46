//! A daemon of one test, and its clients.
use crate::support::{FixedClock, Table};
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use keybound_resource::VerifierBuilder;
use keybound_testing::attacks::{AttackCase, TENANT, cases, fixed_now};
use keybound_verify::{Config, Daemon, DecisionLog, StartError};
use std::path::Path;
use std::sync::{Arc, LazyLock, Mutex};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::UnixStream;

/// A configuration file of a test, with one API that accepts the tokens of the table whatever the time.
pub struct Fixture {
    pub folder: tempfile::TempDir,
    pub config: Arc<Mutex<String>>,
}

impl Fixture {
    pub fn new() -> Self {
        Self::of("nginx")
    }

    pub fn of(engine: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let keys = folder.path().join("keys.json");
        std::fs::write(&keys, table().issuer.key_file().to_string()).unwrap();
        let config = format!(
            "[listen]\nunix = {:?}\n[proxy]\nengine = {engine:?}\n[admin]\nunix = {:?}\n[keys]\nfile = {keys:?}\n[log]\ndecisions = \"all\"\n[[api]]\nhosts = [\"orders.contoso.com\"]\naudiences = [\"api://orders.contoso.com\"]\ntenants = [\"{TENANT}\"]\n",
            folder.path().join("verify.sock"),
            folder.path().join("admin.sock"),
        );
        Self {
            folder,
            config: Arc::new(Mutex::new(config)),
        }
    }

    pub fn socket(&self) -> std::path::PathBuf {
        self.folder.path().join("verify.sock")
    }

    pub fn admin(&self) -> std::path::PathBuf {
        self.folder.path().join("admin.sock")
    }

    pub fn replace(&self, from: &str, to: &str) {
        let mut config = self.config.lock().unwrap();
        assert!(config.contains(from), "{from}");
        *config = config.replacen(from, to, 1);
    }

    /// What operators get of `/metrics`.
    pub async fn metrics(&self) -> String {
        get(&self.admin(), "GET", "/metrics").await.1
    }

    pub async fn start(&self, log: DecisionLog) -> Result<Daemon, StartError> {
        self.start_with(log, |builder| builder).await
    }

    /// With further settings of each verifier.
    pub async fn start_with(
        &self,
        log: DecisionLog,
        settings: impl Fn(VerifierBuilder) -> VerifierBuilder + Send + Sync + 'static,
    ) -> Result<Daemon, StartError> {
        let config = Config::from_toml(&self.config.lock().unwrap()).unwrap();
        let again = Arc::clone(&self.config);
        let now = fixed_now();
        let extend =
            move |_: &str, builder: VerifierBuilder| settings(builder.clock(FixedClock::at(now)));
        let load = move || Config::from_toml(&again.lock().unwrap());
        Daemon::start(config, log, Arc::new(extend), load).await
    }
}

pub fn table() -> &'static Table {
    static TABLE: LazyLock<Table> = LazyLock::new(|| Table::new(fixed_now()));
    &TABLE
}

/// A case by its name.
pub fn case(name: &str) -> AttackCase {
    cases().into_iter().find(|case| case.name == name).unwrap()
}

/// The request of nginx for a case, for an API of any host.
pub fn subrequest(case: &AttackCase, host: &str) -> Request<Empty<Bytes>> {
    let request = case.request(&table().issuer);
    let mut http = Request::get("/")
        .header("host", "keybound")
        .header("x-forwarded-host", host)
        .header("x-forwarded-method", "GET")
        .header("x-forwarded-uri", "/orders?access_token=swordfish");
    for value in &request.authorization {
        http = http.header("authorization", value.as_slice());
    }
    if let Some(der) = &request.certificate {
        let pem = table().issuer.certificates.url_encoded_pem(der);
        http = http.header("x-ssl-client-cert", pem);
    }
    http.body(Empty::new()).unwrap()
}

/// The request of nginx for an `Authorization` and the certificate to which its token is bound.
pub fn subrequest_with(authorization: &str) -> Request<Empty<Bytes>> {
    let certificates = &table().issuer.certificates;
    let pem = certificates.url_encoded_pem(&certificates.der("client").unwrap());
    let http = Request::get("/")
        .header("host", "keybound")
        .header("authorization", authorization)
        .header("x-ssl-client-cert", pem)
        .header("x-forwarded-host", "orders.contoso.com")
        .header("x-forwarded-method", "GET")
        .header("x-forwarded-uri", "/orders");
    http.body(Empty::new()).unwrap()
}

/// A connection to the daemon.
pub type Sender = SendRequest<Empty<Bytes>>;

pub async fn connect(stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> Sender {
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    sender
}

pub async fn connect_unix(path: &Path) -> Sender {
    connect(UnixStream::connect(path).await.unwrap()).await
}

pub async fn get(path: &Path, method: &str, target: &str) -> (StatusCode, String) {
    let request = Request::builder()
        .method(method)
        .uri(target)
        .header("host", "localhost")
        .body(Empty::new())
        .unwrap();
    let response = connect_unix(path)
        .await
        .send_request(request)
        .await
        .unwrap();
    let (parts, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    (parts.status, String::from_utf8(body.to_vec()).unwrap())
}

pub async fn status(
    sender: &mut Sender,
    request: Request<Empty<Bytes>>,
) -> (u16, Response<hyper::body::Incoming>) {
    sender.ready().await.unwrap();
    let response = sender.send_request(request).await.unwrap();
    (response.status().as_u16(), response)
}
