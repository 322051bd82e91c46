use crate::api::{Api, REACHED};
use crate::client::Client;
use crate::engine::{Engine, EngineKind};
use crate::stall::Stalls;
use crate::support::{Table, host_of, runtime};
use http::header::{AUTHORIZATION, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderName, HeaderValue, Response};
use keybound_testing::attacks::{AttackCase, CLIENT, TestIssuer, Verdict, cases};
use keybound_verify::{Config, Daemon, DecisionLog, IDENTITY_HEADERS};
use std::net::Ipv4Addr;
use std::sync::LazyLock;
use std::time::{Duration, SystemTime};

/// Runs all cases through a proxy.
///
/// # Panics
/// With every wrong verdict, if there is one.
pub fn attack_table(kind: &EngineKind) {
    let table = shared_table();
    let runtime = runtime();
    let (daemon, config, api) = runtime.block_on(async {
        let (daemon, config) = start_daemon(kind, &table, DecisionLog::none()).await;
        (daemon, config, Api::start().await)
    });
    let engine = Engine::start(kind, table.folder(), &config, api.address);
    let mut client = Client::new(engine.address);
    let mut wrong = Vec::new();
    let mut not_sent = Vec::new();
    let stalls = Stalls::default();
    for case in cases() {
        let found = runtime.block_on(stalls.decided(
            async || send(kind, &table.issuer, &mut client, &case).await,
            |found| is_undecided(&case, found.as_ref()),
        ));
        match found {
            None => not_sent.push(case.name),
            Some(found) => {
                if let Err(difference) = compare(kind, &case, found) {
                    wrong.push(format!("{}: {difference}", case.name));
                }
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "{}: {} verdicts are wrong:\n{}",
        kind.name,
        wrong.len(),
        wrong.join("\n")
    );
    assert_eq!(not_sent, NOT_SENT, "{}", kind.name);
    drop(engine);
    runtime.block_on(daemon.stop(Duration::ZERO));
}

/// Starts the daemon for a proxy; the configuration names where it listens.
pub async fn start_daemon(kind: &EngineKind, table: &Table, log: DecisionLog) -> (Daemon, Config) {
    let mut config = config(kind, table);
    let daemon = table.start_with_config(config.clone(), log).await;
    config.listen.tcp = daemon.address();
    (daemon, config)
}

/// With a Unix socket, or any port of loopback.
pub fn config(kind: &EngineKind, table: &Table) -> Config {
    let mut config = Config::from_toml(&table.config(kind.name)).unwrap();
    if !kind.has_unix_sockets {
        config.listen.unix = None;
        config.listen.tcp = Some((Ipv4Addr::LOCALHOST, 0).into());
    }
    config
}

/// A table with a separate folder, and the keys that all tests share.
pub fn shared_table() -> Table {
    // TLS libraries compare certificates with the system's clock.
    #[expect(clippy::disallowed_methods, reason = "the proxy has this clock")]
    static ISSUER: LazyLock<(TestIssuer, SystemTime)> = LazyLock::new(|| {
        let now = SystemTime::now();
        (TestIssuer::new(now), now)
    });
    let (issuer, now) = &*ISSUER;
    Table::with_issuer(issuer.clone(), *now)
}

/// `None` for a case that no client can send by TLS and HTTP: certificates that are none, characters that no header has, and spaces that
/// do not belong to its value.
async fn send(
    kind: &EngineKind,
    issuer: &TestIssuer,
    client: &mut Client,
    case: &AttackCase,
) -> Option<Result<Verdict, String>> {
    let certificate = match &*case.certificate {
        "none" => None,
        "malformed" | "empty" | "trailing" | "two" => return None,
        name => Some(issuer.certificates.leaf(name)),
    };
    let request = case.request(issuer);
    let mut headers = HeaderMap::new();
    for value in &request.authorization {
        let is_space = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
        if is_space(value.first()) || is_space(value.last()) {
            return None;
        }
        headers.append(AUTHORIZATION, HeaderValue::from_bytes(value).ok()?);
    }
    for (name, value) in &request.headers {
        headers.append(HeaderName::try_from(name).unwrap(), value.parse().unwrap());
    }
    // What the daemon sets cannot be set by a client.
    for &name in IDENTITY_HEADERS {
        headers.insert(name, HeaderValue::from_static("spoofed"));
    }
    let certificate = (&*case.certificate, certificate);
    let host = host_of(case);
    let sent = client.send(&host, certificate, &request.path, &headers);
    Some(sent.await.map(|response| verdict(kind, case, &response)))
}

/// Whether the proxy answered without the daemon.
fn is_undecided(case: &AttackCase, found: Option<&Result<Verdict, String>>) -> bool {
    let Some(Ok(found)) = found else {
        return false;
    };
    found.status >= 500 && found.reason.is_none() && found.status != case.expect.status
}

fn verdict(kind: &EngineKind, case: &AttackCase, response: &Response<String>) -> Verdict {
    let body = response.body();
    if body.starts_with(REACHED) {
        assert_eq!(response.status(), 200);
        assert!(
            body.contains(&format!("x-keybound-client: {CLIENT}\n")),
            "{body}"
        );
        assert!(!body.contains("spoofed"), "{body}");
        if let Some(scopes) = case.token.claims.get("scp") {
            let scopes = scopes.as_str().unwrap();
            let header = format!("x-keybound-scopes: {scopes}\n");
            assert!(body.contains(&header), "{body}");
        }
        assert!(!body.contains("authorization: "), "{body}");
        return Verdict::accepted();
    }
    let header = |name: &str| {
        let mut values = response.headers().get_all(name).iter();
        let value = values
            .next()
            .map(|value| value.to_str().unwrap().to_owned());
        assert_eq!(values.next(), None, "{name}");
        value
    };
    let reason = header("x-keybound-reason").filter(|_| kind.names_reason);
    let challenge = header(WWW_AUTHENTICATE.as_str());
    // For Envoy by HTTP, this status of the daemon is an error, and the answer its own.
    let is_decided = reason.is_some() || !kind.names_reason;
    if is_decided && response.status() == 503 {
        let after = header(RETRY_AFTER.as_str());
        assert!(after.is_some(), "{}: no Retry-After", kind.name);
    }
    // What the proxy itself refuses has no reason.
    let names_reason = reason.is_some();
    let verdict = Verdict::refused(response.status().as_u16(), reason, challenge);
    match names_reason {
        true => verdict,
        false => verdict.without_reasons(),
    }
}

/// Compares a verdict with the expected one, or that of the proxy itself where it decides.
fn compare(
    kind: &EngineKind,
    case: &AttackCase,
    found: Result<Verdict, String>,
) -> Result<(), String> {
    let refused_by_tls = kind.refused_by_tls.contains(&&*case.name);
    let mut own = kind.own_verdicts.iter();
    let own = own.find(|(name, ..)| *name == case.name);
    match (found, own) {
        (Err(_), _) if refused_by_tls => Ok(()),
        (Err(error), _) => Err(error),
        (Ok(_), _) if refused_by_tls => Err("the handshake was not refused".to_owned()),
        (Ok(found), Some((_, status, reason))) => {
            match (found.status, found.reason.as_deref()) == (*status, *reason) {
                true => Ok(()),
                false => Err(format!("not the proxy's own verdict: {found:?}")),
            }
        }
        (Ok(found), None) => {
            let is_challenged = matches!(found.status, 400 | 401 | 403);
            if is_challenged != found.challenge.is_some() {
                return Err(format!("a challenge differs: {found:?}"));
            }
            case.expect.compare(&found)
        }
    }
}

/// See [`send`].
const NOT_SENT: [&str; 10] = [
    "scheme-and-space",
    "leading-space",
    "trailing-space",
    "certificate-malformed",
    "certificate-empty",
    "certificate-trailing",
    "certificate-two",
    "line-feed",
    "line-feed-in-the-claims",
    "nul",
];
