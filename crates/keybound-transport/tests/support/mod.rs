//! A test authority, binding keys, and servers on loopback.
#![allow(dead_code, unused_imports, reason = "each test binary uses its part")]
pub mod client;
pub mod fixture;
pub mod keys;
pub mod pki;
pub mod server;

use bytes::Bytes;
pub use client::{ClientBuilder, client_builder};
use keybound_transport::{
    ConnectionInfo, HttpsClient, RequestBody, Sha1Thumbprint, TransportError,
};
use std::time::Duration;

/// Longer than any test needs; tests of timeouts use shorter ones.
pub const TEST_TIMEOUT: Duration = Duration::from_secs(60);

/// A response, read completely.
#[derive(Debug)]
pub struct Response {
    pub status: u16,
    pub headers: ::http::HeaderMap,
    pub info: Option<ConnectionInfo>,
    pub body: Bytes,
}

impl Response {
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub fn info(&self) -> &ConnectionInfo {
        self.info.as_ref().unwrap()
    }
}

pub fn request(method: &str, uri: &str, body: RequestBody) -> ::http::Request<RequestBody> {
    ::http::Request::builder()
        .method(method)
        .uri(uri)
        .body(body)
        .unwrap()
}

/// Sends a request and reads the response.
pub async fn call(
    client: &HttpsClient,
    method: &str,
    uri: &str,
    body: RequestBody,
) -> Result<Response, TransportError> {
    let response = client
        .send(request(method, uri, body), TEST_TIMEOUT)
        .await?;
    let (parts, body) = response.into_parts();
    let info = body.connection().cloned();
    let body = body.collect(1 << 20).await?;
    Ok(Response {
        status: parts.status.as_u16(),
        headers: parts.headers,
        info,
        body,
    })
}

pub async fn get(client: &HttpsClient, uri: &str) -> Result<Response, TransportError> {
    call(client, "GET", uri, RequestBody::empty()).await
}

pub async fn post(
    client: &HttpsClient,
    uri: &str,
    length: usize,
) -> Result<Response, TransportError> {
    call(client, "POST", uri, RequestBody::full(vec![b'x'; length])).await
}

/// The thumbprint of a certificate as OpenSSL computes it.
pub fn pin(certificate: &openssl::x509::X509Ref) -> Sha1Thumbprint {
    let digest = certificate.digest(openssl::hash::MessageDigest::sha1());
    Sha1Thumbprint::parse(&server::hex(&digest.unwrap())).unwrap()
}

/// The error and all its causes, for assertions on messages.
pub fn error_chain(error: &TransportError) -> String {
    let mut text = format!("{error:?} {error}");
    let mut next = std::error::Error::source(error);
    while let Some(cause) = next {
        text.push_str(&format!(" / {cause:?} {cause}"));
        next = cause.source();
    }
    text
}
