//! Requests, their bodies, and errors for a status.
use super::fixture::{ResourceFixture, URL, response, status};
use crate::{ErrorKind, KeyRequirements, ManagedIdentityClient, Stage};
use bytes::Bytes;
use http::Method;
use http_body_util::{BodyExt as _, Full};
use keybound_transport::RequestBody;

#[tokio::test(start_paused = true)]
async fn error_for_status_has_the_error_of_the_service() {
    use ErrorKind::{Refused, ServiceUnavailable};
    let fixture = ResourceFixture::new();
    let resource = fixture.resource();
    let body = r#"{"error":{"code":"Denied","message":"no role for eyJhbGciOiJub25lIn0.eyJhIjoxfQ.c2ln"}}"#;
    for (status, kind, retryable) in [
        (400, Refused, false),
        (403, Refused, false),
        (404, Refused, false),
        (408, ServiceUnavailable, true),
        (429, ServiceUnavailable, true),
        (500, ServiceUnavailable, true),
    ] {
        let mut response = response(status);
        *response.body_mut() = Bytes::from(body);
        fixture.script([response]);
        let mut response = resource.get(URL).send().await.unwrap();
        let error = response.status_error().await.unwrap();
        let consuming = response.error_for_status().await.unwrap_err();
        assert_eq!(error.to_string(), consuming.to_string());
        assert_eq!(
            (error.kind(), error.stage(), error.status()),
            (kind, Stage::Resource, Some(status))
        );
        assert_eq!(error.is_retryable(), retryable, "{status}");
        let service = error.service().unwrap();
        assert_eq!(service.error.as_deref(), Some("Denied"));
        assert!(!error.to_string().contains("eyJ"), "{error}");
    }
    for status in [200, 204, 304] {
        fixture.script([response(status)]);
        let mut response = resource.get(URL).send().await.unwrap();
        assert!(response.status_error().await.is_none());
        let response = response.error_for_status().await.unwrap();
        assert_eq!(response.text().await.unwrap(), "scripted");
    }
}

#[tokio::test(start_paused = true)]
async fn the_body_of_an_error_can_be_read() {
    let fixture = ResourceFixture::new();
    fixture.script([response(404)]);
    let mut response = fixture.resource().get(URL).send().await.unwrap();
    let error = response.status_error().await.unwrap();
    assert_eq!(error.status(), Some(404));
    assert_eq!(response.text().await.unwrap(), "scripted");
}

#[tokio::test(start_paused = true)]
async fn no_header_injection_and_nothing_but_https() {
    let fixture = ResourceFixture::new();
    let resource = fixture.resource();
    let calls = [
        resource.get(URL).header("x", "a\r\nb: c"),
        resource.get(URL).header("x:y", "a"),
        resource.get(URL).header("x", "a\0"),
        resource.get("https://api.example/a b"),
        resource.get("http://api.example/"),
        resource.get("/relative"),
        resource.request(Method::CONNECT, URL),
        resource
            .post(URL)
            .json(&std::collections::HashMap::from([((1, 2), 3)])),
    ];
    for call in calls {
        let debug = format!("{call:?}");
        let error = call.send().await.expect_err(&debug);
        assert_eq!(
            (error.kind(), error.stage()),
            (ErrorKind::InvalidRequest, Stage::Resource),
            "{debug}"
        );
    }
    assert!(fixture.take_requests().is_empty());
    assert_eq!(fixture.tokens(), 0, "no token was requested");
}

#[tokio::test(start_paused = true)]
async fn sends_json() {
    let fixture = ResourceFixture::new();
    let resource = fixture.resource();
    let call = resource.post(URL).json(&["a", "b"]);
    assert_eq!(status(call.send().await), 200);
    assert_eq!(fixture.take_requests()[0].body, br#"["a","b"]"#);
}

#[tokio::test]
async fn buffered_bodies_can_be_cloned() {
    for (body, can_be_cloned) in [
        (
            RequestBody::from_body(Full::new(Bytes::from_static(b"x"))),
            true,
        ),
        (RequestBody::from_body(String::from("x")), true),
        (RequestBody::from_body(RequestBody::full("x")), true),
        (RequestBody::stream(String::from("x")), false),
    ] {
        assert_eq!(body.try_clone().is_some(), can_be_cloned);
        assert_eq!(body.collect().await.unwrap().to_bytes(), "x");
    }
}

#[test]
fn rejects_a_malformed_resource() {
    let client = ManagedIdentityClient::builder().build().unwrap();
    let requirements = KeyRequirements::attested();
    let error = client
        .resource("not a resource", requirements)
        .build()
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidRequest);
}
