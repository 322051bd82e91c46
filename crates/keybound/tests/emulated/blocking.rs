//! The facade for programs without a runtime.
use crate::world::{World, attested};
use keybound::http::Request;
use keybound::{ErrorKind, RequestBody, TokenSource, blocking};
use std::time::Duration;

#[test]
fn tokens_and_calls_without_a_runtime() {
    let world = World::new();
    let client = blocking::ManagedIdentityClient::new(world.client());
    let token = client.acquire_token(attested()).unwrap();
    assert_eq!(
        client.clone().acquire_token(attested()).unwrap().source(),
        TokenSource::Cache
    );
    let request = Request::get(world.secret_url())
        .body(RequestBody::empty())
        .unwrap();
    let answer = client.call(&token, request, 4096).unwrap();
    assert_eq!(answer.status(), 200);
    assert!(
        String::from_utf8_lossy(answer.body()).contains("only the holder of the key reads this")
    );
    let request = Request::get(world.secret_url())
        .body(RequestBody::empty())
        .unwrap();
    assert_eq!(
        client.call(&token, request, 10).unwrap_err().kind(),
        ErrorKind::AnswerTooLarge
    );
}

#[test]
fn errors_come_through_and_several_threads_share_one_client() {
    let world = World::new();
    let client = blocking::ManagedIdentityClient::new(world.client());
    world.inject("metadata=hang");
    let error = client
        .acquire_token(attested().timeout(Duration::from_millis(100)))
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DeadlineReached);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| client.acquire_token(attested()).unwrap());
        }
    });
    assert_eq!(world.count("issue"), 1);
}
