use super::RequestBuilder;
use super::worker::Worker;
use http::Method;
use std::sync::Arc;

/// Calls resources with tokens of one kind, blocking the caller. Cloning is cheap and shares everything. See
/// [`http::ResourceClient`](crate::http::ResourceClient).
#[derive(Clone, Debug)]
pub struct ResourceClient {
    client: crate::http::ResourceClient,
    worker: Arc<Worker>,
}

impl ResourceClient {
    /// Wraps a client; the calls are made on a thread of its own.
    pub fn new(client: crate::http::ResourceClient) -> Self {
        Self::on(client, Arc::default())
    }

    pub(super) fn on(client: crate::http::ResourceClient, worker: Arc<Worker>) -> Self {
        Self { client, worker }
    }

    /// A GET of an absolute https URL.
    pub fn get(&self, url: impl AsRef<str>) -> RequestBuilder {
        self.request(Method::GET, url)
    }

    /// A HEAD.
    pub fn head(&self, url: impl AsRef<str>) -> RequestBuilder {
        self.request(Method::HEAD, url)
    }

    /// A POST.
    pub fn post(&self, url: impl AsRef<str>) -> RequestBuilder {
        self.request(Method::POST, url)
    }

    /// A PUT.
    pub fn put(&self, url: impl AsRef<str>) -> RequestBuilder {
        self.request(Method::PUT, url)
    }

    /// A PATCH.
    pub fn patch(&self, url: impl AsRef<str>) -> RequestBuilder {
        self.request(Method::PATCH, url)
    }

    /// A DELETE.
    pub fn delete(&self, url: impl AsRef<str>) -> RequestBuilder {
        self.request(Method::DELETE, url)
    }

    /// Any method but CONNECT.
    pub fn request(&self, method: Method, url: impl AsRef<str>) -> RequestBuilder {
        let request = self.client.request(method, url);
        RequestBuilder::new(request, Arc::clone(&self.worker))
    }
}
