//! The facade for programs without a runtime.
use crate::world::{World, attested};
use keybound::http::Request;
use keybound::http::RequestBody;
use keybound::{ErrorKind, TokenSource, blocking};
use std::io::Read;
use std::time::Duration;

#[test]
fn tokens_and_calls_without_a_runtime() {
    let world = World::new();
    let client = blocking::ManagedIdentityClient::new(world.client());
    let token = client.acquire_token(&attested()).unwrap();
    assert_eq!(
        client.clone().acquire_token(&attested()).unwrap().source(),
        TokenSource::Cache
    );
    let request = Request::get(world.secret_url())
        .body(RequestBody::empty())
        .unwrap();
    let response = client.send(&token, request).unwrap();
    assert_eq!(response.status(), 200);
    let text = response.text().unwrap();
    assert!(text.contains("only the holder of the key reads this"));
    let request = Request::get(world.secret_url())
        .body(RequestBody::empty())
        .unwrap();
    let read = client.send(&token, request).unwrap().bytes_limited(10);
    assert_eq!(read.unwrap_err().kind(), ErrorKind::ResponseTooLarge);
}

#[test]
fn errors_come_through_and_several_threads_share_one_client() {
    let world = World::new();
    let client = blocking::ManagedIdentityClient::new(world.client());
    world.inject("metadata=hang");
    let error = client
        .acquire_token(&attested().timeout(Duration::from_millis(100)))
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DeadlineReached);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| client.acquire_token(&attested()).unwrap());
        }
    });
    assert_eq!(world.count("issue"), 1);
}

#[test]
fn a_resource_is_called_without_a_runtime() {
    let world = World::new();
    let client = blocking::ManagedIdentityClient::new(world.client());
    let vault = client.resource_client(attested()).unwrap();
    let answer = vault.get(world.secret_url()).send().unwrap();
    assert_eq!(answer.status(), 200);
    let secret: serde_json::Value = answer.json().unwrap();
    assert_eq!(secret["value"], "only the holder of the key reads this");
    // A challenge is answered here as there.
    world.inject(r#"vault=claims-challenge:{"a":1}"#);
    let put = serde_json::json!({"value": "x"});
    let answer = vault.put(world.secret_url()).json(&put).send().unwrap();
    assert_eq!(answer.status(), 200);
    let error = vault.get("http://a.example/").send().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidRequest);
}

#[test]
fn bodies_are_read_and_written_as_they_come_without_a_runtime() {
    let world = World::new();
    let client = blocking::ManagedIdentityClient::new(world.client());
    let vault = client.resource_client(attested()).unwrap();
    let value = "v".repeat(20_000);
    let body = format!(r#"{{"value":"{value}"}}"#);
    let call = vault.put(world.secret_url());
    let answer = call.read_from(std::io::Cursor::new(body)).send().unwrap();
    assert_eq!(answer.status(), 200);
    let length: u64 = 5_000_000;
    world.inject(&format!("vault=oversized:{length}"));
    let mut body = vault.get(world.secret_url()).send().unwrap().into_body();
    let mut first = [0; 10];
    body.read_exact(&mut first).unwrap();
    assert_eq!(
        std::io::copy(&mut body, &mut std::io::sink()).unwrap(),
        length - 10
    );
    world.inject("vault=truncated");
    let mut body = vault.get(world.secret_url()).send().unwrap().into_body();
    let error = body.read_to_end(&mut Vec::new()).unwrap_err();
    let cause = error.get_ref().unwrap().downcast_ref::<keybound::Error>();
    assert_eq!(cause.unwrap().kind(), ErrorKind::InvalidResponse);
}

#[test]
fn a_reader_that_fails_fails_the_call_and_one_that_is_not_wanted_ends() {
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            Err(std::io::Error::other("no more"))
        }
    }
    let world = World::new();
    let client = blocking::ManagedIdentityClient::new(world.client());
    let vault = client.resource_client(attested()).unwrap();
    let error = vault.put(world.secret_url()).read_from(Broken).send();
    assert_eq!(error.unwrap_err().kind(), ErrorKind::InvalidRequest);
    // Without end, and refused by its head.
    world.inject("vault-tls=reset*always");
    let endless = std::io::repeat(b'x');
    let error = vault.put(world.secret_url()).read_from(endless).send();
    assert!(error.unwrap_err().is_retryable());
}
