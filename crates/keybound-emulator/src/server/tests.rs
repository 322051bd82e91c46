//! The server, over sockets on loopback.
mod alerts;
mod certificate_requests;
mod clients;
mod handshakes;
mod replies;

use super::certificate_alert::CertificateAlert;
use super::testing::{
    Client, ClientOptions, Echo, EchoWithOptions, Running, self_signed, settings, start,
};
use super::{ClientCertificate, ConnectionOptions, Refusal};
use crate::config::TlsVersionRange;
use openssl::ssl::SslVersion;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

async fn connect(server: &Running, options: &ClientOptions) -> Client {
    Client::connect(server.address, SslVersion::TLS1_2, options)
        .await
        .unwrap()
}

/// Connects and sends a request: with TLS 1.3 a client learns only with the first response that the server rejected its
/// certificate.
async fn first_status(
    address: SocketAddr,
    version: SslVersion,
    options: &ClientOptions,
) -> io::Result<u16> {
    let mut client = Client::connect(address, version, options).await?;
    Ok(client.get("/", "").await?.status)
}

/// Short timeouts, and longer ones for a busy machine.
const INCREASING_TIMEOUTS: [Duration; 4] = [
    Duration::from_millis(200),
    Duration::from_millis(800),
    Duration::from_millis(3200),
    Duration::from_millis(12_800),
];

const BOTH: [SslVersion; 2] = [SslVersion::TLS1_2, SslVersion::TLS1_3];
/// The header of a request after which the server requests the certificate.
const WANT: &str = "x-want: 1\r\n";
