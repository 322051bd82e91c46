//! azure_identity, with a transport of hyper that opens a connection for each request, as Keybound does.
use azure_core::Bytes;
use azure_core::credentials::TokenCredential;
use azure_core::http::headers::Headers;
use azure_core::http::{
    AsyncRawResponse, ClientOptions, HttpClient, Request, RetryOptions, StatusCode, Transport,
};
use azure_identity::{ManagedIdentityCredential, ManagedIdentityCredentialOptions};
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use std::sync::Arc;
use tokio::net::TcpStream;

/// A credential for the source that the environment of the process names.
pub fn credential() -> Arc<dyn TokenCredential> {
    let client_options = ClientOptions {
        retry: RetryOptions::none(),
        transport: Some(Transport::new(Arc::new(Hyper))),
        ..Default::default()
    };
    let options = ManagedIdentityCredentialOptions {
        client_options,
        ..Default::default()
    };
    ManagedIdentityCredential::new(Some(options)).expect("a credential")
}

#[derive(Debug)]
struct Hyper;

#[async_trait::async_trait]
impl HttpClient for Hyper {
    async fn execute_request(&self, request: &Request) -> azure_core::Result<AsyncRawResponse> {
        let url = request.url();
        let address = (url.host_str().expect("a host"), url.port().expect("a port"));
        let stream = TcpStream::connect(address).await.expect("a connection");
        stream.set_nodelay(true).expect("an open connection");
        let handshake = http1::handshake(TokioIo::new(stream)).await;
        let (mut sender, connection) = handshake.expect("a connection");
        tokio::spawn(connection);
        let query = url.query().unwrap_or_default();
        let mut outgoing = hyper::Request::builder().uri(format!("{}?{query}", url.path()));
        outgoing = outgoing.header("host", format!("{}:{}", address.0, address.1));
        for (name, value) in request.headers().iter() {
            outgoing = outgoing.header(name.as_str(), value.as_str());
        }
        let outgoing = outgoing.body(Empty::<Bytes>::new()).expect("a request");
        let response = sender.send_request(outgoing).await.expect("a response");
        let status: StatusCode = response.status().as_u16().into();
        let body = response
            .into_body()
            .collect()
            .await
            .expect("a body")
            .to_bytes();
        Ok(AsyncRawResponse::from_bytes(status, Headers::new(), body))
    }
}
