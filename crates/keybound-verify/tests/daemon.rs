//! The daemon: its configuration, reload, end, metrics and log.
#![cfg_attr(
    unix,
    expect(clippy::unwrap_used, reason = "what fails here fails the test")
)]

#[cfg(unix)]
mod support;

use keybound_verify::Config;

const CONFIG: &str = r#"
[listen]
tcp = "127.0.0.1:0"
[proxy]
engine = "haproxy"
[[api]]
hosts = ["orders.contoso.com"]
audiences = ["api://orders.contoso.com"]
tenants = ["72f988bf-86f1-41af-91ab-2d7cd011db47"]
"#;

#[test]
fn rejects_configurations_that_are_not_sound() {
    Config::from_toml(CONFIG).unwrap();
    for (from, to, why) in [
        ("127.0.0.1:0", "0.0.0.0:8444", "is not on loopback"),
        ("127.0.0.1:0", "[::]:8444", "is not on loopback"),
        ("tcp = \"127.0.0.1:0\"", "", "expected either unix or tcp"),
        ("[proxy]", "mode = 0o660\n[proxy]", "mode is for unix only"),
        (
            "[proxy]",
            "[listen.tls]\ncertificate = \"a\"\nkey = \"b\"\nclients = []\n[proxy]",
            "clients names no certificate",
        ),
        ("haproxy", "squid", "unknown variant `squid`"),
        ("[proxy]", "[prxy]\na = 1\n[proxy]", "unknown field `prxy`"),
        ("[[api]]", "[[apis]]", "unknown field `apis`"),
        ("tenants", "tenant", "unknown field `tenant`"),
        (
            "tenants = [\"72f988bf-86f1-41af-91ab-2d7cd011db47\"]",
            "",
            "missing field `tenants`",
        ),
        (
            "\"72f988bf-86f1-41af-91ab-2d7cd011db47\"",
            "",
            "tenants is empty",
        ),
        (
            "72f988bf-86f1-41af-91ab-2d7cd011db47",
            "contoso",
            "a tenant is not a GUID",
        ),
        (
            "[\"72f988bf-86f1-41af-91ab-2d7cd011db47\"]",
            "\"all\"",
            "\"any\"",
        ),
        ("\"api://orders.contoso.com\"", "", "audiences is empty"),
        ("\"api://orders.contoso.com\"", "\"\"", "audiences is empty"),
        ("\"orders.contoso.com\"", "", "hosts is empty"),
        (
            "\"orders.contoso.com\"",
            "\"Orders.contoso.com\"",
            "in lower case without a port",
        ),
        (
            "\"orders.contoso.com\"",
            "\"orders.contoso.com:443\"",
            "in lower case without a port",
        ),
        (
            "\"orders.contoso.com\"",
            "\"*.contoso.com\"",
            "in lower case without a port",
        ),
        (
            "\"orders.contoso.com\"",
            "\"a\", \"a\"",
            "the host a occurs twice",
        ),
        (
            "[[api]]",
            "[limits]\nconnections = 0\n[[api]]",
            "between 1 and 65536",
        ),
        (
            "[[api]]",
            "[log]\ndecisions = \"some\"\n[[api]]",
            "unknown variant `some`",
        ),
        (
            "[[api]]",
            "[admin]\n[[api]]",
            "[admin]: expected either unix or tcp",
        ),
        (
            "[[api]]",
            "[keys]\nfile = \"a\"\nca_file = \"b\"\n[[api]]",
            "no effect beside file",
        ),
        (
            "tenants =",
            "skew = 86400\ntenants =",
            "the clock skew is longer than an hour",
        ),
        (
            "tenants =",
            "challenge_resource = \"a\\\"b\"\ntenants =",
            "without quotes",
        ),
        (
            "tenants =",
            "issuers = [{ version = 3, name = \"a\", metadata = \"https://a\" }]\ntenants =",
            "an issuer has a version other",
        ),
        (
            "tenants =",
            "issuers = [{ version = 1, name = \"a\", metadata = \"http://a\" }]\ntenants =",
            "metadata without https",
        ),
    ] {
        assert!(CONFIG.contains(from), "{from}");
        let error = Config::from_toml(&CONFIG.replacen(from, to, 1));
        let error = error.unwrap_err().to_string();
        assert!(error.contains(why), "{to}: {error}");
        assert!(!error.contains('\n'), "{error}");
    }
    let none = CONFIG.split("[[api]]").next().unwrap();
    let error = Config::from_toml(none).unwrap_err().to_string();
    assert!(error.contains("there is no [[api]]"), "{error}");
}

