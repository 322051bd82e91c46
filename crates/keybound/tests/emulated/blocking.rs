//! The blocking client, for programs without a runtime.
use keybound::http::Request;
use keybound::http::RequestBody;
use keybound::{
    AccessToken, ErrorKind, KeyRequirements, Step, StepEvent, TokenRequest, TokenSource, blocking,
};
use keybound_emulator::Config;
use keybound_testing::emulated::{GRAPH, TestHost, attested};
use std::io::Read;
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

#[test]
fn acquires_a_token_and_calls_without_a_runtime() {
    let host = TestHost::new();
    let client = blocking::ManagedIdentityClient::new(host.client());
    let token = client.acquire_token(&attested()).unwrap();
    assert_eq!(
        client.clone().acquire_token(&attested()).unwrap().source(),
        TokenSource::Cache
    );
    let request = Request::get(host.secret_url())
        .body(RequestBody::empty())
        .unwrap();
    let response = client.send(&token, request).unwrap();
    assert_eq!(response.status(), 200);
    let text = response.text().unwrap();
    assert!(text.contains("only the holder of the key reads this"));
    let request = Request::get(host.secret_url())
        .body(RequestBody::empty())
        .unwrap();
    let read = client.send(&token, request).unwrap().bytes_limited(10);
    assert_eq!(read.unwrap_err().kind(), ErrorKind::ResponseTooLarge);
}

#[test]
fn returns_a_cached_token_while_its_thread_is_busy() {
    let host = TestHost::new();
    let (busy, is_busy) = mpsc::channel();
    let (release, released) = mpsc::channel::<()>();
    let released = Mutex::new(released);
    // Blocks the client's thread at each step of the second acquisition.
    let armed = Arc::new(Mutex::new(false));
    let listener_armed = Arc::clone(&armed);
    let client = host.builder().on_step(move |_: &StepEvent| {
        if *listener_armed.lock().unwrap() {
            busy.send(()).unwrap();
            let _ = released.lock().unwrap().recv();
        }
    });
    let client = blocking::ManagedIdentityClient::new(client.build().unwrap());
    client.acquire_token(&attested()).unwrap();
    *armed.lock().unwrap() = true;
    let other = client.clone();
    let second = std::thread::spawn(move || {
        let graph = TokenRequest::pop(GRAPH, KeyRequirements::attested());
        other.acquire_token(&graph)
    });
    is_busy.recv().unwrap();
    let (sender, receiver) = mpsc::channel();
    let third = client.clone();
    let hit = std::thread::spawn(move || sender.send(third.acquire_token(&attested())));
    let token = receiver.recv_timeout(WAIT);
    drop(release);
    let source = token.map(|token| token.unwrap().source());
    assert_eq!(source, Ok(TokenSource::Cache));
    second.join().unwrap().unwrap();
    hit.join().unwrap().unwrap();
}

#[test]
fn refreshes_a_due_token_in_the_background() {
    let mut config = Config::default();
    config.entra.token_lifetime_seconds = 8 * 3600;
    let host = TestHost::with(config);
    let (sender, events) = mpsc::channel();
    let client = host.builder().on_step(move |event: &StepEvent| {
        if event.step == Step::BindingCheck {
            sender.send(()).unwrap();
        }
    });
    let client = blocking::ManagedIdentityClient::new(client.build().unwrap());
    assert!(client.cached_token(&attested()).is_none());
    let first = client.acquire_token(&attested()).unwrap();
    events.recv().unwrap();
    host.emulator.clock().advance(4 * 3600 + 60);
    let due = client.cached_token(&attested()).unwrap();
    assert_eq!(due.secret(), first.secret());
    events.recv_timeout(WAIT).unwrap();
    // The token is cached after its last step.
    let is_new = |token: &AccessToken| token.secret() != first.secret();
    let refreshed = std::iter::repeat_with(|| client.acquire_token(&attested()).unwrap());
    let refreshed = refreshed.into_iter().find(is_new).unwrap();
    assert_eq!(refreshed.source(), TokenSource::Cache);
    assert_eq!(host.count("token"), 2);
}

#[test]
fn returns_errors_and_is_shared_by_threads() {
    let host = TestHost::new();
    let client = blocking::ManagedIdentityClient::new(host.client());
    host.inject("metadata=hang");
    let error = client
        .acquire_token(&attested().timeout(Duration::from_millis(100)))
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DeadlineExceeded);
    // A busy machine may not have sent the request in time.
    host.emulator.clear_faults();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| client.acquire_token(&attested()).unwrap());
        }
    });
    assert_eq!(host.count("issue"), 1);
}

#[test]
fn calls_a_resource_without_a_runtime() {
    let host = TestHost::new();
    let client = blocking::ManagedIdentityClient::new(host.client());
    let vault = client.resource_client(attested()).unwrap();
    let response = vault.get(host.secret_url()).send().unwrap();
    assert_eq!(response.status(), 200);
    let secret: serde_json::Value = response.json().unwrap();
    assert_eq!(secret["value"], "only the holder of the key reads this");
    // A challenge is handled as in the async client.
    host.inject(r#"vault=claims-challenge:{"a":1}"#);
    let put = serde_json::json!({"value": "x"});
    let response = vault.put(host.secret_url()).json(&put).send().unwrap();
    assert_eq!(response.status(), 200);
    let error = vault.get("http://a.example/").send().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidRequest);
}

#[test]
fn streams_bodies_without_a_runtime() {
    let host = TestHost::new();
    let client = blocking::ManagedIdentityClient::new(host.client());
    let vault = client.resource_client(attested()).unwrap();
    let value = "v".repeat(20_000);
    let body = format!(r#"{{"value":"{value}"}}"#);
    let call = vault.put(host.secret_url());
    let response = call.read_from(std::io::Cursor::new(body)).send().unwrap();
    assert_eq!(response.status(), 200);
    let length: u64 = 5_000_000;
    host.inject(&format!("vault=oversized:{length}"));
    let mut body = vault.get(host.secret_url()).send().unwrap().into_body();
    let mut first = [0; 10];
    body.read_exact(&mut first).unwrap();
    assert_eq!(
        std::io::copy(&mut body, &mut std::io::sink()).unwrap(),
        length - 10
    );
    host.inject("vault=truncated");
    let mut body = vault.get(host.secret_url()).send().unwrap().into_body();
    let error = body.read_to_end(&mut Vec::new()).unwrap_err();
    let cause = error.get_ref().unwrap().downcast_ref::<keybound::Error>();
    assert_eq!(cause.unwrap().kind(), ErrorKind::InvalidResponse);
}

#[test]
fn failing_reader_fails_the_call_and_unused_reader_is_dropped() {
    struct FailingReader;
    impl Read for FailingReader {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            Err(std::io::Error::other("read failed"))
        }
    }
    let host = TestHost::new();
    let client = blocking::ManagedIdentityClient::new(host.client());
    let vault = client.resource_client(attested()).unwrap();
    let error = vault.put(host.secret_url()).read_from(FailingReader).send();
    assert_eq!(error.unwrap_err().kind(), ErrorKind::InvalidRequest);
    // An endless body, to a server that closes the connection.
    host.inject("vault-tls=reset*always");
    let endless = std::io::repeat(b'x');
    let error = vault.put(host.secret_url()).read_from(endless).send();
    assert!(error.unwrap_err().is_retryable());
}

/// Longer than a busy machine needs.
const WAIT: Duration = Duration::from_secs(30);
