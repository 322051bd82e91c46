//! A test authority, binding keys, and servers on loopback.
#![allow(dead_code, reason = "each test binary uses its part")]
pub mod http;
pub mod keys;
pub mod pki;
pub mod scene;
pub mod server;

use bytes::Bytes;
use keybound_transport::{
    ConnectionInfo, HttpsClient, HttpsClientBuilder, RequestBody, TlsEngine, TransportError,
    TrustAnchors,
};
use std::time::Duration;

/// Far more than any test needs; what must run out uses less.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// An answer, read in full.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: ::http::HeaderMap,
    pub info: Option<ConnectionInfo>,
    pub body: Bytes,
}

impl Answer {
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub fn info(&self) -> &ConnectionInfo {
        self.info.as_ref().unwrap()
    }
}

/// A client that trusts the authority.
pub fn client_builder(authority: &pki::Authority) -> HttpsClientBuilder {
    HttpsClient::builder()
        .engine(TlsEngine::OpenSsl)
        .trust(TrustAnchors::system().with_pem(&authority.pem()).unwrap())
}

pub fn request(method: &str, uri: &str, body: RequestBody) -> ::http::Request<RequestBody> {
    ::http::Request::builder()
        .method(method)
        .uri(uri)
        .body(body)
        .unwrap()
}

/// Sends a request and reads the answer.
pub async fn call(
    client: &HttpsClient,
    method: &str,
    uri: &str,
    body: RequestBody,
) -> Result<Answer, TransportError> {
    let response = client.send(request(method, uri, body), PATIENCE).await?;
    let (parts, body) = response.into_parts();
    let body = body.collect(1 << 20).await?;
    Ok(Answer {
        status: parts.status.as_u16(),
        headers: parts.headers,
        info: parts.extensions.get::<ConnectionInfo>().cloned(),
        body,
    })
}

pub async fn get(client: &HttpsClient, uri: &str) -> Result<Answer, TransportError> {
    call(client, "GET", uri, RequestBody::empty()).await
}

pub async fn post(
    client: &HttpsClient,
    uri: &str,
    length: usize,
) -> Result<Answer, TransportError> {
    call(client, "POST", uri, RequestBody::full(vec![b'x'; length])).await
}

/// The whole chain of an error, for assertions on words.
pub fn words(error: &TransportError) -> String {
    let mut text = format!("{error:?} {error}");
    let mut next = std::error::Error::source(error);
    while let Some(cause) = next {
        text.push_str(&format!(" / {cause:?} {cause}"));
        next = cause.source();
    }
    text
}
