//! hyper over tokio-openssl: a caller's own TLS library, with Key Vault, which requests the certificate by renegotiation.
//!
//! `cargo run --package keybound-examples --bin hyper_vault [-- --azure https://NAME.vault.azure.net/secrets/NAME?api-version=7.4]`
#![expect(clippy::print_stdout, reason = "an example prints its results")]
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{AUTHORIZATION, HOST, HeaderValue};
use hyper::{Request, Uri};
use hyper_util::rt::TokioIo;
use keybound::KeyRequirements;
use keybound::tls::openssl::ssl::Ssl;
use keybound_examples::Platform;
use std::error::Error;
use std::pin::Pin;
use tokio::net::TcpStream;
use tokio_openssl::SslStream;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let platform = Platform::from_arguments()?;
    let client = platform.client()?.build()?;
    let token = client
        .pop_token("https://vault.azure.net", KeyRequirements::attested())
        .await?;
    let uri: Uri = platform.secret_url()?.parse()?;
    let host = uri.host().ok_or("the URL has a host")?;

    // It verifies the host name. Send only tokens of this binding on its connections.
    let binding = token.binding().ok_or("a bound token has a binding")?;
    let tls = connect(
        binding.openssl()?.ssl(host)?,
        host,
        uri.port_u16().unwrap_or(443),
    )
    .await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(tls)).await?;
    let connection = tokio::spawn(connection);

    let mut authorization = HeaderValue::from_str(token.authorization().expose())?;
    authorization.set_sensitive(true);
    let path = uri.path_and_query().ok_or("the URL has a path")?.as_str();
    let request = Request::get(path)
        .header(HOST, uri.authority().ok_or("the URL has a host")?.as_str())
        .header(AUTHORIZATION, authorization)
        // Without it the vault does not request the certificate.
        .header("x-ms-tokenboundauth", "true")
        .body(Empty::<Bytes>::new())?;
    let response = sender.send_request(request).await?;
    let status = response.status();
    let body = Limited::new(response.into_body(), 64 * 1024)
        .collect()
        .await
        .map_err(|error| error.to_string())?
        .to_bytes();
    println!("the vault returned {status} with {} bytes", body.len());
    drop(sender);
    connection.await??;
    if !status.is_success() {
        return Err("the secret could not be read".into());
    }
    Ok(())
}

async fn connect(ssl: Ssl, host: &str, port: u16) -> Result<SslStream<TcpStream>, Box<dyn Error>> {
    let mut stream = SslStream::new(ssl, TcpStream::connect((host, port)).await?)?;
    Pin::new(&mut stream).connect().await?;
    Ok(stream)
}
