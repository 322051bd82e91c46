//! A client for the simulated resource, and the resource's responses.
use super::Received;
use crate::http::{ResourceClient, ResourceClientBuilder};
use crate::simulation::runner::Run;
use crate::simulation::script::Script;
use crate::simulation::test_host::{Setup, TestHost, unattested};
use crate::{ManagedIdentityClient, Result, TokenRequest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::header::{HeaderValue, WWW_AUTHENTICATE};
use http::{Response, StatusCode};
use keybound_core::lock;
use std::sync::Arc;

/// A simulated host and a client.
pub(super) struct ResourceFixture {
    pub(super) host: Arc<TestHost>,
    pub(super) client: ManagedIdentityClient,
}

impl ResourceFixture {
    pub(super) fn new() -> Self {
        Self::with(Setup::default())
    }

    fn with(setup: Setup) -> Self {
        let host = TestHost::new(setup, Script::default());
        let keys = Run::new(Arc::clone(&host)).keys;
        let client = host.client_builder(keys, 1).build().unwrap();
        Self { host, client }
    }

    pub(super) fn builder(&self) -> ResourceClientBuilder {
        ResourceClient::builder(&self.client, bound())
    }

    pub(super) fn resource(&self) -> ResourceClient {
        self.builder().build().unwrap()
    }

    /// A client of the resource with plain bearer tokens.
    pub(super) fn bearer_resource(&self) -> ResourceClient {
        let request = TokenRequest::bearer("api://orders");
        ResourceClient::builder(&self.client, request)
            .build()
            .unwrap()
    }

    /// Adds responses of the resource.
    pub(super) fn script(&self, responses: impl IntoIterator<Item = Response<Bytes>>) {
        let responses = responses.into_iter().map(Ok);
        lock(&self.host.resource).responses.extend(responses);
    }

    /// Removes and returns the requests that the resource has received.
    pub(super) fn take_requests(&self) -> Vec<Received> {
        std::mem::take(&mut lock(&self.host.resource).requests)
    }

    pub(super) fn mints(&self) -> usize {
        lock(&self.host.history).certificates.len()
    }

    pub(super) fn tokens(&self) -> usize {
        lock(&self.host.history).tokens.len()
    }
}

pub(super) fn bound() -> TokenRequest {
    unattested("api://orders")
}

pub(super) fn response(status: u16) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from_static(b"scripted"));
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    response
}

pub(super) fn response_with(status: u16, name: http::HeaderName, value: &str) -> Response<Bytes> {
    let mut response = response(status);
    let value = HeaderValue::from_str(value).unwrap();
    response.headers_mut().insert(name, value);
    response
}

pub(super) fn challenge(claims: &str) -> Response<Bytes> {
    let claims = URL_SAFE_NO_PAD.encode(claims);
    let value = format!(r#"Bearer error="insufficient_claims", claims="{claims}""#);
    response_with(401, WWW_AUTHENTICATE, &value)
}

pub(super) fn binding_failed() -> Response<Bytes> {
    let mut response = response(401);
    *response.body_mut() = Bytes::from_static(
        br#"{"error":{"code":"Unauthorized","message":"[MtlsCnfClaimRequestDataValidationFailed] no"}}"#,
    );
    response
}

pub(super) fn status(response: Result<crate::http::Response>) -> u16 {
    response.unwrap().status().as_u16()
}

pub(super) const URL: &str = "https://api.example/orders/a";
pub(super) const CLAIMS: &str = r#"{"access_token":{"nbf":{"essential":true,"value":"1"}}}"#;
