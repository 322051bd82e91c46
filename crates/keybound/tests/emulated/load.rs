//! Many bound calls at once, large bodies, and connections that end in between.
use crate::world::{GRAPH, VAULT, World, assert_failed, attested};
use keybound::http::{BoundClient, ConnectionInfo, RequestBody};
use keybound::http::{Method, Request, Response};
use keybound::{AccessToken, ErrorKind, KeyRequirements, Result, Stage, TokenRequest};
use keybound_emulator::{Config, TlsVersionRange};
use std::collections::BTreeMap;
use tokio::task::JoinSet;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bound_calls_at_once_arrive_once_each_with_their_certificate() {
    for (vault, resource) in [
        (TlsVersionRange::Tls12, VAULT),
        (TlsVersionRange::Tls13, VAULT),
        (TlsVersionRange::Tls12, GRAPH),
    ] {
        let mut config = Config::default();
        config.tls.vault = vault;
        let world = World::with(config);
        let request = TokenRequest::pop(resource, KeyRequirements::attested());
        let token = world.client().acquire_token(&request).await.unwrap();
        let (leg, url) = match resource {
            VAULT => ("vault", world.secret_url()),
            _ => ("graph", world.graph_url()),
        };
        let calls = Calls {
            client: token.bound_client().unwrap(),
            token,
            url,
        };
        for round in 0..rounds() {
            calls.round(round).await;
            world.assert_round(round, leg, &calls.token);
        }
        // A handshake for each connection, and no more of them than callers.
        assert!(world.count(&format!("{leg}-tls")) <= CALLERS as u64);
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
                    let answer = client.send(&token, request).await.unwrap();
                    assert_eq!(answer.status(), 200);
                    assert!(!info(&answer).repeated);
                    answer.bytes_limited(1 << 16).await.unwrap();
                }
            });
        }
        callers.join_all().await;
    }
}

impl World {
    /// Every call of the round has come once, with the certificate that the token is bound to.
    fn assert_round(&self, round: usize, leg: &str, token: &AccessToken) {
        let certificate = &token
            .binding()
            .unwrap()
            .certificate()
            .thumbprints()
            .x5t_s256;
        let mut ids = BTreeMap::new();
        for record in self.emulator.records() {
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
        assert_eq!(self.count(leg), u64::try_from(all).unwrap());
    }
}

#[tokio::test]
async fn a_megabyte_is_sent_on_an_authenticated_connection_and_is_otherwise_an_error() {
    for vault in [TlsVersionRange::Tls12, TlsVersionRange::Tls13] {
        let mut config = Config::default();
        config.tls.vault = vault;
        let world = World::with(config);
        let token = world.client().acquire_token(&attested()).await.unwrap();
        let client = token.bound_client().unwrap();
        let error = send(&client, &token, &world, Method::POST, 1 << 20).await;
        let error = error.unwrap_err();
        assert_failed(
            &error,
            ErrorKind::BodyTooLargeForRenegotiation,
            Stage::Resource,
        );
        let first = send(&client, &token, &world, Method::GET, 0).await;
        drop(first.unwrap().bytes_limited(1 << 16).await.unwrap());
        // The vault knows no POST, and says so once it has read it.
        let answer = send(&client, &token, &world, Method::POST, 1 << 20).await;
        let answer = answer.unwrap();
        assert_eq!(answer.status(), 405);
        assert!(info(&answer).reused && info(&answer).certificate_requested);
        let records = world.emulator.records();
        assert_eq!(records.last().unwrap().body_bytes, 1 << 20);
    }
}

#[tokio::test]
async fn a_kept_connection_that_ends_costs_a_safe_call_nothing_and_repeats_no_other() {
    for fault in ["vault=close", "vault=reset"] {
        for (method, expected) in [(Method::GET, Some(true)), (Method::PUT, None)] {
            let world = World::new();
            let token = world.client().acquire_token(&attested()).await.unwrap();
            let client = token.bound_client().unwrap();
            let first = send(&client, &token, &world, Method::GET, 0).await;
            drop(first.unwrap().bytes_limited(1 << 16).await.unwrap());
            world.inject(fault);
            let second = send(&client, &token, &world, method, 0).await;
            match &second {
                Ok(answer) => assert_eq!(Some(info(answer).repeated), expected),
                Err(error) => {
                    assert_eq!(expected, None);
                    assert_failed(error, ErrorKind::InvalidResponse, Stage::Resource);
                }
            }
            let arrived = if expected.is_some() { 3 } else { 2 };
            assert_eq!(world.count("vault"), arrived);
        }
    }
}

async fn send(
    client: &BoundClient,
    token: &AccessToken,
    world: &World,
    method: Method,
    length: usize,
) -> Result<Response> {
    let request = Request::builder()
        .method(method)
        .uri(world.secret_url())
        .body(RequestBody::full(vec![b'x'; length]))
        .unwrap();
    client.send(token, request).await
}

fn info(answer: &Response) -> &ConnectionInfo {
    answer.connection().unwrap()
}

fn id(round: usize, caller: usize, number: usize) -> String {
    format!("00000000-0000-{round:04}-{caller:04}-{number:012}")
}

/// `KEYBOUND_LONG_TESTS=1` has each caller make a thousand calls.
fn rounds() -> usize {
    let long = std::env::var_os("KEYBOUND_LONG_TESTS").is_some_and(|value| value == "1");
    if long { 10 } else { 1 }
}

const CALLERS: usize = 8;
/// Of each caller in a round, which the emulator's records hold in full.
const CALLS: usize = 100;
