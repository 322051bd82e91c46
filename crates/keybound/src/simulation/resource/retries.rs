//! Retry-After, failed connections and timeouts.
use super::fixture::{CLAIMS, ResourceFixture, URL, challenge, response, response_with, status};
use crate::http::RequestTimeout;
use crate::simulation::test_host::epoch;
use crate::{ErrorKind, Result, Stage};
use bytes::Bytes;
use http::Request;
use http::header::RETRY_AFTER;
use http_body_util::{Full, StreamBody};
use keybound_core::lock;
use keybound_transport::{TransportError, TransportErrorKind};
use std::time::Duration;

#[tokio::test(start_paused = true)]
async fn honors_retry_after_in_seconds_and_as_a_date() {
    let fixture = ResourceFixture::new();
    let date = httpdate::fmt_http_date(epoch() + Duration::from_secs(20));
    fixture.script([
        response_with(429, RETRY_AFTER, "7"),
        response_with(503, RETRY_AFTER, &date),
        response_with(503, RETRY_AFTER, "0"),
    ]);
    let resource = fixture.builder().honor_retry_after(true).build().unwrap();
    let response = resource.get(URL).send().await;
    assert_eq!(status(response), 200);
    let requests = fixture.take_requests();
    let waits: Vec<_> = requests
        .windows(2)
        .map(|pair| (pair[1].at - pair[0].at).as_secs_f64())
        .collect();
    assert_eq!(waits.len(), 3);
    assert!((7.0..7.1).contains(&waits[0]), "{waits:?}");
    assert!((12.9..13.1).contains(&waits[1]), "{waits:?}");
    assert!((0.2..0.3).contains(&waits[2]), "{waits:?}");
    // Each attempt has the remaining time.
    assert!(requests[1].timeout < requests[0].timeout - Duration::from_secs(6));
}

#[tokio::test(start_paused = true)]
async fn waits_only_if_configured_idempotent_and_within_the_timeout() {
    let fixture = ResourceFixture::new();
    let waiting = fixture.builder().honor_retry_after(true).build().unwrap();
    let once = |status: u16, wait: &str| fixture.script([response_with(status, RETRY_AFTER, wait)]);
    once(503, "1");
    assert_eq!(status(fixture.resource().get(URL).send().await), 503);
    for call in [waiting.post(URL), waiting.patch(URL)] {
        once(429, "1");
        assert_eq!(status(call.body("x").send().await), 429);
    }
    once(503, "soon");
    assert_eq!(status(waiting.get(URL).send().await), 503);
    once(500, "1");
    assert_eq!(status(waiting.get(URL).send().await), 500);
    fixture.script([response(503)]);
    assert_eq!(status(waiting.get(URL).send().await), 503);
    // The wait would exceed the call's timeout.
    once(503, "60");
    let before = fixture.host.elapsed();
    assert_eq!(status(waiting.get(URL).send().await), 503);
    assert!(fixture.host.elapsed() - before < Duration::from_secs(1));
    // A body that cannot be sent again.
    once(503, "1");
    let stream = StreamBody::new(futures_util::stream::empty::<
        Result<http_body::Frame<Bytes>, TransportError>,
    >());
    assert_eq!(status(waiting.put(URL).stream(stream).send().await), 503);
    assert_eq!(fixture.take_requests().len(), 8);
    // Six attempts at most.
    fixture.script((0..100).map(|_| response_with(503, RETRY_AFTER, "1")));
    assert_eq!(status(waiting.put(URL).body("x").send().await), 503);
    assert_eq!(fixture.take_requests().len(), 6);
}

#[tokio::test(start_paused = true)]
async fn does_not_repeat_a_request_after_a_connection_failure() {
    let fixture = ResourceFixture::new();
    let resource = fixture.builder().honor_retry_after(true).build().unwrap();
    for kind in [
        TransportErrorKind::Protocol,
        TransportErrorKind::Timeout,
        TransportErrorKind::ClientCertificateRejected,
    ] {
        lock(&fixture.host.resource).responses.push_back(Err(kind));
        let error = resource.get(URL).send().await.unwrap_err();
        assert_eq!(error.stage(), Stage::Resource);
        assert_eq!(fixture.take_requests().len(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn timeout_covers_the_token_and_all_attempts() {
    let fixture = ResourceFixture::new();
    let resource = fixture
        .builder()
        .timeout(Duration::from_secs(10))
        .build()
        .unwrap();
    fixture.script([challenge(CLAIMS)]);
    let mut request = Request::get(URL).body(Full::new(Bytes::new())).unwrap();
    request
        .extensions_mut()
        .insert(RequestTimeout(Duration::from_secs(3)));
    assert_eq!(status(resource.send(request).await), 200);
    let requests = fixture.take_requests();
    assert_eq!(requests.len(), 2);
    assert!(
        requests
            .iter()
            .all(|call| call.timeout <= Duration::from_secs(3))
    );
    assert_eq!(status(resource.get(URL).send().await), 200);
    assert!(fixture.take_requests()[0].timeout > Duration::from_secs(9));
    let error = resource.get(URL).timeout(Duration::ZERO).send().await;
    assert_eq!(error.unwrap_err().kind(), ErrorKind::DeadlineExceeded);
    assert!(fixture.take_requests().is_empty());
}
