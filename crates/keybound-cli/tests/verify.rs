//! `keybound verify`: the daemon as a process, the steps for one token, and the guides for proxies as they are written.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a panic fails the test")]

mod support;

use keybound_testing::attacks::{TENANT, TestIssuer, TokenRecipe};
use keybound_testing::{ReservedPort, assert_no_leak};
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant, SystemTime};
use support::emulated::Emulated;
use support::{keybound, run, run_with_input, spawn};
use tempfile::TempDir;

/// An issuer whose tokens are valid now, and a configuration with its keys.
struct Fixture {
    issuer: TestIssuer,
    folder: TempDir,
}

impl Fixture {
    fn new() -> Self {
        #[expect(clippy::disallowed_methods, reason = "the program has this clock")]
        let issuer = TestIssuer::new(SystemTime::now());
        let fixture = Self {
            issuer,
            folder: tempfile::tempdir().unwrap(),
        };
        fs::write(
            fixture.path("keys.json"),
            fixture.issuer.key_file().to_string(),
        )
        .unwrap();
        fixture.configure("");
        fixture
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes the configuration, with further settings of the API.
    fn configure(&self, further: &str) {
        let text = format!(
            "[listen]\nunix = {:?}\n[proxy]\nengine = \"haproxy\"\n[admin]\nunix = {:?}\n[keys]\nfile = {:?}\n[log]\ndecisions = \"all\"\n[[api]]\nhosts = [\"orders.contoso.com\"]\naudiences = [\"api://orders.contoso.com\"]\ntenants = [\"{TENANT}\"]\n{further}",
            self.path("verify.sock"),
            self.path("admin.sock"),
            self.path("keys.json"),
        );
        fs::write(self.path("verify.toml"), text).unwrap();
    }

    fn certificate(&self, name: &str) -> PathBuf {
        let path = self.path(name);
        let leaf = self.issuer.certificates.leaf(name);
        fs::write(&path, leaf.certificate.to_pem().unwrap()).unwrap();
        path
    }

    fn token(&self) -> String {
        // The default is a valid one.
        let recipe: TokenRecipe = serde_json::from_str("{}").unwrap();
        recipe.make(&self.issuer)
    }
}

fn serve(fixture: &Fixture) -> Command {
    let mut command = keybound(["verify", "serve", "--config"]);
    command.arg(fixture.path("verify.toml"));
    command
}

/// `keybound verify serve`, which is killed on drop.
struct Served {
    child: Child,
    stdout: BufReader<ChildStdout>,
    stderr: BufReader<ChildStderr>,
}

impl Served {
    fn start(fixture: &Fixture) -> Self {
        let mut served = Self::spawn(&mut serve(fixture));
        served.expect("listening on");
        served
    }

