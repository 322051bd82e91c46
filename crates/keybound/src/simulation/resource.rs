//! A resource with scripted responses, and calls of it under the paused clock.
use super::runner::Run;
use super::script::Script;
use super::world::{Services, Setup, World, epoch};
use crate::http::{RequestTimeout, ResourceClient, ResourceClientBuilder};
use crate::keys::ProviderChain;
use crate::{
    AccessToken, Environment, ErrorKind, KeyRequirements, KeyStrength, ManagedIdentityClient,
    Result, Stage, TokenRequest,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::header::{AUTHORIZATION, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{Method, Request, Response, StatusCode, request};
use http_body_util::{BodyExt as _, Full, StreamBody};
use keybound_core::lock;
use keybound_transport::{
    ConnectionReuse, RequestBody, ResponseBody, TransportError, TransportErrorKind,
};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

/// The resource: what it is to answer, and what it has seen. Without a word on it, it answers 200.
#[derive(Default)]
pub(super) struct Resource {
    answers: VecDeque<Scripted>,
    seen: Vec<Seen>,
}

type Scripted = Result<Response<Bytes>, TransportErrorKind>;

/// One request.
#[derive(Clone, Debug)]
struct Seen {
    method: Method,
    uri: String,
    authorization: String,
    bound: bool,
    body: Vec<u8>,
    reuse: ConnectionReuse,
    timeout: Duration,
    at: Duration,
}

impl Resource {
    pub(super) fn answer(
        &mut self,
        head: &request::Parts,
        body: &[u8],
        reuse: ConnectionReuse,
        timeout: Duration,
        at: Duration,
    ) -> Result<Response<ResponseBody>, TransportError> {
        let shown = format!("{:?}", head.headers);
        assert!(!shown.contains("eyJ"), "a token is shown: {shown}");
        let header = |name| head.headers.get(name).and_then(|value| value.to_str().ok());
        self.seen.push(Seen {
            method: head.method.clone(),
            uri: head.uri.to_string(),
            authorization: header(AUTHORIZATION).unwrap_or_default().to_owned(),
            bound: header("x-ms-tokenboundauth".parse().unwrap()) == Some("true"),
            body: body.to_vec(),
            reuse,
            timeout,
            at,
        });
        match self.answers.pop_front() {
            None => Ok(Response::new(ResponseBody::full("fine"))),
            Some(Ok(answer)) => Ok(answer.map(ResponseBody::full)),
            Some(Err(kind)) => Err(TransportError::new(kind, "as the script says")),
        }
    }
}

struct Scene {
    world: Arc<World>,
    client: ManagedIdentityClient,
}

impl Scene {
    fn new() -> Self {
        Self::with(Setup::default())
    }

    fn with(setup: Setup) -> Self {
        let world = World::new(setup, Script::default());
        let run = Run::new(Arc::clone(&world));
        let client = ManagedIdentityClient::builder()
            .environment(Environment::empty())
            .key_providers(ProviderChain::new(vec![run.keys as _]))
            .clock(Arc::clone(&world) as _)
            .persistence(false)
            .simulated(Services(Arc::clone(&world)), 1)
            .build()
            .unwrap();
        Self { world, client }
    }

    fn builder(&self) -> ResourceClientBuilder {
        ResourceClient::builder(&self.client, bound())
    }

    fn resource(&self) -> ResourceClient {
        self.builder().build().unwrap()
    }

    fn tell(&self, answers: impl IntoIterator<Item = Response<Bytes>>) {
        let answers = answers.into_iter().map(Ok);
        lock(&self.world.resource).answers.extend(answers);
    }

    fn seen(&self) -> Vec<Seen> {
        std::mem::take(&mut lock(&self.world.resource).seen)
    }

    fn mints(&self) -> usize {
        lock(&self.world.seen).certificates.len()
    }

    fn tokens(&self) -> usize {
        lock(&self.world.seen).tokens.len()
    }
}

fn bound() -> TokenRequest {
    let requirements = KeyRequirements::unattested().min_strength(KeyStrength::Software);
    TokenRequest::pop("api://orders", requirements)
}

fn response(status: u16) -> Response<Bytes> {
    let mut answer = Response::new(Bytes::from_static(b"scripted"));
    *answer.status_mut() = StatusCode::from_u16(status).unwrap();
    answer
}

fn response_with(status: u16, name: http::HeaderName, value: &str) -> Response<Bytes> {
    let mut answer = response(status);
    let value = HeaderValue::from_str(value).unwrap();
    answer.headers_mut().insert(name, value);
    answer
}

fn challenge(claims: &str) -> Response<Bytes> {
    let claims = URL_SAFE_NO_PAD.encode(claims);
    let value = format!(r#"Bearer error="insufficient_claims", claims="{claims}""#);
    response_with(401, WWW_AUTHENTICATE, &value)
}

fn binding_failed() -> Response<Bytes> {
    let mut answer = response(401);
    *answer.body_mut() = Bytes::from_static(
        br#"{"error":{"code":"Unauthorized","message":"[MtlsCnfClaimRequestDataValidationFailed] no"}}"#,
    );
    answer
}

fn status(answer: Result<crate::http::Response>) -> u16 {
    answer.unwrap().status().as_u16()
}

#[tokio::test(start_paused = true)]
async fn retry_after_is_honored_in_seconds_and_as_a_date() {
    let scene = Scene::new();
    let date = httpdate::fmt_http_date(epoch() + Duration::from_secs(20));
    scene.tell([
        response_with(429, RETRY_AFTER, "7"),
        response_with(503, RETRY_AFTER, &date),
        response_with(503, RETRY_AFTER, "0"),
    ]);
    let resource = scene.builder().honor_retry_after(true).build().unwrap();
    let answer = resource.get(URL).send().await;
    assert_eq!(status(answer), 200);
    let seen = scene.seen();
    let waits: Vec<_> = seen
        .windows(2)
        .map(|pair| (pair[1].at - pair[0].at).as_secs_f64())
        .collect();
    assert_eq!(waits.len(), 3);
    assert!((7.0..7.1).contains(&waits[0]), "{waits:?}");
    assert!((12.9..13.1).contains(&waits[1]), "{waits:?}");
    assert!((0.2..0.3).contains(&waits[2]), "{waits:?}");
    // Each attempt has what is left of the time.
    assert!(seen[1].timeout < seen[0].timeout - Duration::from_secs(6));
}

#[tokio::test(start_paused = true)]
async fn waits_are_kept_only_where_asked_for_idempotent_and_in_time() {
    let scene = Scene::new();
    let waiting = scene.builder().honor_retry_after(true).build().unwrap();
    let once = |answer: u16, wait: &str| scene.tell([response_with(answer, RETRY_AFTER, wait)]);
    once(503, "1");
    assert_eq!(status(scene.resource().get(URL).send().await), 503);
    for call in [waiting.post(URL), waiting.patch(URL)] {
        once(429, "1");
        assert_eq!(status(call.body("x").send().await), 429);
    }
    once(503, "soon");
    assert_eq!(status(waiting.get(URL).send().await), 503);
    once(500, "1");
    assert_eq!(status(waiting.get(URL).send().await), 500);
    scene.tell([response(503)]);
    assert_eq!(status(waiting.get(URL).send().await), 503);
    // The wait would end after the call's time: it is not begun.
    once(503, "60");
    let before = scene.world.elapsed();
    assert_eq!(status(waiting.get(URL).send().await), 503);
    assert!(scene.world.elapsed() - before < Duration::from_secs(1));
    // A body that is gone.
    once(503, "1");
    let stream = StreamBody::new(futures_util::stream::empty::<
        Result<http_body::Frame<Bytes>, TransportError>,
    >());
    assert_eq!(status(waiting.put(URL).stream(stream).send().await), 503);
    assert_eq!(scene.seen().len(), 8);
    // A server without end is left at the sixth.
    scene.tell((0..100).map(|_| response_with(503, RETRY_AFTER, "1")));
    assert_eq!(status(waiting.put(URL).body("x").send().await), 503);
    assert_eq!(scene.seen().len(), 6);
}

#[tokio::test(start_paused = true)]
async fn a_challenge_is_answered_once_and_later_calls_use_the_answer() {
    let scene = Scene::new();
    let resource = scene.resource();
    scene.tell([challenge(CLAIMS)]);
    let answer = resource.post(URL).body("order").send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let seen = scene.seen();
    assert_eq!(
        (seen.len(), &seen[1].body[..], &seen[1].method),
        (2, &b"order"[..], &Method::POST)
    );
    assert_ne!(seen[0].authorization, seen[1].authorization);
    // The answer says which token it was got with.
    let token = answer.token();
    assert_eq!(token.authorization().expose(), seen[1].authorization);
    assert_eq!((scene.mints(), scene.tokens()), (2, 2));
    // The client does not cache it, but this resource's next calls go with it, from clones too.
    for resource in [resource.clone(), resource.clone()] {
        assert_eq!(status(resource.get(URL).send().await), 200);
    }
    let later = scene.seen();
    assert!(
        later
            .iter()
            .all(|call| call.authorization == seen[1].authorization)
    );
    assert_eq!((scene.mints(), scene.tokens()), (2, 2));
    // The second challenge of a call is the caller's.
    scene.tell([challenge(r#"{"a":1}"#), challenge(r#"{"a":2}"#)]);
    let answer = resource.get(URL).send().await.unwrap();
    assert_eq!(answer.status(), 401);
    assert!(answer.headers().contains_key(WWW_AUTHENTICATE));
    assert_eq!(answer.bytes_limited(10).await.unwrap(), "scripted");
    assert_eq!(scene.seen().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn calls_that_are_challenged_alike_share_one_answer() {
    let scene = Scene::new();
    let resource = scene.resource();
    assert_eq!(status(resource.get(URL).send().await), 200);
    scene.tell((0..50).map(|_| challenge(CLAIMS)));
    let calls = (0..50).map(|_| resource.get(URL).send());
    for answer in futures_util::future::join_all(calls).await {
        assert_eq!(status(answer), 200);
    }
    assert_eq!((scene.mints(), scene.tokens()), (2, 2));
}

#[tokio::test(start_paused = true)]
async fn the_answer_to_a_challenge_is_used_until_a_renewal_is_due() {
    let scene = Scene::new();
    let resource = scene.resource();
    scene.tell([challenge(CLAIMS)]);
    assert_eq!(status(resource.get(URL).send().await), 200);
    let held = scene.seen().pop().unwrap().authorization;
    tokio::time::sleep(Duration::from_secs(54 * 60)).await;
    assert_eq!(status(resource.get(URL).send().await), 200);
    assert_eq!(scene.seen()[0].authorization, held);
    tokio::time::sleep(Duration::from_secs(2 * 60)).await;
    assert_eq!(status(resource.get(URL).send().await), 200);
    assert_ne!(scene.seen()[0].authorization, held);
}

#[tokio::test(start_paused = true)]
async fn the_answer_to_a_challenge_gives_way_to_a_new_certificate() {
    let scene = Scene::new();
    let resource = scene.resource();
    scene.tell([challenge(CLAIMS)]);
    assert_eq!(status(resource.get(URL).send().await), 200);
    let held = scene.seen().pop().unwrap().authorization;
    let claims = keybound_core::Claims::parse(r#"{"b":1}"#).unwrap();
    let renewed = scene.client.acquire_token(&bound().claims(claims)).await;
    let answer = resource.get(URL).send().await.unwrap();
    assert_ne!(scene.seen()[0].authorization, held);
    let certificate = |token: &AccessToken| token.binding().unwrap().certificate().clone();
    let token = answer.token();
    assert_eq!(certificate(token), certificate(&renewed.unwrap()));
}

#[tokio::test(start_paused = true)]
async fn a_resource_that_challenges_every_call_does_not_drive_imds() {
    let scene = Scene::new();
    let resource = scene.resource();
    for number in 0..40 {
        scene.tell([challenge(&format!(r#"{{"a":{number}}}"#))]);
        assert_eq!(status(resource.get(URL).send().await), 200);
    }
    assert_eq!(scene.mints(), 1 + 3);
}

#[tokio::test(start_paused = true)]
async fn a_challenge_that_cannot_be_answered_is_the_callers() {
    let scene = Scene::new();
    let resource = scene.resource();
    for answer in [
        response_with(401, WWW_AUTHENTICATE, r#"Bearer error="invalid_token""#),
        response_with(401, WWW_AUTHENTICATE, r#"Bearer claims="%""#),
    ] {
        scene.tell([answer]);
        assert_eq!(status(resource.get(URL).send().await), 401);
    }
    scene.tell([challenge(CLAIMS)]);
    let frame = futures_util::stream::iter([Ok::<_, TransportError>(http_body::Frame::data(
        Bytes::from_static(b"order"),
    ))]);
    let answer = resource.post(URL).stream(StreamBody::new(frame)).send();
    assert_eq!(status(answer.await), 401);
    let seen = scene.seen();
    assert_eq!(seen.len(), 3);
    // The caller that sends the body again is not challenged again.
    assert_eq!(status(resource.post(URL).body("order").send().await), 200);
    assert_ne!(scene.seen()[0].authorization, seen[2].authorization);
    assert_eq!(scene.tokens(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_failed_binding_is_tried_once_more_on_a_new_connection() {
    let scene = Scene::new();
    let resource = scene.resource();
    scene.tell([binding_failed()]);
    assert_eq!(status(resource.put(URL).body("x").send().await), 200);
    let seen = scene.seen();
    assert_eq!(
        seen.iter().map(|call| call.reuse).collect::<Vec<_>>(),
        [ConnectionReuse::Allowed, ConnectionReuse::Never]
    );
    assert_eq!(seen[0].authorization, seen[1].authorization);
    scene.tell([binding_failed(), binding_failed()]);
    let answer = resource.get(URL).send().await.unwrap();
    assert_eq!(answer.status(), 401);
    let body = answer.bytes_limited(1000).await.unwrap();
    assert!(String::from_utf8_lossy(&body).contains("MtlsCnf"));
    assert_eq!(scene.seen().len(), 2);
    // A body that is gone: the answer is the caller's.
    scene.tell([binding_failed()]);
    let stream = Full::new(Bytes::from_static(b"x")).map_frame(|frame| frame);
    assert_eq!(status(resource.put(URL).stream(stream).send().await), 401);
    assert_eq!(scene.seen().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn after_a_failed_binding_the_renewed_pair_is_taken() {
    let scene = Scene::new();
    let resource = scene.resource();
    assert_eq!(status(resource.get(URL).send().await), 200);
    let old = scene.seen().pop().unwrap().authorization;
    scene.tell([binding_failed()]);
    // Somebody else has a new certificate issued while the call is under way.
    let claims = keybound_core::Claims::parse(r#"{"b":1}"#).unwrap();
    let (answer, renewed) = tokio::join!(resource.get(URL).send(), async {
        tokio::time::sleep(Duration::from_millis(5)).await;
        scene.client.acquire_token(&bound().claims(claims)).await
    });
    assert_eq!(status(answer), 200);
    let seen = scene.seen();
    assert_eq!(seen[0].authorization, old);
    assert_ne!(seen[1].authorization, old);
    let current = scene.client.acquire_token(&bound()).await.unwrap();
    assert_eq!(seen[1].authorization, current.authorization().expose());
    let certificate = |token: &AccessToken| token.binding().unwrap().certificate().clone();
    assert_eq!(certificate(&current), certificate(&renewed.unwrap()));
}

#[tokio::test(start_paused = true)]
async fn a_status_of_400_or_above_becomes_an_error_with_the_words_of_the_service() {
    use ErrorKind::{Refused, ServiceUnavailable};
    let scene = Scene::new();
    let resource = scene.resource();
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
        scene.tell([response]);
        let response = resource.get(URL).send().await.unwrap();
        let error = response.error_for_status().await.unwrap_err();
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
        scene.tell([response(status)]);
        let response = resource.get(URL).send().await.unwrap();
        let response = response.error_for_status().await.unwrap();
        assert_eq!(response.text().await.unwrap(), "scripted");
    }
}

#[tokio::test(start_paused = true)]
async fn what_went_out_is_not_sent_again_when_the_connection_breaks() {
    let scene = Scene::new();
    let resource = scene.builder().honor_retry_after(true).build().unwrap();
    for kind in [
        TransportErrorKind::Protocol,
        TransportErrorKind::Timeout,
        TransportErrorKind::ClientCertificateRejected,
    ] {
        lock(&scene.world.resource).answers.push_back(Err(kind));
        let error = resource.get(URL).send().await.unwrap_err();
        assert_eq!(error.stage(), Stage::Resource);
        assert_eq!(scene.seen().len(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn the_time_of_a_call_covers_the_token_and_every_attempt() {
    let scene = Scene::new();
    let resource = scene
        .builder()
        .timeout(Duration::from_secs(10))
        .build()
        .unwrap();
    scene.tell([challenge(CLAIMS)]);
    let mut request = Request::get(URL).body(Full::new(Bytes::new())).unwrap();
    request
        .extensions_mut()
        .insert(RequestTimeout(Duration::from_secs(3)));
    assert_eq!(status(resource.send(request).await), 200);
    let seen = scene.seen();
    assert!(
        seen.iter()
            .all(|call| call.timeout <= Duration::from_secs(3))
    );
    assert_eq!(status(resource.get(URL).send().await), 200);
    assert!(scene.seen()[0].timeout > Duration::from_secs(9));
    let error = resource.get(URL).timeout(Duration::ZERO).send().await;
    assert_eq!(error.unwrap_err().kind(), ErrorKind::DeadlineReached);
    assert!(scene.seen().is_empty());
}

#[tokio::test(start_paused = true)]
async fn redirects_within_the_origin_are_followed_and_others_returned() {
    let scene = Scene::new();
    let resource = scene.resource();
    let to = |status, location| response_with(status, http::header::LOCATION, location);
    scene.tell([to(301, "/b"), to(307, "c?d")]);
    assert_eq!(status(resource.get(URL).send().await), 200);
    let uris: Vec<_> = scene.seen().into_iter().map(|call| call.uri).collect();
    assert_eq!(
        uris,
        [URL, "https://api.example/b", "https://api.example/c?d"]
    );
    for location in [
        "https://other.example/b",
        "http://api.example/b",
        "https://api.example:444/",
    ] {
        scene.tell([to(302, location)]);
        let answer = resource.get(URL).send().await.unwrap();
        assert_eq!(answer.headers()[http::header::LOCATION], location);
        assert_eq!(scene.seen().len(), 1);
    }
    for call in [resource.post(URL), resource.put(URL), resource.delete(URL)] {
        scene.tell([to(307, "/b")]);
        assert_eq!(status(call.body("x").send().await), 307);
        assert_eq!(scene.seen().len(), 1);
    }
    scene.tell((0..100).map(|_| to(302, "/b")));
    assert_eq!(status(resource.head(URL).send().await), 302);
    assert_eq!(scene.seen().len(), 6);
    lock(&scene.world.resource).answers.clear();
    scene.tell([to(302, "/b")]);
    let resource = scene.builder().follow_redirects(false).build().unwrap();
    assert_eq!(status(resource.get(URL).send().await), 302);
}

#[tokio::test(start_paused = true)]
async fn only_bound_tokens_are_announced_and_only_to_those_who_ask() {
    let scene = Scene::new();
    let bearer = TokenRequest::bearer_over_mtls(
        "api://orders",
        KeyRequirements::unattested().min_strength(KeyStrength::Software),
    );
    let vault = "https://my.managedhsm.usgovcloudapi.net/keys";
    for (builder, url, expected) in [
        (scene.builder(), vault, true),
        (scene.builder(), URL, false),
        (
            scene.builder().token_bound_auth_hosts(["*.example"]),
            URL,
            true,
        ),
        (
            ResourceClient::builder(&scene.client, bearer.clone()),
            vault,
            false,
        ),
    ] {
        let resource = builder.build().unwrap();
        assert_eq!(status(resource.get(url).send().await), 200);
        assert_eq!(scene.seen()[0].bound, expected, "{url}");
    }
    let resource = ResourceClient::new(&scene.client, bearer).unwrap();
    let call = resource.get(vault).header("x-ms-tokenboundauth", "true");
    assert_eq!(
        status(call.header("authorization", "Basic x").send().await),
        200
    );
    let seen = scene.seen().pop().unwrap();
    assert!(!seen.bound && seen.authorization.starts_with("Bearer "));
}

#[tokio::test(start_paused = true)]
async fn no_header_injection_and_nothing_but_https() {
    let scene = Scene::new();
    let resource = scene.resource();
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
        let shown = format!("{call:?}");
        let error = call.send().await.expect_err(&shown);
        assert_eq!(
            (error.kind(), error.stage()),
            (ErrorKind::InvalidRequest, Stage::Resource),
            "{shown}"
        );
    }
    assert!(scene.seen().is_empty());
    assert_eq!(scene.tokens(), 0, "no token was asked for in vain");
}

#[tokio::test(start_paused = true)]
async fn json_goes_out_as_json() {
    let scene = Scene::new();
    let resource = scene.resource();
    let call = resource.post(URL).json(&["a", "b"]);
    assert_eq!(status(call.send().await), 200);
    assert_eq!(scene.seen()[0].body, br#"["a","b"]"#);
}

#[tokio::test]
async fn bodies_that_are_at_hand_are_known_as_such() {
    for (body, again) in [
        (
            RequestBody::from_body(Full::new(Bytes::from_static(b"x"))),
            true,
        ),
        (RequestBody::from_body(String::from("x")), true),
        (RequestBody::from_body(RequestBody::full("x")), true),
        (RequestBody::stream(String::from("x")), false),
    ] {
        assert_eq!(body.try_clone().is_some(), again);
        assert_eq!(body.collect().await.unwrap().to_bytes(), "x");
    }
}

#[test]
fn a_malformed_resource_makes_no_client() {
    let client = ManagedIdentityClient::builder().build().unwrap();
    let requirements = KeyRequirements::attested();
    let error = client
        .resource("not a resource", requirements)
        .build()
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidRequest);
}

const URL: &str = "https://api.example/orders/a";
const CLAIMS: &str = r#"{"access_token":{"nbf":{"essential":true,"value":"1"}}}"#;
