//! The transport of `BoundCalls`.
use azure_core::Bytes;
use azure_core::credentials::TokenCredential as _;
use azure_core::error::ErrorKind;
use azure_core::http::headers::AUTHORIZATION;
use azure_core::http::{HttpClient as _, Method, Request, Url};
use azure_core::stream::BytesStream;
use keybound::KeyRequirements;
use keybound::azure::{BoundCalls, ManagedIdentityCredential};
use keybound_testing::emulated::{TestHost, VAULT};

fn request(host: &TestHost, method: Method) -> Request {
    let url = Url::parse(&host.secret_url()).unwrap();
    Request::new(url, method)
}

async fn authorized(host: &TestHost, calls: &BoundCalls, method: Method) -> Request {
    let placeholder = calls.credential().get_token(&[VAULT], None).await.unwrap();
    let mut request = request(host, method);
    let value = format!("Bearer {}", placeholder.token.secret());
    request.insert_header(AUTHORIZATION, value);
    request
}

#[tokio::test]
async fn secrets_stay_secret_from_the_sdk() {
    let host = TestHost::new();
    let client = host.client();
    let calls = BoundCalls::new(&client, KeyRequirements::attested()).unwrap();
    let placeholder = calls.credential().get_token(&[VAULT], None).await.unwrap();
    let request = keybound_testing::emulated::attested();
    let token = client.acquire_token(&request).await.unwrap();
    assert_eq!(host.count("token"), 1, "a real token was acquired");
    let signature = token.secret().expose().rsplit('.').next().unwrap();
    assert!(!placeholder.token.secret().contains(signature));
    assert!(
        placeholder.token.secret().ends_with("/.default")
            || placeholder.token.secret().ends_with(VAULT)
    );
}

#[tokio::test]
async fn sends_no_token_of_another_credential() {
    let host = TestHost::new();
    let client = host.client();
    let calls = BoundCalls::new(&client, KeyRequirements::attested()).unwrap();
    let others = BoundCalls::new(&client, KeyRequirements::attested()).unwrap();
    let bearer = ManagedIdentityCredential::over_mtls(client, KeyRequirements::attested());
    let bearer = bearer.get_token(&[VAULT], None).await.unwrap();
    let mut foreign = request(&host, Method::Get);
    foreign.insert_header(AUTHORIZATION, format!("Bearer {}", bearer.token.secret()));
    for request in [foreign, authorized(&host, &others, Method::Get).await] {
        let error = calls.execute_request(&request).await.unwrap_err();
        assert_eq!(error.kind(), &ErrorKind::Credential);
        assert!(!format!("{error:?}").contains(bearer.token.secret()));
    }
    assert_eq!(host.count("vault-tls"), 0, "nothing was sent");
}

#[tokio::test]
async fn streams_request_and_response_bodies() {
    let host = TestHost::new();
    let calls = BoundCalls::new(&host.client(), KeyRequirements::attested()).unwrap();
    let mut request = authorized(&host, &calls, Method::Put).await;
    request.insert_header("content-type", "application/json");
    request.set_body(Box::new(BytesStream::new(Bytes::from_static(
        br#"{"value":"streamed"}"#,
    ))) as Box<dyn azure_core::stream::SeekableStream>);
    let response = calls.execute_request(&request).await.unwrap();
    assert_eq!(u16::from(response.status()), 200);
    let body = response.into_body().collect_string().await.unwrap();
    assert!(body.contains("streamed"), "{body}");
}

#[tokio::test]
async fn interrupted_post_is_not_retryable() {
    let host = TestHost::new();
    let calls = BoundCalls::new(&host.client(), KeyRequirements::attested()).unwrap();
    for (method, kind) in [
        (Method::Get, ErrorKind::Io),
        (Method::Put, ErrorKind::Io),
        (Method::Post, ErrorKind::Other),
        (Method::Patch, ErrorKind::Other),
    ] {
        let mut request = authorized(&host, &calls, method).await;
        if method != Method::Get {
            request.set_body("{}");
        }
        host.inject("vault=reset*2");
        let error = calls.execute_request(&request).await.unwrap_err();
        assert_eq!(error.kind(), &kind, "{method:?} {error:?}");
        host.emulator.clear_faults();
    }
}

#[tokio::test]
async fn unreachable_vault_is_a_connection_error() {
    let host = TestHost::new();
    let calls = BoundCalls::new(&host.client(), KeyRequirements::attested()).unwrap();
    let authorized = authorized(&host, &calls, Method::Post).await;
    let mut request = Request::new(Url::parse("https://127.0.0.1:1/").unwrap(), Method::Post);
    let header = authorized.headers().get_str(&AUTHORIZATION).unwrap();
    request.insert_header(AUTHORIZATION, header.to_owned());
    let error = calls.execute_request(&request).await.unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::Connection);
}
