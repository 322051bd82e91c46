//! A state without sockets, and functions that pass requests to the services directly.
use crate::config::Config;
use crate::endpoints::Endpoints;
use crate::faults::{ISSUE_PATH, METADATA_PATH};
use crate::peer::Peer;
use crate::pki::Pki;
use crate::reply::Reply;
use crate::server::Handler as _;
use crate::service::Service;
use crate::service_handler::ServiceHandler;
use crate::state::{Keys, State};
use bytes::Bytes;
use http::{HeaderMap, Request};
use serde_json::Value;
use std::sync::{Arc, LazyLock};

/// The state of an emulator without listeners.
pub(crate) fn state(config: Config) -> Arc<State> {
    let endpoint = |(service, port): (Service, u16)| {
        let url = format!("{}://127.0.0.1:{port}", service.scheme());
        (service, url.parse().unwrap())
    };
    let endpoints = Service::ALL.into_iter().zip(1001..).map(endpoint);
    let endpoints = Endpoints(endpoints.collect());
    let state = State::new(
        config,
        Pki::new(None, [127, 0, 0, 1].into()).unwrap(),
        endpoints,
    )
    .unwrap();
    let keys = KEYS.clone();
    Arc::new(State { keys, ..state })
}

/// Shared by all tests, since the generation of RSA keys is slow.
static KEYS: LazyLock<Keys> = LazyLock::new(Keys::default);

/// A client without a certificate.
pub(crate) fn anonymous() -> Peer {
    Peer {
        client_certificate: None,
        tls_version: None,
    }
}

/// A JSON response.
#[derive(Debug)]
pub(crate) struct JsonResponse {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Value,
}

impl JsonResponse {
    pub fn text(&self, member: &str) -> &str {
        self.body[member]
            .as_str()
            .unwrap_or_else(|| panic!("no text {member} in {self:?}"))
    }
}

/// Sends a request to a service and returns its JSON response.
pub(crate) async fn send(
    state: &Arc<State>,
    service: Service,
    request: Request<Bytes>,
) -> JsonResponse {
    match handle(state, service, request).await {
        Reply::Full(response) => JsonResponse {
            status: response.status().as_u16(),
            headers: response.headers().clone(),
            body: serde_json::from_slice(response.body()).expect("the response is JSON"),
        },
        other => panic!("expected a response, not {other:?}"),
    }
}

/// Handles a request without a client certificate.
pub(crate) async fn handle(state: &Arc<State>, service: Service, request: Request<Bytes>) -> Reply {
    let handler = ServiceHandler::new(state.clone(), service);
    handler.handle(request, anonymous()).await
}

/// A valid request for the metadata of the system-assigned identity.
pub(crate) fn metadata_request() -> Request<Bytes> {
    imds(
        "GET",
        &format!("{METADATA_PATH}?cred-api-version=2.0"),
        Bytes::new(),
    )
}

/// A request for a certificate of the system-assigned identity.
pub(crate) fn issue_request(csr: &str, attestation_token: Option<&str>) -> Request<Bytes> {
    let mut body = serde_json::json!({"csr": csr});
    if let Some(token) = attestation_token {
        body["attestation_token"] = token.into();
    }
    let uri = format!("{ISSUE_PATH}?cred-api-version=2.0");
    let mut request = imds("POST", &uri, body.to_string().into());
    let json = "application/json; charset=utf-8".parse().unwrap();
    request.headers_mut().insert("content-type", json);
    request
}

fn imds(method: &str, uri: &str, body: Bytes) -> Request<Bytes> {
    Request::builder()
        .method(method)
        .uri(uri)
        .header("metadata", "true")
        .header(
            "x-ms-client-request-id",
            "5a5a5a5a-0000-4000-8000-00000000dddd",
        )
        .body(body)
        .unwrap()
}
