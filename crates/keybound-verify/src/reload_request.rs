use crate::Config;
use crate::listener::Stream;
use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use std::io;
use std::time::Duration;
use tokio::net::TcpStream;

/// Has the daemon with this configuration load it again.
///
/// # Errors
/// If it cannot be reached, or why its current configuration remains in use.
pub async fn request_reload(config: &Config) -> io::Result<()> {
    let reload = tokio::time::timeout(TIMEOUT, reload(config));
    reload
        .await
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

async fn reload(config: &Config) -> io::Result<()> {
    let stream = TokioIo::new(connect(config).await?);
    let (mut sender, connection) = http1::handshake(stream).await.map_err(io::Error::other)?;
    let request = Request::post("/reload")
        .header("host", "localhost")
        .body(Empty::<Bytes>::new())
        .map_err(io::Error::other)?;
    let exchange = async {
        let response = sender
            .send_request(request)
            .await
            .map_err(io::Error::other)?;
        let status = response.status();
        let body = Limited::new(response.into_body(), MAX_BODY).collect().await;
        let body = body.map_err(io::Error::other)?.to_bytes();
        match status {
            StatusCode::OK => Ok(()),
            _ => Err(io::Error::other(
                String::from_utf8_lossy(&body).trim().to_owned(),
            )),
        }
    };
    tokio::pin!(connection);
    tokio::select! {
        result = exchange => result,
        _ = &mut connection => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

async fn connect(config: &Config) -> io::Result<Box<dyn Stream>> {
    let failed = |what: &dyn std::fmt::Display, error: io::Error| {
        io::Error::other(format!("the daemon does not answer on {what}: {error}"))
    };
    let Some(admin) = &config.admin else {
        return Err(io::Error::other(
            "the configuration has no [admin]: send SIGHUP to the daemon",
        ));
    };
    #[cfg(unix)]
    if let Some(path) = &admin.unix {
        let stream = tokio::net::UnixStream::connect(path).await;
        let stream = stream.map_err(|error| failed(&path.display(), error))?;
        return Ok(Box::new(stream));
    }
    let address = admin.tcp.ok_or(io::ErrorKind::InvalidInput)?;
    let stream = TcpStream::connect(address).await;
    Ok(Box::new(stream.map_err(|error| failed(&address, error))?))
}

/// Longer than the daemon waits for the keys of some hundred issuers: a request that ends ends its reload.
const TIMEOUT: Duration = Duration::from_secs(300);
const MAX_BODY: usize = 16 * 1024;
