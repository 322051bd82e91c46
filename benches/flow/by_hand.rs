//! The same steps without the library: bare hyper, tokio-openssl, an ordinary key. Everything possible is prepared in advance.
use crate::vault::secret_url;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use keybound_benches::test_host::TestHost;
use keybound_core::csr::UnsignedCsr;
use keybound_core::{CuId, Guid};
use openssl::hash::MessageDigest;
use openssl::pkey::{PKey, Private};
use openssl::rsa::{Padding, Rsa};
use openssl::sign::{RsaPssSaltlen, Signer};
use openssl::ssl::{SslConnector, SslMethod};
use openssl::x509::X509;
use serde_json::{Value, json};
use std::pin::Pin;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use url::Url;

/// An ordinary key with its certificate, and all requests.
pub struct ByHand {
    imds: Url,
    key: PKey<Private>,
    to_be_signed: Vec<u8>,
    issue_body: Bytes,
    connector: SslConnector,
    token_url: Url,
    form: Bytes,
    secret_url: Url,
}

impl ByHand {
    pub async fn prepare(test_host: &TestHost) -> Self {
        let key = PKey::from_rsa(Rsa::generate(2048).expect("a key")).expect("a key");
        let ready = test_host.emulator().ready();
        let imds = Url::parse(ready.imds.as_str()).expect("a URL");
        let metadata: Value = call_imds(&imds, Method::GET, METADATA, Bytes::new()).await;
        let (to_be_signed, issue_body) = signing_request(&metadata, &key);
        let issued: Value = call_imds(&imds, Method::POST, ISSUE, issue_body.clone()).await;
        let text = |name: &str| issued[name].as_str().expect("text").to_owned();
        let mut connector = SslConnector::builder(SslMethod::tls_client()).expect("a connector");
        connector.set_ca_file(&ready.ca_file).expect("the CA");
        let certificate = STANDARD.decode(text("certificate")).expect("base64");
        connector
            .set_certificate(&X509::from_der(&certificate).expect("a certificate"))
            .expect("a certificate");
        connector.set_private_key(&key).expect("the key");
        let token_url = format!(
            "{}/{}/oauth2/v2.0/token",
            text("mtls_authentication_endpoint"),
            text("tenant_id")
        );
        let form = format!(
            "client_id={}&grant_type=client_credentials&scope=https%3A%2F%2Fvault.azure.net%2F.default&token_type=mtls_pop",
            text("client_id")
        );
        Self {
            imds,
            key,
            to_be_signed,
            issue_body,
            connector: connector.build(),
            token_url: Url::parse(&token_url).expect("a URL"),
            form: form.into(),
            secret_url: secret_url(test_host),
        }
    }

    /// Fetches metadata, signs the CSR, fetches the certificate and a token. The handshake makes a second signature.
    pub async fn first_acquisition(&self) {
        call_imds(&self.imds, Method::GET, METADATA, Bytes::new()).await;
        sign(&self.key, &self.to_be_signed);
        call_imds(&self.imds, Method::POST, ISSUE, self.issue_body.clone()).await;
        self.token().await;
    }

    /// One POST request over a new mutual TLS connection.
    pub async fn token(&self) -> String {
        let mut sender = self.connect(&self.token_url).await;
        let request = Request::post(self.token_url.path())
            .header("host", authority(&self.token_url))
            .header("content-type", "application/x-www-form-urlencoded")
            .body(Full::new(self.form.clone()))
            .expect("a request");
        let response = json_of(&mut sender, request).await;
        response["access_token"]
            .as_str()
            .expect("a token")
            .to_owned()
    }

    /// A connection to the vault with a new token.
    pub async fn vault_connection(&self) -> VaultConnection {
        VaultConnection {
            authorization: format!("mtls_pop {}", self.token().await),
            sender: self.connect(&self.secret_url).await,
            url: self.secret_url.clone(),
        }
    }

    async fn connect(&self, url: &Url) -> SendRequest<Full<Bytes>> {
        let host = url.host_str().expect("a host");
        let ssl = self
            .connector
            .configure()
            .expect("settings")
            .into_ssl(host)
            .expect("settings");
        let mut stream = tokio_openssl::SslStream::new(ssl, tcp(url).await).expect("a stream");
        Pin::new(&mut stream).connect().await.expect("a handshake");
        http(stream).await
    }
}

