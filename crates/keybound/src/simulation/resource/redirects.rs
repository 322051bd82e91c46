//! Redirects, and the announcement of bound tokens.
use super::fixture::{ResourceFixture, URL, response_with, status};
use crate::http::ResourceClient;
use crate::{KeyRequirements, KeyStrength, TokenRequest};
use keybound_core::lock;

#[tokio::test(start_paused = true)]
async fn follows_redirects_within_the_origin_only() {
    let fixture = ResourceFixture::new();
    let resource = fixture.resource();
    let to = |status, location| response_with(status, http::header::LOCATION, location);
    fixture.script([to(301, "/b"), to(307, "c?d")]);
    assert_eq!(status(resource.get(URL).send().await), 200);
    let uris: Vec<_> = fixture
        .take_requests()
        .into_iter()
        .map(|call| call.uri)
        .collect();
    assert_eq!(
        uris,
        [URL, "https://api.example/b", "https://api.example/c?d"]
    );
    for location in [
        "https://other.example/b",
        "http://api.example/b",
        "https://api.example:444/",
    ] {
        fixture.script([to(302, location)]);
        let response = resource.get(URL).send().await.unwrap();
        assert_eq!(response.headers()[http::header::LOCATION], location);
        assert_eq!(fixture.take_requests().len(), 1);
    }
    for call in [resource.post(URL), resource.put(URL), resource.delete(URL)] {
        fixture.script([to(307, "/b")]);
        assert_eq!(status(call.body("x").send().await), 307);
        assert_eq!(fixture.take_requests().len(), 1);
    }
    fixture.script((0..100).map(|_| to(302, "/b")));
    assert_eq!(status(resource.head(URL).send().await), 302);
    assert_eq!(fixture.take_requests().len(), 6);
    lock(&fixture.host.resource).responses.clear();
    fixture.script([to(302, "/b")]);
    let resource = fixture.builder().follow_redirects(false).build().unwrap();
    assert_eq!(status(resource.get(URL).send().await), 302);
}

#[tokio::test(start_paused = true)]
async fn announces_bound_tokens_to_configured_hosts_only() {
    let fixture = ResourceFixture::new();
    let bearer = TokenRequest::bearer_over_mtls(
        "api://orders",
        KeyRequirements::unattested().min_strength(KeyStrength::Software),
    );
    let vault = "https://my.managedhsm.usgovcloudapi.net/keys";
    for (builder, url, expected) in [
        (fixture.builder(), vault, true),
        (fixture.builder(), URL, false),
        (
            fixture.builder().token_bound_auth_hosts(["*.example"]),
            URL,
            true,
        ),
        (
            ResourceClient::builder(&fixture.client, bearer.clone()),
            vault,
            false,
        ),
    ] {
        let resource = builder.build().unwrap();
        assert_eq!(status(resource.get(url).send().await), 200);
        assert_eq!(fixture.take_requests()[0].bound, expected, "{url}");
    }
    let resource = ResourceClient::new(&fixture.client, bearer).unwrap();
    let call = resource.get(vault).header("x-ms-tokenboundauth", "true");
    assert_eq!(
        status(call.header("authorization", "Basic x").send().await),
        200
    );
    let requests = fixture.take_requests().pop().unwrap();
    assert!(!requests.bound && requests.authorization.starts_with("Bearer "));
}
