//! The log of decisions.
use crate::fixture::{Fixture, case, connect_unix, status, subrequest, table};
use crate::support::lines::{Lines, next};
use crate::support::{paused_runtime, runtime};
use keybound_testing::assert_no_leak;
use keybound_testing::attacks::{AttackCase, CLIENT, TENANT};
use keybound_verify::{Daemon, DecisionLog, LoggedDecisions};
use std::io::{self, Write};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

#[test]
fn log_says_why_and_contains_no_secret() {
    runtime().block_on(async {
        let fixture = Fixture::new();
        let (daemon, lines) = start(&fixture).await;
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
        let token = token_of(&owner);
        assert_no_leak(&[token, "swordfish".to_owned()], &text, "the log");
        assert!(!text.chars().any(char::is_control), "{text}");
        daemon.stop(Duration::ZERO).await;
    });
}

#[test]
fn log_has_no_token_and_no_password_of_the_request_line() {
    runtime().block_on(async {
        let fixture = Fixture::new();
        let (daemon, lines) = start(&fixture).await;
        let mut sender = connect_unix(&fixture.socket()).await;
        let owner = case("version-2");
        let token = token_of(&owner);
        let mut request = subrequest(&owner, "user:swordfish@orders.contoso.com");
        let path = http::HeaderValue::from_bytes(format!("/x/{token}/\u{e4}\u{202e}").as_bytes());
        request
            .headers_mut()
            .insert("x-forwarded-uri", path.unwrap());
        status(&mut sender, request).await;
        let line = next(&lines);
        assert_eq!(line["host"], "orders.contoso.com");
        assert_eq!(line["path"], "/x/[redacted]/\u{e4}\u{fffd}");
        let secrets = [token, "swordfish".to_owned()];
        assert_no_leak(&secrets, &line.to_string(), "the log");
        daemon.stop(Duration::ZERO).await;
    });
}

#[test]
fn log_is_written_before_the_daemon_ends() {
    // Time does not advance as long as this test does something.
    paused_runtime().block_on(async {
        let fixture = Fixture::new();
        let (output, lines) = channel();
        let (gate, opened) = channel();
        let log = DecisionLog::new(LoggedDecisions::All, SlowLines(opened, Lines(output))).unwrap();
        let daemon = fixture.start(log).await.unwrap();
        let mut sender = connect_unix(&fixture.socket()).await;
        for _ in 0..20 {
            let request = subrequest(&case("version-2"), "orders.contoso.com");
            status(&mut sender, request).await;
        }
        drop(sender);
        let stopping = tokio::spawn(daemon.stop(Duration::from_secs(30)));
        while fixture.socket().exists() {
            tokio::task::yield_now().await;
        }
        for _ in 0..1000 {
            tokio::task::yield_now().await;
        }
        assert!(!stopping.is_finished(), "it does not wait for the reader");
        drop(gate);
        while !stopping.is_finished() {
            tokio::task::yield_now().await;
        }
        assert_eq!(lines.try_iter().count(), 20);
    });
}

/// A daemon that logs all decisions, and its log.
async fn start(fixture: &Fixture) -> (Daemon, Receiver<String>) {
    let (output, lines) = channel();
    let log = DecisionLog::new(LoggedDecisions::All, Lines(output)).unwrap();
    (fixture.start(log).await.unwrap(), lines)
}

fn token_of(case: &AttackCase) -> String {
    let authorization = case.request(&table().issuer).authorization[0].clone();
    let authorization = String::from_utf8(authorization).unwrap();
    authorization.strip_prefix("mtls_pop ").unwrap().to_owned()
}

/// Writes nothing before a channel is closed.
struct SlowLines(Receiver<()>, Lines);

impl Write for SlowLines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _ = self.0.recv();
        self.1.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