    fn spawn(command: &mut Command) -> Self {
        let command = command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = spawn(command);
        Self {
            stdout: BufReader::new(child.stdout.take().unwrap()),
            stderr: BufReader::new(child.stderr.take().unwrap()),
            child,
        }
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Waits for a line on standard error, and returns all until then.
    fn expect(&mut self, text: &str) -> String {
        let mut read = String::new();
        loop {
            let start = read.len();
            assert_ne!(
                self.stderr.read_line(&mut read).unwrap(),
                0,
                "{text}: {read}"
            );
            if read[start..].contains(text) {
                return read;
            }
        }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The status that the daemon returns for the owner's token.
fn ask(fixture: &Fixture) -> String {
    send(fixture, &request(fixture, "client")).unwrap()
}

/// A request with a valid token, on a connection with this certificate.
fn request(fixture: &Fixture, certificate: &str) -> String {
    use base64::Engine as _;
    let der = fixture.issuer.certificates.der(certificate).unwrap();
    let certificate = base64::engine::general_purpose::STANDARD.encode(der);
    format!(
        "GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\nx-forwarded-host: orders.contoso.com\r\nauthorization: mtls_pop {}\r\nx-ssl-client-der: {certificate}\r\n\r\n",
        fixture.token()
    )
}

/// The status of the answer. An error if there is none.
fn send(fixture: &Fixture, request: &str) -> io::Result<String> {
    let mut stream = UnixStream::connect(fixture.path("verify.sock"))?;
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let status = answer.split(' ').nth(1).map(str::to_owned);
    status.ok_or(io::ErrorKind::UnexpectedEof.into())
}

#[test]
fn signals_reload_and_stop_the_daemon() {
    let fixture = Fixture::new();
    let mut served = Served::start(&fixture);
    assert_eq!(ask(&fixture), "200");
    let mut line = String::new();
    served.stdout.read_line(&mut line).unwrap();
    let decision: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(decision["decision"], "allowed");
    assert_no_leak(&[fixture.token()], &line, "the log");
    // One that is not usable changes nothing, and says why.
    fixture.configure("rols = [\"a\"]\n");
    served.signal(Signal::HUP);
    let file = fixture.path("verify.toml");
    served.expect(&format!(
        "the configuration remains as it was: {}: line 15: unknown field `rols`",
        file.display()
    ));
    // It is read by the rules of the start.
    for (content, why) in [
        (b"# \xff\n".to_vec(), "it is not UTF-8"),
        (
            vec![b'#'; 1024 * 1024 + 1],
            "it is longer than 1048576 bytes",
        ),
    ] {
        fs::write(fixture.path("verify.toml"), content).unwrap();
        served.signal(Signal::HUP);
        served.expect(why);
    }
    assert_eq!(ask(&fixture), "200");
    let mut reload = keybound(["verify", "reload", "--config"]);
    fixture.configure("roles = [\"Orders.Admin\"]\n");
    let reloaded = run(reload.arg(fixture.path("verify.toml")));
    assert_eq!(reloaded.status, Some(0), "{reloaded:?}");
    assert_eq!(ask(&fixture), "403");
    served.signal(Signal::TERM);
    let status = served.child.wait().unwrap();
    assert_eq!(status.code(), Some(0));
    assert!(!fixture.path("verify.sock").exists());
    assert!(!fixture.path("admin.sock").exists());
}

#[test]
fn stop_does_not_wait_for_a_reload() {
    let fixture = Fixture::new();
    let mut served = Served::start(&fixture);
    // An issuer that accepts connections, and does not respond.
    let issuer = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let metadata = format!("https://{}/", issuer.local_addr().unwrap());
    fixture.configure(&format!(
        "issuers = [{{ version = 2, name = \"https://a/{{tenantid}}/\", metadata = \"{metadata}\" }}]\n"
    ));
    let config = fs::read_to_string(fixture.path("verify.toml")).unwrap();
    let file = format!("file = {:?}\n", fixture.path("keys.json"));
    fs::write(fixture.path("verify.toml"), config.replace(&file, "")).unwrap();
    served.signal(Signal::HUP);
    let _reloading = accepted(&issuer);
    served.signal(Signal::TERM);
    let status = served.child.wait().unwrap();
    assert_eq!(status.code(), Some(0));
    let mut log = String::new();
    served.stderr.read_to_string(&mut log).unwrap();
    assert!(!log.contains("the configuration remains"), "{log}");
    assert!(!fixture.path("verify.sock").exists());
}

/// A connection, within the time that a busy machine needs.
fn accepted(listener: &TcpListener) -> TcpStream {
    listener.set_nonblocking(true).unwrap();
    let end = Instant::now() + Duration::from_secs(120);
    loop {
        match listener.accept() {
            Ok((stream, _)) => return stream,
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
        }
        assert!(Instant::now() < end, "nothing connects");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn files_that_would_block_are_refused() {
    let fixture = Fixture::new();
    let pipe = fixture.path("pipe");
    let made = Command::new("mkfifo").arg(&pipe).status();
    assert!(made.unwrap().success());
    let config = fixture.path("verify.toml");
    for (option, arguments) in [
        ("--config", [&pipe, &config, &config]),
        ("--token-file", [&config, &pipe, &config]),
        (
            "--certificate",
            [&config, &fixture.path("verify.toml"), &pipe],
        ),
    ] {
        let mut command = keybound(["verify", "check"]);
        for (option, argument) in ["--config", "--token-file", "--certificate"]
            .into_iter()
            .zip(arguments)
        {
            command.arg(option).arg(argument);
        }
        let refused = run(&mut command);
        assert_eq!(refused.status, Some(2), "{option}: {refused:?}");
        let why = "it is not a regular file";
        assert!(refused.stderr.contains(why), "{option}: {refused:?}");
        assert!(refused.stderr.contains(option), "{option}: {refused:?}");
    }
}

/// A daemon that is killed leaves its socket, which the next one replaces. Under load, no answer is wrong, and its sockets refuse
/// connections after its end. `KEYBOUND_LONG_TESTS`: 500 times.
#[test]
fn starts_again_after_it_was_killed() {
    let fixture = Fixture::new();
    let rounds = match std::env::var_os("KEYBOUND_LONG_TESTS") {
        Some(_) => 500,
        None => 5,
    };
    let (ended, answers) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        // Also if a round fails.
        let end = EndsOnDrop(&ended);
        for (certificate, expected) in [("client", "200"), ("other", "401")] {
            let (fixture, ended, answers) = (&fixture, &ended, &answers);
            scope.spawn(move || {
                let request = request(fixture, certificate);
                while !ended.load(Relaxed) {
                    match send(fixture, &request) {
                        Ok(status) => {
                            assert_eq!(status, expected, "{certificate}");
                            answers.fetch_add(1, Relaxed);
                        }
                        Err(_) => std::thread::yield_now(),
                    }
                }
            });
        }
        for round in 0..rounds {
            let served = Served::start(&fixture);
            assert_eq!(ask(&fixture), "200", "{round}");
            served.signal(Signal::KILL);
            drop(served);
            for socket in ["verify.sock", "admin.sock"] {
                assert!(fixture.path(socket).exists(), "{round}");
                let connected = UnixStream::connect(fixture.path(socket));
                assert!(connected.is_err(), "{round}: {socket}");
            }
        }
        drop(end);
    });
    assert!(answers.into_inner() > 0);
    let _last = Served::start(&fixture);
    assert_eq!(ask(&fixture), "200");
}

struct EndsOnDrop<'a>(&'a AtomicBool);

impl Drop for EndsOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

#[test]
fn check_explains_each_step() {
    let fixture = Fixture::new();
    let config = fixture.path("verify.toml");
    let token = fixture.token();
    fs::write(fixture.path("token"), &token).unwrap();
    let check = |certificate: Option<&str>, json: bool| {
        let mut command = keybound(["verify", "check", "--token-file", "-", "--config"]);
        command.arg(&config);
        if let Some(name) = certificate {
            command.arg("--certificate").arg(fixture.certificate(name));
        }
        if json {
            command.arg("--json");
        }
        let run = run_with_input(&mut command, format!("{token}\n").as_bytes());
        assert_no_leak(std::slice::from_ref(&token), &run.printed(), "check");
        run
    };
    let accepted = check(Some("client"), false);
    assert_eq!(accepted.status, Some(0), "{accepted:?}");
    assert!(!accepted.stdout.contains("FAIL"), "{accepted:?}");
    assert!(
        accepted
            .stdout
            .contains("The request is accepted by the policy of orders.contoso.com.")
    );
    let stolen = check(Some("other"), false);
    assert_eq!(stolen.status, Some(1), "{stolen:?}");
    for line in [
        "ok    certificate ",
        "FAIL  binding      the token is bound to another certificate: the token names the certificate ",
        "-     signature    not checked",
        "The request is refused with status 401: binding_mismatch.",
        "WWW-Authenticate: mtls_pop realm=\"\", error=\"invalid_token\"",
    ] {
        assert!(stolen.stdout.contains(line), "{line}: {}", stolen.stdout);
    }
    let without = check(None, true).json();
    assert_eq!(without["accepted"], false);
    assert_eq!(without["reason"], "certificate_missing");
    let steps = without["steps"].as_array().unwrap();
    let outcomes: Vec<_> = steps
        .iter()
        .map(|step| step["outcome"].as_str().unwrap())
        .collect();
    assert_eq!(outcomes[..4], ["passed", "passed", "failed", "not_checked"]);
    // From a file, with its scheme, and for a host that does not exist.
    fs::write(fixture.path("token"), format!("mtls_pop {token}")).unwrap();
    let of_file = |host: &str| {
        let mut command = keybound(["verify", "check", "--host", host, "--token-file"]);
        command
            .arg(fixture.path("token"))
            .arg("--config")
            .arg(&config);
        run(command
            .arg("--certificate")
            .arg(fixture.certificate("client")))
    };
    assert_eq!(of_file("orders.contoso.com").status, Some(0));
    let unknown = of_file("other.contoso.com");
    assert_eq!(unknown.status, Some(2));
    assert!(
        unknown
            .stderr
            .contains("no API has the host other.contoso.com: the hosts are orders.contoso.com"),
        "{unknown:?}"
    );
}

#[test]
fn check_names_what_differs() {
    let fixture = Fixture::new();
    let check = |token: &[u8], certificate: &Path| {
        fs::write(fixture.path("token"), token).unwrap();
        let mut command = keybound(["verify", "check", "--config"]);
        let command = command.arg(fixture.path("verify.toml"));
        let command = command.arg("--token-file").arg(fixture.path("token"));
        run(command.arg("--certificate").arg(certificate))
    };
    let (token, certificate) = (fixture.token(), fixture.certificate("client"));
    // As curl shows it, and as some editors write it.
    for text in [
        format!("Authorization: mtls_pop {token}\r\n"),
        format!("\u{feff}{token}\n"),
    ] {
        let accepted = check(text.as_bytes(), &certificate);
        assert_eq!(accepted.status, Some(0), "{accepted:?}");
        for part in [
            ", valid from 20",
            "; now is 20",
            "; accepted issuers: https://login.microsoftonline.com/{tenantid}/v2.0, https://sts",
        ] {
            assert!(accepted.stdout.contains(part), "{part}: {accepted:?}");
        }
    }
    let wrong = |claims: &str| {
        let recipe: TokenRecipe = serde_json::from_str(claims).unwrap();
        check(recipe.make(&fixture.issuer).as_bytes(), &certificate)
    };
    for (claims, why) in [
        (
            r#"{"claims": {"exp": "1"}}"#,
            "exp is \"1\", expected a number",
        ),
        (
            r#"{"claims": {"aud": 5}}"#,
            "aud is 5, expected a text or a list",
        ),
        (
            r#"{"claims": {"exp": 1795968000}}"#,
            "exp is 1795968000 (2026-11-29T",
        ),
    ] {
        let refused = wrong(claims);
        assert_eq!(refused.status, Some(1), "{refused:?}");
        assert!(refused.stdout.contains(why), "{why}: {refused:?}");
    }
    let der = fixture.issuer.certificates.der("client").unwrap();
    fs::write(fixture.path("der"), der).unwrap();
    for (token, certificate, why) in [
        (token.as_bytes(), "der", "openssl x509 -inform der"),
        (
            token.as_bytes(),
            "keys.json",
            "keys.json: it is not a certificate in PEM",
        ),
        (b"\n", "client", "token: it is empty"),
    ] {
        let refused = check(token, &fixture.path(certificate));
        assert_eq!(refused.status, Some(2), "{refused:?}");
        assert!(refused.stderr.contains(why), "{why}: {refused:?}");
    }
    // Keys that are too old.
    let mut file = fixture.issuer.key_file();
    for entry in file["issuers"].as_array_mut().unwrap() {
        entry["fetched_at"] = (fixture.issuer.now() - 90_000).into();
    }
    fs::write(fixture.path("keys.json"), file.to_string()).unwrap();
    let refused = check(token.as_bytes(), &certificate);
    let why = format!(
        "in the key file {} were fetched more than 25 h ago, and their max_age is 86400 s",
        fixture.path("keys.json").display()
    );
    assert!(refused.stdout.contains(&why), "{refused:?}");
    // Before or after the daemon listens.
    Served::spawn(&mut serve(&fixture)).expect(&why);
}

#[test]
fn keys_of_emulated_entra_are_written_for_other_daemons() {
    let emulated = Emulated::in_this_process();
    let sts = emulated.ready["sts"]
        .as_str()
        .unwrap()
        .trim_end_matches('/')
        .to_owned();
    let fixture = Fixture::new();
    let issuers = [("/v2.0", 2), ("/", 1)].map(|(suffix, version)| {
        let metadata = format!("{sts}/{{tenantid}}{}/.well-known/openid-configuration", suffix.trim_end_matches('/'));
        format!("[[api.issuers]]\nversion = {version}\nname = \"{sts}/{{tenantid}}{suffix}\"\nmetadata = \"{metadata}\"\n")
    });
    let further = issuers.concat();
    fixture.configure(&further);
    let config = fs::read_to_string(fixture.path("verify.toml")).unwrap();
    let tenant = keybound_emulator::Config::default().tenant_id;
    let file = format!("file = {:?}", fixture.path("keys.json"));
    let ca = format!(
        "ca_file = {:?}",
        emulated.ready["ca_file"].as_str().unwrap()
    );
    let config = config.replace(TENANT, tenant.as_str()).replace(&file, &ca);
    fs::write(fixture.path("verify.toml"), &config).unwrap();
    let mut command = keybound(["verify", "keys", "--config"]);
    command
        .arg(fixture.path("verify.toml"))
        .arg("--output")
        .arg(fixture.path("written.json"));
    let run = run(&mut command);
    assert_eq!(run.status, Some(0), "{run:?}");
    let written = fs::read(fixture.path("written.json")).unwrap();
    let file: serde_json::Value = serde_json::from_slice(&written).unwrap();
    let issuers = file["issuers"].as_array().unwrap();
    assert_eq!(issuers.len(), 2, "{file}");
    for issuer in issuers {
        let name = issuer["issuer"].as_str().unwrap();
        assert!(name.contains(tenant.as_str()), "{name}");
        assert!(issuer["fetched_at"].as_i64().unwrap() >= fixture.issuer.now());
        let keys = issuer["keys"].as_array().unwrap();
        assert!(!keys.is_empty());
        assert!(
            keys.iter()
                .all(|key| key["kty"] == "RSA" && key["n"].is_string()),
            "{keys:?}"
        );
    }
    let mode = fs::metadata(fixture.path("written.json"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o644);
    // For engines that check alone: the keys of one issuer.
    let write = |arguments: &[&str]| {
        let mut command = keybound(["verify", "keys", "--config"]);
        let config = fixture.path("verify.toml");
        command.arg(config).arg("--output").arg(fixture.path("pem"));
        support::run(command.args(arguments))
    };
    fs::create_dir(fixture.path("pem")).unwrap();
    let several = write(&["--format", "pem"]);
    assert_eq!(several.status, Some(2), "{several:?}");
    let problem = "--issuer: the configuration has several issuers";
    assert!(several.stderr.contains(problem), "{several:?}");
    let version_1 = issuers
        .iter()
        .find(|issuer| !issuer["issuer"].as_str().unwrap().ends_with("v2.0"))
        .unwrap();
    let name = version_1["issuer"].as_str().unwrap();
    let one = write(&["--format", "pem", "--issuer", name]);
    assert_eq!(one.status, Some(0), "{one:?}");
    for key in version_1["keys"].as_array().unwrap() {
        let file = format!("pem/{}.pem", key["kid"].as_str().unwrap());
        let pem = fs::read_to_string(fixture.path(&file)).unwrap();
        assert!(pem.starts_with("-----BEGIN PUBLIC KEY-----\n"), "{pem}");
    }
    // The last keys remain while the issuer does not respond.
    let reachable = format!("metadata = \"{sts}");
    let config = config.replace(&reachable, "metadata = \"https://127.0.0.1:1");
    fs::write(fixture.path("verify.toml"), config).unwrap();
    let mut command = keybound(["verify", "keys", "--watch", "--config"]);
    command
        .arg(fixture.path("verify.toml"))
        .arg("--output")
        .arg(fixture.path("written.json"));
    let mut watching = Served::spawn(&mut command);
    let unreachable = watching.expect("error: ");
    assert!(
        unreachable.contains("could not be loaded: ") && unreachable.contains("refused"),
        "{unreachable}"
    );
    watching.signal(Signal::TERM);
    assert!(watching.child.wait().unwrap().success());
    let remaining = fs::read(fixture.path("written.json")).unwrap();
    let remaining: serde_json::Value = serde_json::from_slice(&remaining).unwrap();
    assert_eq!(remaining, file);
}

#[test]
fn guide_for_envoy_runs_as_it_is_written() {
    run_guide("resource-envoy.md");
}

#[test]
fn guide_for_nginx_runs_as_it_is_written() {
    run_guide("resource-nginx.md");
}

/// Runs the commands of a guide in an empty folder, in a shell that the emulator starts.
fn run_guide(page: &str) {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs");
    let text = fs::read_to_string(docs.join(page)).unwrap();
    let blocks = text.split("```sh\n").skip(1);
    let blocks: Vec<_> = blocks
        .map(|block| block.split("```").next().unwrap())
        .collect();
    assert!(blocks.len() >= 5, "{page}");
    let script = format!("set -eu\ntrap 'kill $(jobs -p)' EXIT\n{}", blocks.concat());
    let folder = tempfile::tempdir().unwrap();
    // Worker processes may have another account.
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(folder.path().join("guide.sh"), script).unwrap();
    let [port, api] = [(); 2].map(|()| ReservedPort::new());
    let guide = [
        "emulator", "--exec", "--", "timeout", "300", "bash", "guide.sh",
    ];
    let mut command = keybound(guide);
    let path = command
        .get_envs()
        .find(|(name, _)| *name == "PATH")
        .unwrap()
        .1
        .unwrap();
    let mut path = path.to_owned();
    path.push(":");
    path.push(envoy_folder());
    command
        .current_dir(folder.path())
        .env("PATH", path)
        .env("PORT", port.port().to_string())
        .env("API_PORT", api.port().to_string());
    let run = run(&mut command);
    assert_eq!(run.status, Some(0), "{page}: {}", run.printed());
    for line in [
        "orders for ",
        "401\nmtls_pop realm=\"\", error=\"invalid_token\", error_description=\"the token is bound to another certificate\"\n",
        "\"reason\":\"binding_mismatch\"",
        "FAIL  binding ",
    ] {
        assert!(
            run.stdout.contains(line),
            "{page}: {line}: {}",
            run.printed()
        );
    }
}

/// Where scripts/setup installs it.
fn envoy_folder() -> PathBuf {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")));
    let folder = cache
        .unwrap_or_default()
        .join("keybound/envoy-1.40.0/envoy/_bin");
    assert!(
        folder.exists(),
        "{} is missing: scripts/setup test installs it",
        folder.display()
    );
    folder
}
