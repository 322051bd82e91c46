//! Claims challenges, and bindings that the resource could not validate.
use super::fixture::{
    CLAIMS, ResourceFixture, URL, binding_failed, bound, challenge, response_with, status,
};
use crate::AccessToken;
use bytes::Bytes;
use http::Method;
use http::header::WWW_AUTHENTICATE;
use http_body_util::{BodyExt as _, Full, StreamBody};
use keybound_transport::{ConnectionReuse, TransportError};
use std::time::Duration;

#[tokio::test(start_paused = true)]
async fn handles_a_challenge_once_and_reuses_its_token() {
    let fixture = ResourceFixture::new();
    let resource = fixture.resource();
    fixture.script([challenge(CLAIMS)]);
    let response = resource.post(URL).body("order").send().await.unwrap();
    assert_eq!(response.status(), 200);
    let requests = fixture.take_requests();
    assert_eq!(
        (requests.len(), &requests[1].body[..], &requests[1].method),
        (2, &b"order"[..], &Method::POST)
    );
    assert_ne!(requests[0].authorization, requests[1].authorization);
    // The response carries its token.
    let token = response.token();
    assert_eq!(token.authorization().expose(), requests[1].authorization);
    assert_eq!((fixture.mints(), fixture.tokens()), (2, 2));
    // The client does not cache the token, but later calls of this resource use it, also from clones.
    for resource in [resource.clone(), resource.clone()] {
        assert_eq!(status(resource.get(URL).send().await), 200);
    }
    let later = fixture.take_requests();
    assert_eq!(later.len(), 2);
    assert!(
        later
            .iter()
            .all(|call| call.authorization == requests[1].authorization)
    );
    assert_eq!((fixture.mints(), fixture.tokens()), (2, 2));
    // The second challenge of a call is returned.
    fixture.script([challenge(r#"{"a":1}"#), challenge(r#"{"a":2}"#)]);
    let response = resource.get(URL).send().await.unwrap();
    assert_eq!(response.status(), 401);
    assert!(response.headers().contains_key(WWW_AUTHENTICATE));
    assert_eq!(response.bytes_limited(10).await.unwrap(), "scripted");
    assert_eq!(fixture.take_requests().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn calls_with_the_same_challenge_share_one_token() {
    let fixture = ResourceFixture::new();
    let resource = fixture.resource();
    assert_eq!(status(resource.get(URL).send().await), 200);
    fixture.script((0..50).map(|_| challenge(CLAIMS)));
    let calls = (0..50).map(|_| resource.get(URL).send());
    for response in futures_util::future::join_all(calls).await {
        assert_eq!(status(response), 200);
    }
    assert_eq!((fixture.mints(), fixture.tokens()), (2, 2));
}

#[tokio::test(start_paused = true)]
async fn token_of_a_challenge_is_used_until_its_refresh_is_due() {
    let fixture = ResourceFixture::new();
    let resource = fixture.resource();
    fixture.script([challenge(CLAIMS)]);
    assert_eq!(status(resource.get(URL).send().await), 200);
    let authorization = fixture.take_requests().pop().unwrap().authorization;
    tokio::time::sleep(Duration::from_secs(54 * 60)).await;
    assert_eq!(status(resource.get(URL).send().await), 200);
    assert_eq!(fixture.take_requests()[0].authorization, authorization);
    tokio::time::sleep(Duration::from_secs(2 * 60)).await;
    assert_eq!(status(resource.get(URL).send().await), 200);
    assert_ne!(fixture.take_requests()[0].authorization, authorization);
}

#[tokio::test(start_paused = true)]
async fn token_of_a_challenge_is_replaced_with_its_certificate() {
    let fixture = ResourceFixture::new();
    let resource = fixture.resource();
    fixture.script([challenge(CLAIMS)]);
    assert_eq!(status(resource.get(URL).send().await), 200);
    let authorization = fixture.take_requests().pop().unwrap().authorization;
    let claims = keybound_core::Claims::parse(r#"{"b":1}"#).unwrap();
    let renewed = fixture.client.acquire_token(&bound().claims(claims)).await;
    let response = resource.get(URL).send().await.unwrap();
    assert_ne!(fixture.take_requests()[0].authorization, authorization);
    let certificate = |token: &AccessToken| token.binding().unwrap().certificate().clone();
    let token = response.token();
    assert_eq!(certificate(token), certificate(&renewed.unwrap()));
}

#[tokio::test(start_paused = true)]
async fn challenges_to_every_call_do_not_flood_imds() {
    let fixture = ResourceFixture::new();
    let resource = fixture.resource();
    for number in 0..40 {
        fixture.script([challenge(&format!(r#"{{"a":{number}}}"#))]);
        assert_eq!(status(resource.get(URL).send().await), 200);
    }
    assert_eq!(fixture.mints(), 1 + 3);
}

#[tokio::test(start_paused = true)]
async fn challenges_to_every_call_do_not_flood_the_source() {
    let fixture = ResourceFixture::new();
    let resource = fixture.bearer_resource();
    for number in 0..40 {
        fixture.script([challenge(&format!(r#"{{"a":{number}}}"#))]);
        // Beyond the limit, the caller gets the challenge, and the rejected token is not sent again.
        let handled = number < 5;
        let expected = if handled { 200 } else { 401 };
        assert_eq!(status(resource.get(URL).send().await), expected, "{number}");
        let sent = if handled { 2 } else { 1 };
        assert_eq!(fixture.take_requests().len(), sent, "{number}");
    }
    assert_eq!(fixture.tokens(), 1 + 5);
}

#[tokio::test(start_paused = true)]
async fn challenge_of_a_replaced_token_gets_the_current_one_of_the_source() {
    let fixture = ResourceFixture::new();
    let resource = fixture.bearer_resource();
    assert_eq!(status(resource.get(URL).send().await), 200);
    // Another caller replaces the token during the call.
    fixture.script([challenge(CLAIMS)]);
    let claims = keybound_core::Claims::parse(r#"{"b":1}"#).unwrap();
    let request = crate::TokenRequest::bearer("api://orders").claims(claims);
    let (response, renewed) = tokio::join!(resource.get(URL).send(), async {
        tokio::time::sleep(Duration::from_millis(5)).await;
        fixture.client.acquire_token(&request).await
    });
    assert_eq!(status(response), 200);
    let sent = fixture.take_requests().pop().unwrap().authorization;
    assert_eq!(sent, renewed.unwrap().authorization().expose());
    assert_eq!(fixture.tokens(), 2);
}

#[tokio::test(start_paused = true)]
async fn returns_a_challenge_that_cannot_be_handled() {
    let fixture = ResourceFixture::new();
    let resource = fixture.resource();
    for response in [
        response_with(401, WWW_AUTHENTICATE, r#"Bearer error="invalid_token""#),
        response_with(401, WWW_AUTHENTICATE, r#"Bearer claims="%""#),
    ] {
        fixture.script([response]);
        assert_eq!(status(resource.get(URL).send().await), 401);
    }
    fixture.script([challenge(CLAIMS)]);
    let frame = futures_util::stream::iter([Ok::<_, TransportError>(http_body::Frame::data(
        Bytes::from_static(b"order"),
    ))]);
    let response = resource.post(URL).stream(StreamBody::new(frame)).send();
    assert_eq!(status(response.await), 401);
    let requests = fixture.take_requests();
    assert_eq!(requests.len(), 3);
    // A caller that sends the body again uses the new token.
    assert_eq!(status(resource.post(URL).body("order").send().await), 200);
    assert_ne!(
        fixture.take_requests()[0].authorization,
        requests[2].authorization
    );
    assert_eq!(fixture.tokens(), 2);
}

#[tokio::test(start_paused = true)]
async fn retries_a_failed_binding_once_on_a_new_connection() {
    let fixture = ResourceFixture::new();
    let resource = fixture.resource();
    fixture.script([binding_failed()]);
    assert_eq!(status(resource.put(URL).body("x").send().await), 200);
    let requests = fixture.take_requests();
    assert_eq!(
        requests.iter().map(|call| call.reuse).collect::<Vec<_>>(),
        [ConnectionReuse::Allowed, ConnectionReuse::Never]
    );
    assert_eq!(requests[0].authorization, requests[1].authorization);
    fixture.script([binding_failed(), binding_failed()]);
    let response = resource.get(URL).send().await.unwrap();
    assert_eq!(response.status(), 401);
    let body = response.bytes_limited(1000).await.unwrap();
    assert!(String::from_utf8_lossy(&body).contains("MtlsCnf"));
    assert_eq!(fixture.take_requests().len(), 2);
    // With a body that cannot be sent again, the response is returned.
    fixture.script([binding_failed()]);
    let stream = Full::new(Bytes::from_static(b"x")).map_frame(|frame| frame);
    assert_eq!(status(resource.put(URL).stream(stream).send().await), 401);
    assert_eq!(fixture.take_requests().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn retries_a_failed_binding_with_the_renewed_token() {
    let fixture = ResourceFixture::new();
    let resource = fixture.resource();
    assert_eq!(status(resource.get(URL).send().await), 200);
    let old = fixture.take_requests().pop().unwrap().authorization;
    fixture.script([binding_failed()]);
    // Another caller mints a new certificate during the call.
    let claims = keybound_core::Claims::parse(r#"{"b":1}"#).unwrap();
    let (response, renewed) = tokio::join!(resource.get(URL).send(), async {
        tokio::time::sleep(Duration::from_millis(5)).await;
        fixture.client.acquire_token(&bound().claims(claims)).await
    });
    assert_eq!(status(response), 200);
    let requests = fixture.take_requests();
    assert_eq!(requests[0].authorization, old);
    assert_ne!(requests[1].authorization, old);
    let current = fixture.client.acquire_token(&bound()).await.unwrap();
    assert_eq!(requests[1].authorization, current.authorization().expose());
    let certificate = |token: &AccessToken| token.binding().unwrap().certificate().clone();
    assert_eq!(certificate(&current), certificate(&renewed.unwrap()));
}
