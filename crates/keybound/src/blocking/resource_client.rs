use super::RequestBuilder;
use super::worker::Worker;
use http::Method;
use std::sync::Arc;

/// Calls resources with tokens of one kind. Cloning is cheap and shares everything. See
/// [`http::ResourceClient`](crate::http::ResourceClient).
#[derive(Clone, Debug)]
pub struct ResourceClient {
    client: crate::http::ResourceClient,
    worker: Arc<Worker>,
}

impl ResourceClient {
    /// Wraps a client, with a new thread.
    pub fn new(client: crate::http::ResourceClient) -> Self {
        Self::with_worker(client, Arc::default())
    }

    pub(super) fn with_worker(client: crate::http::ResourceClient, worker: Arc<Worker>) -> Self {
        Self { client, worker }
    }

    /// A GET request for an absolute https URL.
    pub fn get(&self, url: impl AsRef<str>) -> RequestBuilder {
        self.request(Method::GET, url)
    }

    /// A HEAD request.
    pub fn head(&self, url: impl AsRef<str>) -> RequestBuilder {
        self.request(Method::HEAD, url)
    }

    /// A POST request.
    pub fn post(&self, url: impl AsRef<str>) -> RequestBuilder {
        self.request(Method::POST, url)
    }

    /// A PUT request.
    pub fn put(&self, url: impl AsRef<str>) -> RequestBuilder {
        self.request(Method::PUT, url)
    }

    /// A PATCH request.
    pub fn patch(&self, url: impl AsRef<str>) -> RequestBuilder {
        self.request(Method::PATCH, url)
    }

    /// A DELETE request.
    pub fn delete(&self, url: impl AsRef<str>) -> RequestBuilder {
        self.request(Method::DELETE, url)
    }

    /// A request with any method except CONNECT.
    pub fn request(&self, method: Method, url: impl AsRef<str>) -> RequestBuilder {
        let request = self.client.request(method, url);
        RequestBuilder::new(request, Arc::clone(&self.worker))
    }
}
