use crate::Config;
use crate::listener::Stream;
use bytes::Bytes;
use http::header::RETRY_AFTER;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use std::io;
use std::time::Duration;
use tokio::net::TcpStream;

/// Has the daemon with this configuration load it again. If another reload ended just before, it waits as long as the daemon says, and
/// requests this one again; `on_wait` is called before.
///
/// # Errors
/// If it cannot be reached, or why its current configuration remains in use.
pub async fn request_reload(
    config: &Config,
    mut on_wait: impl FnMut(Duration) + Send,
) -> io::Result<()> {
    let reload = async {
        while let Answer::RetryAfter(wait) = request(config).await? {
            on_wait(wait);
            tokio::time::sleep(wait).await;
        }
        Ok(())
    };
    let late = || {
        let seconds = TIMEOUT.as_secs();
        let late = format!("the daemon did not load its configuration within {seconds} s");
        io::Error::new(io::ErrorKind::TimedOut, late)
    };
    tokio::time::timeout(TIMEOUT, reload)
        .await
        .unwrap_or_else(|_| Err(late()))
}

enum Answer {
    Loaded,
    /// The daemon limits how often it is requested.
    RetryAfter(Duration),
}

async fn request(config: &Config) -> io::Result<Answer> {
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
        let (head, body) = response.into_parts();
        let body = Limited::new(body, MAX_BODY).collect().await;
        let body = body.map_err(io::Error::other)?.to_bytes();
        match (head.status, retry_after(&head.headers)) {
            (StatusCode::OK, _) => Ok(Answer::Loaded),
            (StatusCode::TOO_MANY_REQUESTS, Some(wait)) => Ok(Answer::RetryAfter(wait)),
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

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?;
    let seconds: u64 = value.parse().ok()?;
    Some(Duration::from_secs(seconds.max(1)))
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