#[cfg(unix)]
mod running {
    use crate::support::{Table, runtime};
    use bytes::Bytes;
    use http::{Request, Response, StatusCode};
    use http_body_util::{BodyExt as _, Empty};
    use hyper::client::conn::http1::{self, SendRequest};
    use hyper_util::rt::TokioIo;
    use keybound_testing::attacks::{AttackCase, CLIENT, TENANT, cases, fixed_now};
    use keybound_testing::{Authority, assert_no_leak};
    use keybound_verify::{Config, Daemon, DecisionLog, LoadError, LoggedDecisions, StartError};
    use std::io::{self, Write};
    use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
    use std::path::Path;
    use std::sync::mpsc::{Receiver, Sender, channel};
    use std::sync::{Arc, LazyLock, Mutex};
    use std::time::Duration;
    use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
    use tokio::net::{TcpStream, UnixStream};

    fn table() -> &'static Table {
        static TABLE: LazyLock<Table> = LazyLock::new(|| Table::new(fixed_now()));
        &TABLE
    }

    /// A case by its name.
    fn case(name: &str) -> AttackCase {
        cases().into_iter().find(|case| case.name == name).unwrap()
    }

    /// The request of nginx for a case, for an API of any host.
    fn subrequest(case: &AttackCase, host: &str) -> Request<Empty<Bytes>> {
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

    async fn connect(
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    ) -> SendRequest<Empty<Bytes>> {
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        sender
    }

    async fn connect_unix(path: &Path) -> SendRequest<Empty<Bytes>> {
        connect(UnixStream::connect(path).await.unwrap()).await
    }

    async fn get(path: &Path, method: &str, target: &str) -> (StatusCode, String) {
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

    /// A configuration file of a test, with one API that accepts the tokens of the table whatever the time.
    struct Fixture {
        folder: tempfile::TempDir,
        config: Arc<Mutex<String>>,
    }

    impl Fixture {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let keys = folder.path().join("keys.json");
            std::fs::write(&keys, table().issuer.key_set().to_string()).unwrap();
            let config = format!(
                "[listen]\nunix = {:?}\n[proxy]\nengine = \"nginx\"\n[admin]\nunix = {:?}\n[keys]\nfile = {keys:?}\n[log]\ndecisions = \"all\"\n[[api]]\nhosts = [\"orders.contoso.com\"]\naudiences = [\"api://orders.contoso.com\"]\ntenants = [\"{TENANT}\"]\n",
                folder.path().join("verify.sock"),
                folder.path().join("admin.sock"),
            );
            Self {
                folder,
                config: Arc::new(Mutex::new(config)),
            }
        }

        fn socket(&self) -> std::path::PathBuf {
            self.folder.path().join("verify.sock")
        }

        fn admin(&self) -> std::path::PathBuf {
            self.folder.path().join("admin.sock")
        }

        fn replace(&self, from: &str, to: &str) {
            let mut config = self.config.lock().unwrap();
            assert!(config.contains(from), "{from}");
            *config = config.replacen(from, to, 1);
        }

        async fn start(&self, log: DecisionLog) -> Result<Daemon, StartError> {
            let config = Config::from_toml(&self.config.lock().unwrap()).unwrap();
            let again = Arc::clone(&self.config);
            let now = fixed_now();
            let extend = move |_: &str, builder: keybound_resource::VerifierBuilder| {
                builder.clock(crate::support::FixedClock::at(now))
            };
            let load = move || Config::from_toml(&again.lock().unwrap());
            Daemon::start(config, log, Arc::new(extend), load).await
        }
    }

    async fn status(
        sender: &mut SendRequest<Empty<Bytes>>,
        request: Request<Empty<Bytes>>,
    ) -> (u16, Response<hyper::body::Incoming>) {
        sender.ready().await.unwrap();
        let response = sender.send_request(request).await.unwrap();
        (response.status().as_u16(), response)
    }

    #[test]
    fn reload_replaces_policies_on_open_connections() {
        runtime().block_on(async {
            let fixture = Fixture::new();
            let daemon = fixture.start(DecisionLog::none()).await.unwrap();
            let mut sender = connect_unix(&fixture.socket()).await;
            let owner = case("version-2");
            let request = || subrequest(&owner, "orders.contoso.com");
            assert_eq!(status(&mut sender, request()).await.0, 200);
            // A role that the token does not have.
            fixture.replace("tenants =", "roles = [\"Orders.Admin\"]\ntenants =");
            daemon.reload().await.unwrap();
            assert_eq!(status(&mut sender, request()).await.0, 403);
            fixture.replace("roles = [\"Orders.Admin\"]\n", "");
            fixture.replace("orders.contoso.com", "billing.contoso.com");
            // By its address for operators too.
            let (reloaded, text) = get(&fixture.admin(), "POST", "/reload").await;
            assert_eq!((reloaded, &*text), (StatusCode::OK, "reloaded\n"));
            assert_eq!(status(&mut sender, request()).await.0, 403);
            let other = subrequest(&owner, "billing.contoso.com");
            assert_eq!(status(&mut sender, other).await.0, 200);
            daemon.stop(Duration::ZERO).await;
        });
    }

    /// `KEYBOUND_LONG_TESTS`: for two thousand reloads.
    #[test]
    fn reloads_under_load_refuse_no_request() {
        runtime().block_on(async {
            let fixture = Fixture::new();
            let daemon = fixture.start(DecisionLog::none()).await.unwrap();
            let reloads = match std::env::var_os("KEYBOUND_LONG_TESTS") {
                Some(_) => 2000,
                None => 20,
            };
            let ended = Arc::new(std::sync::atomic::AtomicBool::new(false));
            let clients = [(); 8].map(|()| {
                let (ended, socket) = (Arc::clone(&ended), fixture.socket());
                tokio::spawn(async move {
                    let mut sender = connect_unix(&socket).await;
                    let owner = case("version-2");
                    let mut answered = 0_u64;
                    while !ended.load(std::sync::atomic::Ordering::Relaxed) {
                        let request = subrequest(&owner, "orders.contoso.com");
                        assert_eq!(status(&mut sender, request).await.0, 200);
                        answered += 1;
                    }
                    answered
                })
            });
            for reload in 0..reloads {
                // Every third one is not usable.
                let sound = fixture.config.lock().unwrap().clone();
                if reload % 3 == 2 {
                    fixture.replace("tenants", "tenant");
                }
                assert_eq!(daemon.reload().await.is_ok(), reload % 3 != 2);
                *fixture.config.lock().unwrap() = sound;
                tokio::task::yield_now().await;
            }
            ended.store(true, std::sync::atomic::Ordering::Relaxed);
            for client in clients {
                assert!(client.await.unwrap() > 0);
            }
            daemon.stop(Duration::ZERO).await;
        });
    }

    #[test]
    fn configuration_that_is_not_usable_leaves_the_current_one() {
        runtime().block_on(async {
            let fixture = Fixture::new();
            let daemon = fixture.start(DecisionLog::none()).await.unwrap();
            let mut sender = connect_unix(&fixture.socket()).await;
            let owner = case("version-2");
            let sound = fixture.config.lock().unwrap().clone();
            for (from, to, why) in [
                ("tenants", "tenant", "unknown field `tenant`"),
                (
                    "verify.sock",
                    "other.sock",
                    "a change of [listen] needs a restart",
                ),
                (
                    "\"nginx\"",
                    "\"caddy\"",
                    "a change of [proxy] needs a restart",
                ),
                ("\"all\"", "\"none\"", "a change of [log] needs a restart"),
                ("keys.json", "none.json", "cannot be read"),
                (
                    "[[api]]",
                    "[limits]\nconnections = 2\n[[api]]",
                    "[limits] needs a restart",
                ),
            ] {
                fixture.replace(from, to);
                let error = daemon.reload().await.unwrap_err().to_string();
                assert!(error.contains(why), "{error}");
                let config = Config::from_toml(&sound).unwrap();
                let error = keybound_verify::request_reload(&config).await.unwrap_err();
                assert!(error.to_string().contains(why), "{error}");
                let request = subrequest(&owner, "orders.contoso.com");
                assert_eq!(status(&mut sender, request).await.0, 200, "{why}");
                fixture.config.lock().unwrap().clone_from(&sound);
            }
            daemon.reload().await.unwrap();
            let (_, metrics) = get(&fixture.admin(), "GET", "/metrics").await;
            for line in [
                "keybound_verify_reloads_total{outcome=\"succeeded\"} 1\n",
                "keybound_verify_reloads_total{outcome=\"failed\"} 12\n",
            ] {
                assert!(metrics.contains(line), "{metrics}");
            }
            daemon.stop(Duration::ZERO).await;
        });
    }

    #[test]
    fn new_policies_without_keys_leave_the_current_ones() {
        runtime().block_on(async {
            let fixture = Fixture::new();
            let daemon = fixture.start(DecisionLog::none()).await.unwrap();
            assert!(daemon.is_ready());
            // Nothing listens on this port.
            let keys = fixture.folder.path().join("keys.json");
            fixture.replace(&format!("[keys]\nfile = {keys:?}\n"), "");
            fixture.replace(
                "tenants =",
                "issuers = [{ version = 2, name = \"https://a/\", metadata = \"https://127.0.0.1:9/\" }]\ntenants =",
            );
            let error = daemon.reload().await.unwrap_err();
            let expected = LoadError::KeysUnavailable("orders.contoso.com".to_owned());
            assert_eq!(error, expected);
            assert!(daemon.is_ready());
            daemon.stop(Duration::ZERO).await;
            // At the start it waits for them: it is not ready, and denies.
            let waiting = fixture.start(DecisionLog::none()).await.unwrap();
            assert!(!waiting.is_ready());
            let (ready, _) = get(&fixture.admin(), "GET", "/readyz").await;
            assert_eq!(ready, StatusCode::SERVICE_UNAVAILABLE);
            let (healthy, _) = get(&fixture.admin(), "GET", "/healthz").await;
            assert_eq!(healthy, StatusCode::OK);
            waiting.stop(Duration::ZERO).await;
        });
    }

    #[test]
    fn operators_get_health_readiness_and_metrics() {
        runtime().block_on(async {
            let fixture = Fixture::new();
            let daemon = fixture.start(DecisionLog::none()).await.unwrap();
            for (method, target, expected) in [
                ("GET", "/healthz", 200),
                ("GET", "/readyz", 200),
                ("GET", "/metrics", 200),
                ("POST", "/metrics", 405),
                ("GET", "/reload", 405),
                ("GET", "/", 404),
                ("GET", "/orders", 404),
            ] {
                let (status, _) = get(&fixture.admin(), method, target).await;
                assert_eq!(status, expected, "{method} {target}");
            }
            let mut sender = connect_unix(&fixture.socket()).await;
            for (name, host) in [
                ("version-2", "orders.contoso.com"),
                ("no-certificate", "orders.contoso.com"),
                ("version-2", "other.contoso.com"),
                ("version-2", "orders.contoso.com@other"),
            ] {
                status(&mut sender, subrequest(&case(name), host)).await;
            }
            let (_, metrics) = get(&fixture.admin(), "GET", "/metrics").await;
            for line in [
                "# TYPE keybound_verify_decisions_total counter",
                "keybound_verify_decisions_total{api=\"orders.contoso.com\",outcome=\"allowed\",reason=\"\"} 1",
                "keybound_verify_decisions_total{api=\"orders.contoso.com\",outcome=\"denied\",reason=\"certificate_missing\"} 1",
                "keybound_verify_unknown_host_total 2",
                "keybound_verify_duration_seconds_bucket{api=\"orders.contoso.com\",le=\"+Inf\"} 2",
                "keybound_verify_duration_seconds_count{api=\"orders.contoso.com\"} 2",
                "keybound_verify_ready{api=\"orders.contoso.com\"} 1",
            ] {
                assert!(metrics.lines().any(|found| found == line), "{line}:\n{metrics}");
            }
            daemon.stop(Duration::ZERO).await;
        });
    }

    #[test]
    fn log_says_why_and_contains_no_secret() {
        runtime().block_on(async {
            let fixture = Fixture::new();
            let (output, lines) = channel();
            let log = DecisionLog::new(LoggedDecisions::All, Lines(output));
            let daemon = fixture.start(log).await.unwrap();
            let mut sender = connect_unix(&fixture.socket()).await;
            let owner = case("version-2");
            let thief = case("other-certificate-with-the-same-names");
            for (case, host) in [
                (&owner, "orders.contoso.com"),
                (&thief, "orders.contoso.com"),
                (&owner, "other.contoso.com"),
            ] {
                let request = subrequest(case, host);
                status(&mut sender, request).await;
            }
            let read = || next(&lines);
            let allowed = read();
            assert_eq!(allowed["decision"], "allowed");
            assert_eq!(allowed["client"], CLIENT);
            assert_eq!(allowed["tenant"], TENANT);
            assert_eq!(allowed["api"], "orders.contoso.com");
            assert_eq!(allowed["path"], "/orders", "without the query");
            let denied = read();
            assert_eq!(denied["decision"], "denied");
            assert_eq!(denied["reason"], "binding_mismatch");
            assert_eq!(denied["status"], 401);
            assert_eq!(denied.get("client"), None, "nothing was verified");
            let leaf = table().issuer.certificates.der("other").unwrap();
            let thumbprint = keybound_core::X5tS256::of_der(&leaf);
            assert_eq!(denied["certificate"], &thumbprint.as_str()[..8]);
            let unknown = read();
            assert_eq!(unknown["reason"], "host_unknown");
            let text = format!("{allowed}{denied}{unknown}");
            let token = owner.request(&table().issuer).authorization[0].clone();
            let token = String::from_utf8(token).unwrap();
            let token = token.strip_prefix("mtls_pop ").unwrap().to_owned();
            assert_no_leak(&[token, "swordfish".to_owned()], &text, "the log");
            assert!(!text.chars().any(char::is_control), "{text}");
            daemon.stop(Duration::ZERO).await;
        });
    }

    fn next(lines: &Receiver<String>) -> serde_json::Value {
        let line = lines.recv_timeout(Duration::from_secs(30)).unwrap();
        serde_json::from_str(&line).unwrap()
    }

    /// Sends what is written.
    struct Lines(Sender<String>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let text = String::from_utf8(bytes.to_vec()).unwrap();
            // The test may have ended.
            let _ = self.0.send(text);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn request_that_was_received_is_answered_before_the_end() {
        runtime().block_on(async {
            let fixture = Fixture::new();
            let daemon = fixture.start(DecisionLog::none()).await.unwrap();
            let mut stream = UnixStream::connect(fixture.socket()).await.unwrap();
            // The head is not complete yet when the daemon is stopped.
            stream
                .write_all(b"GET / HTTP/1.1\r\nhost: keybound\r\n")
                .await
                .unwrap();
            tokio::task::yield_now().await;
            let stopping = tokio::spawn(daemon.stop(Duration::from_secs(30)));
            while fixture.socket().exists() {
                tokio::task::yield_now().await;
            }
            stream.write_all(b"\r\n").await.unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
            stopping.await.unwrap();
        });
    }

    #[test]
    fn socket_has_its_permissions_and_replaces_only_a_stale_one() {
        runtime().block_on(async {
            let fixture = Fixture::new();
            fixture.replace("[proxy]", "mode = 0o600\n[proxy]");
            let daemon = fixture.start(DecisionLog::none()).await.unwrap();
            let file = std::fs::symlink_metadata(fixture.socket()).unwrap();
            assert!(file.file_type().is_socket());
            assert_eq!(file.permissions().mode() & 0o777, 0o600);
            let second = fixture.start(DecisionLog::none()).await.unwrap_err();
            assert!(
                second.to_string().contains("another process listens"),
                "{second}"
            );
            assert!(fixture.socket().exists());
            daemon.stop(Duration::ZERO).await;
            assert!(!fixture.socket().exists());
            // As a process that is killed leaves it.
            drop(std::os::unix::net::UnixListener::bind(fixture.socket()).unwrap());
            let daemon = fixture.start(DecisionLog::none()).await.unwrap();
            let mut sender = connect_unix(&fixture.socket()).await;
            let request = subrequest(&case("version-2"), "orders.contoso.com");
            assert_eq!(status(&mut sender, request).await.0, 200);
            daemon.stop(Duration::ZERO).await;
            std::fs::write(fixture.socket(), "data").unwrap();
            let file = fixture.start(DecisionLog::none()).await.unwrap_err();
            assert!(file.to_string().contains("not a socket"), "{file}");
            assert_eq!(std::fs::read(fixture.socket()).unwrap(), b"data");
        });
    }

    #[test]
    fn tls_admits_the_pinned_proxy_only() {
        runtime().block_on(async {
            let fixture = Fixture::new();
            let folder = fixture.folder.path();
            let authority = Authority::new("proxies");
            let (server, proxy, other) = (
                authority.server("localhost"),
                authority.server("proxy"),
                authority.server("proxy"),
            );
            let pem = |name: &str, bytes: &[u8]| {
                let path = folder.join(name);
                std::fs::write(&path, bytes).unwrap();
                path
            };
            let certificate = pem("server.pem", &server.certificate.to_pem().unwrap());
            let key = pem("server.key", &server.key.private_key_to_pem_pkcs8().unwrap());
            let client = pem("proxy.pem", &proxy.certificate.to_pem().unwrap());
            let socket = format!("unix = {:?}\n", fixture.socket());
            fixture.replace(
                &socket,
                &format!("tcp = \"0.0.0.0:0\"\n[listen.tls]\ncertificate = {certificate:?}\nkey = {key:?}\nclients = [{client:?}]\n"),
            );
            let daemon = fixture.start(DecisionLog::none()).await.unwrap();
            let port = daemon.address().unwrap().port();
            let request = || subrequest(&case("version-2"), "orders.contoso.com");
            let mut sender = connect(tls(port, Some(&proxy)).await).await;
            assert_eq!(status(&mut sender, request()).await.0, 200);
            for leaf in [Some(&other), None] {
                let mut sender = connect(tls(port, leaf).await).await;
                assert!(sender.send_request(request()).await.is_err());
            }
            daemon.stop(Duration::ZERO).await;
        });
    }

    async fn tls(
        port: u16,
        leaf: Option<&keybound_testing::Leaf>,
    ) -> tokio_openssl::SslStream<TcpStream> {
        use openssl::ssl::{SslConnector, SslMethod, SslVerifyMode};
        let mut connector = SslConnector::builder(SslMethod::tls_client()).unwrap();
        connector.set_verify(SslVerifyMode::NONE);
        if let Some(leaf) = leaf {
            connector.set_certificate(&leaf.certificate).unwrap();
            connector.set_private_key(&leaf.key).unwrap();
        }
        let ssl = connector.build().configure().unwrap();
        let ssl = ssl.into_ssl("localhost").unwrap();
        let tcp = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        let mut stream = tokio_openssl::SslStream::new(ssl, tcp).unwrap();
        std::pin::Pin::new(&mut stream).connect().await.unwrap();
        stream
    }

    #[test]
    fn large_heads_are_refused() {
        runtime().block_on(async {
            let fixture = Fixture::new();
            let daemon = fixture.start(DecisionLog::none()).await.unwrap();
            let huge = "x".repeat(512 * 1024);
            let many = "x-a: b\r\n".repeat(200);
            for head in [format!("x-a: {huge}\r\n"), many] {
                let mut stream = UnixStream::connect(fixture.socket()).await.unwrap();
                let request = format!("GET / HTTP/1.1\r\nhost: a\r\n{head}\r\n");
                // The daemon may close the connection before everything is sent.
                let _ = stream.write_all(request.as_bytes()).await;
                let mut answer = String::new();
                let _ = stream.read_to_string(&mut answer).await;
                assert!(
                    answer.is_empty() || answer.starts_with("HTTP/1.1 431"),
                    "{answer}"
                );
            }
            let mut sender = connect_unix(&fixture.socket()).await;
            let request = subrequest(&case("version-2"), "orders.contoso.com");
            assert_eq!(status(&mut sender, request).await.0, 200);
            daemon.stop(Duration::ZERO).await;
        });
    }
}
