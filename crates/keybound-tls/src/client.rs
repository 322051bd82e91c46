use crate::{
    ClientIdentity, ProxyConfig, RequestBody, ResponseBody, TransportError, TrustAnchors,
    VersionPolicy,
};
use std::time::Duration;

/// Settings of an [`HttpsClient`].
#[derive(Debug)]
pub struct HttpsClientBuilder(());

impl HttpsClientBuilder {
    /// The certificate and key that every connection presents when asked. Default: none.
    #[must_use]
    pub fn identity(self, identity: ClientIdentity) -> Self {
        let _ = identity;
        self
    }

    /// Which server certificates are trusted. Default: the system's.
    #[must_use]
    pub fn trust(self, trust: TrustAnchors) -> Self {
        let _ = trust;
        self
    }

    /// TLS versions by host. Default: [`VersionPolicy::default`].
    #[must_use]
    pub fn versions(self, versions: VersionPolicy) -> Self {
        let _ = versions;
        self
    }

    /// The way through proxies. Default: none.
    #[must_use]
    pub fn proxy(self, proxy: ProxyConfig) -> Self {
        let _ = proxy;
        self
    }

    /// How long an unused connection is kept. Default: 30 s.
    #[must_use]
    pub fn idle_timeout(self, timeout: Duration) -> Self {
        let _ = timeout;
        self
    }

    /// Makes the client. No connection is opened yet.
    ///
    /// # Errors
    /// [`HostUnsupported`](crate::TransportErrorKind::HostUnsupported) where the host's OpenSSL configuration does not
    /// let the key be used.
    pub fn build(self) -> Result<HttpsClient, TransportError> {
        todo!()
    }
}

/// An HTTPS/1.1 client whose connections all present one certificate. Cloning shares the pool.
#[derive(Clone, Debug)]
pub struct HttpsClient(());

impl HttpsClient {
    /// Starts with the defaults.
    pub fn builder() -> HttpsClientBuilder {
        HttpsClientBuilder(())
    }

    /// Sends a request with an absolute https URI. The answer's extensions hold a [`ConnectionInfo`]. Redirects are
    /// returned, not followed. `timeout` covers everything up to the head of the answer and, where the body is read
    /// with it, the body too. Dropping the future gives up and closes the connection.
    ///
    /// # Errors
    /// See [`TransportErrorKind`](crate::TransportErrorKind).
    pub async fn send(
        &self,
        request: http::Request<RequestBody>,
        timeout: Duration,
    ) -> Result<http::Response<ResponseBody>, TransportError> {
        let _ = (request, timeout);
        todo!()
    }
}

/// What is known of the connection that an answer came on.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ConnectionInfo {
    /// `TLSv1.2` or `TLSv1.3`.
    pub tls_version: &'static str,
    /// Whether the server has asked for the client certificate on this connection, up to this answer.
    pub certificate_requested: bool,
    /// Whether the connection had carried a request before.
    pub reused: bool,
}
