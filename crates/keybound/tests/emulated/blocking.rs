//! The blocking client, for programs without a runtime.
use keybound::http::Request;
use keybound::http::RequestBody;
use keybound::{ErrorKind, TokenSource, blocking};
use keybound_testing::emulated::{TestHost, attested};
use std::io::Read;
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
fn returns_errors_and_is_shared_by_threads() {
    let host = TestHost::new();
    let client = blocking::ManagedIdentityClient::new(host.client());
    host.inject("metadata=hang");
    let error = client
        .acquire_token(&attested().timeout(Duration::from_millis(100)))
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DeadlineExceeded);
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
