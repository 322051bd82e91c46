//! Calls with a token that the caller has as text, such as one that another library acquired.
use keybound::http::header::AUTHORIZATION;
use keybound::http::{BoundClient, ConnectionInfo, Request, RequestBody};
use keybound::tls::ClientIdentity;
use keybound::{AccessToken, ErrorKind, KeyRequirements, Stage, TokenRequest};
use keybound_testing::emulated::{GRAPH, TestHost, VAULT, assert_failed, attested};

fn get(url: &str, authorization: &[&str]) -> Request<RequestBody> {
    let mut request = Request::get(url);
    for value in authorization {
        request = request.header(AUTHORIZATION, *value);
    }
    request.body(RequestBody::empty()).unwrap()
}

/// A client with the certificate and key of a token, created as from a certificate store.
fn client_of(host: &TestHost, token: &AccessToken) -> BoundClient {
    let binding = token.binding().unwrap();
    let (certificate, key) = (binding.certificate().clone(), binding.key().clone());
    let identity = ClientIdentity::new(certificate, key).unwrap();
    BoundClient::new(&host.client(), identity).unwrap()
}

#[tokio::test]
async fn sends_a_token_that_is_bound_to_the_certificate() {
    let host = TestHost::new();
    let client = host.client();
    for (resource, url) in [(VAULT, host.secret_url()), (GRAPH, host.graph_url())] {
        let request = TokenRequest::pop(resource, KeyRequirements::attested());
        let token = client.acquire_token(&request).await.unwrap();
        let authorization = token.authorization();
        let request = || get(&url, &[authorization.expose()]);
        let of_binding = token.bound_client().unwrap();
        for sender in [of_binding, client_of(&host, &token)] {
            let response = sender.send_authorized(request()).await.unwrap();
            assert_eq!(response.status(), 200, "{resource}");
            let connection: &ConnectionInfo = response.extensions().get().unwrap();
            assert!(connection.certificate_requested);
        }
    }
}

#[tokio::test]
async fn bound_or_error_for_a_token_of_the_caller() {
    let host = TestHost::new();
    let token = host.client().acquire_token(&attested()).await.unwrap();
    let of_another_key = host.client().acquire_token(&attested()).await.unwrap();
    let bearer = TokenRequest::bearer_over_mtls(VAULT, KeyRequirements::attested());
    let bearer = host.client().acquire_token(&bearer).await.unwrap();
    let (own, other, unbound) = (
        token.authorization(),
        of_another_key.authorization(),
        bearer.authorization(),
    );
    let (own, secret) = (own.expose(), token.secret().expose());
    let sender = client_of(&host, &token);
    for (values, kind, stage) in [
        (vec![], ErrorKind::InvalidRequest, Stage::Request),
        (vec![own, own], ErrorKind::InvalidRequest, Stage::Request),
        (vec![secret], ErrorKind::InvalidRequest, Stage::Request),
        (
            vec!["mtls_pop x"],
            ErrorKind::InvalidRequest,
            Stage::Request,
        ),
        (
            vec![other.expose()],
            ErrorKind::BindingMismatch,
            Stage::Resource,
        ),
        (
            vec![unbound.expose()],
            ErrorKind::TokenNotBound,
            Stage::Resource,
        ),
    ] {
        let request = get(&host.secret_url(), &values);
        let error = sender.send_authorized(request).await.unwrap_err();
        assert_failed(&error, kind, stage);
        assert!(!format!("{error:?}").contains(secret));
    }
    assert_eq!(host.count("vault-tls"), 0);
}

#[tokio::test]
async fn reports_a_server_that_never_requests_the_certificate() {
    let host = TestHost::new();
    let token = host.client().acquire_token(&attested()).await.unwrap();
    host.inject("vault=never-ask");
    let request = get(&host.secret_url(), &[token.authorization().expose()]);
    let error = client_of(&host, &token).send_authorized(request).await;
    assert_failed(
        &error.unwrap_err(),
        ErrorKind::ClientCertificateNotRequested,
        Stage::Resource,
    );
}