/// An open connection to the vault.
pub struct VaultConnection {
    authorization: String,
    sender: SendRequest<Full<Bytes>>,
    url: Url,
}

impl VaultConnection {
    pub async fn get_secret(&mut self) {
        let path = &self.url[url::Position::BeforePath..];
        let request = Request::get(path)
            .header("host", authority(&self.url))
            .header("authorization", &self.authorization)
            .header("x-ms-tokenboundauth", "true")
            .body(Full::new(Bytes::new()))
            .expect("a request");
        json_of(&mut self.sender, request).await;
    }
}

async fn call_imds(imds: &Url, method: Method, call: &str, body: Bytes) -> Value {
    let mut sender = http(tcp(imds).await).await;
    let request = Request::builder()
        .method(method)
        .uri(format!("/metadata/identity/{call}?cred-api-version=2.0"))
        .header("host", authority(imds))
        .header("metadata", "true")
        .header(
            "x-ms-client-request-id",
            "11111111-2222-4333-8444-555555555555",
        )
        .header("content-type", "application/json; charset=utf-8")
        .body(Full::new(body))
        .expect("a request");
    json_of(&mut sender, request).await
}

async fn json_of(sender: &mut SendRequest<Full<Bytes>>, request: Request<Full<Bytes>>) -> Value {
    sender.ready().await.expect("a connection");
    let response = sender.send_request(request).await.expect("a response");
    let status = response.status();
    let body = response
        .into_body()
        .collect()
        .await
        .expect("a body")
        .to_bytes();
    assert_eq!(status, 200, "{}", String::from_utf8_lossy(&body));
    serde_json::from_slice(&body).expect("JSON")
}

async fn http<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    stream: S,
) -> SendRequest<Full<Bytes>> {
    let (sender, connection) = handshake(TokioIo::new(stream)).await.expect("HTTP");
    tokio::spawn(async move {
        // It ends with the sender, which reports errors.
        let _ = connection.await;
    });
    sender
}

async fn tcp(url: &Url) -> TcpStream {
    let address = url.socket_addrs(|| None).expect("an address");
    let stream = TcpStream::connect(&*address).await.expect("a connection");
    stream.set_nodelay(true).expect("an option");
    stream
}

fn authority(url: &Url) -> &str {
    &url[url::Position::BeforeHost..url::Position::AfterPort]
}

fn signing_request(metadata: &Value, key: &PKey<Private>) -> (Vec<u8>, Bytes) {
    let guid = |name: &str| Guid::parse(metadata[name].as_str().expect("text")).expect("a GUID");
    let machine = |name: &str| metadata["cuId"][name].as_str().map(str::to_owned);
    let cu_id = CuId::new(machine("vmId"), machine("vmssId")).expect("an id");
    let public_key = key.public_key_to_der().expect("a key");
    let unsigned = UnsignedCsr::new(&guid("clientId"), &guid("tenantId"), &cu_id, &public_key)
        .expect("a request");
    let signature = sign(key, unsigned.to_be_signed());
    let csr = unsigned.finish(&signature).expect("a request").to_wire();
    (
        unsigned.to_be_signed().to_vec(),
        json!({ "csr": csr }).to_string().into(),
    )
}

fn sign(key: &PKey<Private>, bytes: &[u8]) -> Vec<u8> {
    let mut signer = Signer::new(MessageDigest::sha256(), key).expect("a signer");
    signer
        .set_rsa_padding(Padding::PKCS1_PSS)
        .expect("an option");
    signer
        .set_rsa_mgf1_md(MessageDigest::sha256())
        .expect("an option");
    signer
        .set_rsa_pss_saltlen(RsaPssSaltlen::DIGEST_LENGTH)
        .expect("an option");
    signer.sign_oneshot_to_vec(bytes).expect("a signature")
}

const METADATA: &str = "getplatformmetadata";
const ISSUE: &str = "issuecredential";
