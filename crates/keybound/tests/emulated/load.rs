//! Concurrent bound calls, large bodies, and connections that are closed in between.
use keybound::http::{BoundClient, ConnectionInfo, RequestBody};
use keybound::http::{Method, Request, Response};
use keybound::{AccessToken, ErrorKind, KeyRequirements, Result, Stage, TokenRequest};
use keybound_emulator::{Config, TlsVersionRange};
use keybound_testing::emulated::{GRAPH, TestHost, VAULT, assert_failed, attested};
use std::collections::BTreeMap;
use tokio::task::JoinSet;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_calls_arrive_once_each_with_their_certificate() {
    for (vault, resource) in [
        (TlsVersionRange::Tls12, VAULT),
        (TlsVersionRange::Tls13, VAULT),
        (TlsVersionRange::Tls12, GRAPH),
    ] {
        let mut config = Config::default();
        config.tls.vault = vault;
        let host = TestHost::with(config);
        let request = TokenRequest::pop(resource, KeyRequirements::attested());
        let token = host.client().acquire_token(&request).await.unwrap();
        let (leg, url) = match resource {
            VAULT => ("vault", host.secret_url()),
            _ => ("graph", host.graph_url()),
        };
        let calls = Calls {
            client: token.bound_client().unwrap(),
            token,
            url,
        };
        for round in 0..rounds() {
            calls.round(round).await;
            calls.assert_round(&host, round, leg);
        }
        // At most one connection for each caller.
        assert!(host.count(&format!("{leg}-tls")) <= CALLERS as u64);
    }
}

struct Calls {
    client: BoundClient,
    token: AccessToken,
    url: String,
}

impl Calls {
    async fn round(&self, round: usize) {
        let mut callers = JoinSet::new();
        for caller in 0..CALLERS {
            let (client, token, url) = (self.client.clone(), self.token.clone(), self.url.clone());
            callers.spawn(async move {
                for number in 0..CALLS {
                    let request = Request::get(&url)
                        .header("x-ms-client-request-id", id(round, caller, number))
                        .body(RequestBody::empty())
                        .unwrap();
                    let response = client.send(&token, request).await.unwrap();
                    assert_eq!(response.status(), 200);
                    assert!(!info(&response).retried);
                    response.bytes_limited(1 << 16).await.unwrap();
                }
            });
        }
        callers.join_all().await;
    }

    /// Asserts that every call of the round arrived once, with the certificate to which the token is bound.
    fn assert_round(&self, host: &TestHost, round: usize, leg: &str) {
        let certificate = &self
            .token
            .binding()
            .unwrap()
            .certificate()
            .thumbprints()
            .x5t_s256;
        let mut ids = BTreeMap::new();
        for record in host.emulator.records() {
            let id = record.headers.get("x-ms-client-request-id");
            let Some(id) = id.filter(|_| record.leg == leg) else {
                continue;
            };
            assert_eq!(record.client_certificate, Some(certificate.to_string()));
            *ids.entry(id.clone()).or_insert(0) += 1;
        }
        for caller in 0..CALLERS {
            for number in 0..CALLS {
                let id = id(round, caller, number);
                assert_eq!(ids.get(&id), Some(&1), "{id}");
            }
        }
        let all = (round + 1) * CALLERS * CALLS;
        assert_eq!(host.count(leg), u64::try_from(all).unwrap());
    }
}

#[tokio::test]
async fn large_body_needs_an_authenticated_connection() {
    for vault in [TlsVersionRange::Tls12, TlsVersionRange::Tls13] {
        let mut config = Config::default();
        config.tls.vault = vault;
        let host = TestHost::with(config);
        let token = host.client().acquire_token(&attested()).await.unwrap();
        let client = token.bound_client().unwrap();
        let error = send(&client, &token, &host, Method::POST, 1 << 20).await;
        let error = error.unwrap_err();
        assert_failed(
            &error,
            ErrorKind::BodyTooLargeForRenegotiation,
            Stage::Resource,
        );
        let first = send(&client, &token, &host, Method::GET, 0).await;
        drop(first.unwrap().bytes_limited(1 << 16).await.unwrap());
        // The vault supports no POST and rejects it after reading the body.
        let response = send(&client, &token, &host, Method::POST, 1 << 20).await;
        let response = response.unwrap();
        assert_eq!(response.status(), 405);
        assert!(info(&response).reused && info(&response).certificate_requested);
        let records = host.emulator.records();
        assert_eq!(records.last().unwrap().body_bytes, 1 << 20);
    }
}

#[tokio::test]
async fn repeats_only_safe_calls_on_a_closed_idle_connection() {
    for fault in ["vault=close", "vault=reset"] {
        for (method, expected) in [(Method::GET, Some(true)), (Method::PUT, None)] {
            let host = TestHost::new();
            let token = host.client().acquire_token(&attested()).await.unwrap();
            let client = token.bound_client().unwrap();
            let first = send(&client, &token, &host, Method::GET, 0).await;
            drop(first.unwrap().bytes_limited(1 << 16).await.unwrap());
            host.inject(fault);
            let second = send(&client, &token, &host, method, 0).await;
            match &second {
                Ok(response) => assert_eq!(Some(info(response).retried), expected),
                Err(error) => {
                    assert_eq!(expected, None);
                    assert_failed(error, ErrorKind::InvalidResponse, Stage::Resource);
                }
            }
            let arrived = if expected.is_some() { 3 } else { 2 };
            assert_eq!(host.count("vault"), arrived);
        }
    }
}

async fn send(
    client: &BoundClient,
    token: &AccessToken,
    host: &TestHost,
    method: Method,
    length: usize,
) -> Result<Response> {
    let request = Request::builder()
        .method(method)
        .uri(host.secret_url())
        .body(RequestBody::full(vec![b'x'; length]))
        .unwrap();
    client.send(token, request).await
}

fn info(response: &Response) -> &ConnectionInfo {
    response.connection().unwrap()
}

fn id(round: usize, caller: usize, number: usize) -> String {
    format!("00000000-0000-{round:04}-{caller:04}-{number:012}")
}

/// With `KEYBOUND_LONG_TESTS=1`, each caller makes a thousand calls.
fn rounds() -> usize {
    let long = std::env::var_os("KEYBOUND_LONG_TESTS").is_some_and(|value| value == "1");
    if long { 10 } else { 1 }
}

const CALLERS: usize = 8;
/// The calls of each caller in a round. The emulator records all of them.
const CALLS: usize = 100;
