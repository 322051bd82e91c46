//! A fetcher of the issuers' keys.
use crate::{FetchError, FetchFuture, KeyFetcher};
use http::{Request, StatusCode};
pub use keybound_core::tls::Host;
use keybound_transport::{HttpsClient, RequestBody};
pub use keybound_transport::{
    HttpsSettings, ProxyConfig, TlsEngine, TlsVersions, TrustAnchors, VersionPolicy,
};
use std::time::Duration;

/// Fetches the issuers' documents with the HTTPS client of Keybound: servers are verified by the trust anchors of its settings,
/// redirects are errors, a response has at most 1 MiB and takes at most 5 seconds.
#[derive(Clone, Debug)]
pub struct HttpsKeyFetcher(HttpsClient);

impl HttpsKeyFetcher {
    /// A fetcher with these settings of TLS and the proxy.
    ///
    /// # Errors
    /// If the host's TLS does not support the settings.
    pub fn new(settings: HttpsSettings) -> Result<Self, FetchError> {
        let client = HttpsClient::new(None, settings).map_err(|error| {
            FetchError::new("the HTTPS client cannot be created").with_source(error)
        })?;
        Ok(Self(client))
    }

    async fn get(&self, url: &str) -> Result<Vec<u8>, FetchError> {
        let failed = || FetchError::new("the issuer's keys cannot be fetched");
        let request = Request::get(url)
            .header(http::header::ACCEPT, "application/json")
            .body(RequestBody::empty())
            .map_err(|error| failed().with_source(error))?;
        let response = self.0.send(request, TIMEOUT).await;
        let response = response.map_err(|error| failed().with_source(error))?;
        if response.status() != StatusCode::OK {
            let status = response.status().as_u16();
            return Err(FetchError::new(format!(
                "the issuer returned status {status} in place of its keys"
            )));
        }
        let body = response.into_body().collect(MAX_BODY).await;
        Ok(body.map_err(|error| failed().with_source(error))?.into())
    }
}

impl KeyFetcher for HttpsKeyFetcher {
    fn fetch<'a>(&'a self, url: &'a str) -> FetchFuture<'a> {
        Box::pin(self.get(url))
    }
}

const TIMEOUT: Duration = Duration::from_secs(5);
const MAX_BODY: usize = 1024 * 1024;
