//! One connection, from handshake to close. OpenSSL runs a renegotiation during reads, as any handshake, so that no blocking
//! thread is needed.
use super::alert_replacement::AlertReplacement;
use super::alert_rewriter::AlertRewriter;
use super::head::Framing;
use super::hosts::Hosts;
use super::maybe_tls_stream::MaybeTlsStream;
use super::read_error::ReadError;
use super::wire::{Wire, response_head};
use super::{ConnectionOptions, Handler, Refusal, Timeouts};
use crate::peer::Peer;
use crate::reply::Reply;
use crate::response::Response;
use bytes::Bytes;
use http::{Method, StatusCode};
use keybound_openssl::server::{RequestCertificateError, request_client_certificate};
use openssl::ssl::{Ssl, SslAcceptor, SslRef};
use std::error::Error;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_openssl::SslStream;

/// The settings that all connections of a listener share.
pub(super) struct Shared<H> {
    /// `None`: plain HTTP.
    pub(super) acceptor: Option<SslAcceptor>,
    pub(super) hosts: Hosts,
    pub(super) timeouts: Timeouts,
    pub(super) handler: H,
}

/// Serves one connection until the client or a reply ends it. Errors affect only this connection.
pub(super) async fn serve<H: Handler>(stream: TcpStream, address: SocketAddr, shared: &Shared<H>) {
    let _ = stream.set_nodelay(true);
    let options = shared.handler.connection_options();
    tokio::time::sleep(options.delay).await;
    match options.problem {
        None => (),
        Some(Refusal::Hang) => return wait_for_disconnect(stream).await,
        Some(Refusal::Close) => return shut_down(stream).await,
        Some(Refusal::Reset) => {
            let _ = stream.set_zero_linger();
            return;
        }
    }
    let link = match &shared.acceptor {
        None => MaybeTlsStream::Plain(stream),
        Some(acceptor) => {
            match is_plain_http(&stream, shared.timeouts.handshake).await {
                Ok(false) => (),
                Ok(true) => return reject_plain_http(stream, shared.timeouts).await,
                Err(_) => return shut_down(stream).await,
            }
            let Ok(mut stream) = unconnected(stream, acceptor, options) else {
                return;
            };
            let accepting = async {
                let accepted = Pin::new(&mut stream).accept().await;
                accepted.map_err(io::Error::other)
            };
            if let Err(error) = within(shared.timeouts.handshake, accepting).await {
                tracing::debug!(%address, error = &error as &dyn Error, "no TLS handshake");
                return shut_down(&mut stream.get_mut().tcp).await;
            }
            MaybeTlsStream::Tls(stream)
        }
    };
    let mut connection = Connection {
        wire: Wire::new(link),
        address,
        shared,
    };
    loop {
        match connection.exchange().await {
            After::Next => (),
            After::Close => return connection.close().await,
            After::Cut => return shut_down(connection.wire.stream.tcp_mut()).await,
            After::Reset => {
                let _ = connection.wire.stream.tcp().set_zero_linger();
                return;
            }
        }
    }
}

/// Whether a client of a TLS listener begins with the method of a plain HTTP request.
async fn is_plain_http(stream: &TcpStream, limit: Duration) -> io::Result<bool> {
    let mut first = [0];
    within(limit, stream.peek(&mut first)).await?;
    Ok(first[0].is_ascii_uppercase())
}

/// Responds with 400: a reset would not say that https is required.
async fn reject_plain_http(stream: TcpStream, timeouts: Timeouts) {
    let mut response = Response::new(Bytes::from_static(HTTPS_REQUIRED));
    *response.status_mut() = StatusCode::BAD_REQUEST;
    let mut wire = Wire::new(stream);
    let _ = within(
        timeouts.response,
        wire.write_response(&response, false, true),
    )
    .await;
    shut_down(wire.stream).await;
}

/// The TLS stream before the handshake.
fn unconnected(
    stream: TcpStream,
    acceptor: &SslAcceptor,
    options: ConnectionOptions,
) -> io::Result<SslStream<AlertRewriter>> {
    let mut ssl = Ssl::new(acceptor.context())?;
    let stream = AlertRewriter {
        tcp: stream,
        replacement: AlertReplacement::default(),
    };
    options.apply(&mut ssl, &stream.replacement)?;
    Ok(SslStream::new(ssl, stream)?)
}

struct Connection<'a, H> {
    wire: Wire<MaybeTlsStream>,
    address: SocketAddr,
    shared: &'a Shared<H>,
}

/// How the connection continues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum After {
    Next,
    /// Closed with close_notify.
    Close,
    /// Closed without close_notify: after an alert, within a response, or because the peer has disconnected.
    Cut,
    /// Reset.
    Reset,
}

impl<H: Handler> Connection<'_, H> {
    /// Reads a request and handles it.
    async fn exchange(&mut self) -> After {
        match self.read_request().await {
            Ok(Some(request)) => self.respond(request).await,
            Ok(None) => After::Close,
            Err(ReadError::Disconnected) => After::Cut,
            Err(ReadError::Rejected(status, reason)) => self.reject(status, reason).await,
        }
    }

    async fn read_request(&mut self) -> Result<Option<Incoming>, ReadError> {
        let timeouts = self.shared.timeouts;
        let head = match timeout(timeouts.head, self.wire.read_head(self.shared.hosts)).await {
            Ok(head) => head?,
            Err(_) if self.wire.buffer.is_empty() => None,
            Err(_) => return Err(TIMED_OUT),
        };
        let Some(head) = head else { return Ok(None) };
        let (parts, ()) = head.request.into_parts();
        if head.framing != Framing::None && !self.shared.handler.reads_body(&parts) {
            return Ok(Some(Incoming {
                // The body is not read.
                last: true,
                request: http::Request::from_parts(parts, Bytes::new()),
                requests_certificate: false,
            }));
        }
        let requests_certificate =
            self.certificate().is_none() && self.shared.handler.requests_certificate(&parts);
        let limit = if requests_certificate {
            MAX_UNAUTHENTICATED_BODY_BYTES
        } else {
            MAX_BODY_BYTES
        };
        let too_long = matches!(head.framing, Framing::Length(length) if length > limit as u64);
        if head.expects_continue && head.framing != Framing::None && !too_long {
            let waiting = within(timeouts.response, self.wire.write_continue());
            waiting.await.map_err(|_| ReadError::Disconnected)?;
        }
        let body = timeout(timeouts.body, self.wire.read_body(head.framing, limit))
            .await
            .map_err(|_| TIMED_OUT)??;
        Ok(Some(Incoming {
            last: head.last,
            request: http::Request::from_parts(parts, body),
            requests_certificate,
        }))
    }

    async fn respond(&mut self, incoming: Incoming) -> After {
        if incoming.requests_certificate && !self.request_certificate().await {
            return After::Cut;
        }
        let head_only = incoming.request.method() == Method::HEAD;
        let peer = Peer {
            client_certificate: self.certificate(),
            tls_version: self.wire.stream.ssl().map(SslRef::version_str),
        };
        let reply = self.shared.handler.handle(incoming.request, peer).await;
        self.reply(reply, head_only, incoming.last).await
    }

    /// Requests the client certificate. `false` if the connection can no longer be used. A client that does not support the
    /// request is handled as one without a certificate.
    async fn request_certificate(&mut self) -> bool {
        // Data from before authentication must not be treated as data of the authenticated client.
        if !self.wire.buffer.is_empty() {
            return false;
        }
        let Some(stream) = self.wire.stream.tls_mut() else {
            return true;
        };
        let requesting = request_client_certificate(stream);
        match timeout(self.shared.timeouts.handshake, requesting).await {
            Ok(Ok(()) | Err(RequestCertificateError::NotOffered(_))) => true,
            Ok(Err(error)) => {
                tracing::debug!(address = %self.address, error = &error as &dyn Error, "no certificate");
                false
            }
            Err(_elapsed) => false,
        }
    }

    async fn reply(&mut self, reply: Reply, head_only: bool, last: bool) -> After {
        match reply {
            Reply::Full(response) => {
                let writing = self.wire.write_response(&response, head_only, last);
                match within(self.shared.timeouts.response, writing).await {
                    Ok(()) if !last => After::Next,
                    Ok(()) => After::Close,
                    Err(_) => After::Cut,
                }
            }
            Reply::Oversized(response, length) => {
                let writing = oversized(&mut self.wire.stream, &response, length);
                after_write(within(STREAM_TIMEOUT, writing).await)
            }
            Reply::Truncated(response) => {
                let mut bytes = head_of(&response, response.body().len() as u64);
                bytes.extend_from_slice(&response.body()[..response.body().len() / 2]);
                let _ = self.write(&bytes).await;
                After::Cut
            }
            Reply::NotHttp(bytes) => after_write(self.write(&bytes).await),
            Reply::Hang => {
                wait_for_disconnect(&mut self.wire.stream).await;
                After::Cut
            }
            Reply::Close => After::Cut,
            Reply::Reset => After::Reset,
        }
    }

    async fn reject(&mut self, status: StatusCode, reason: &'static str) -> After {
        let mut response = Response::new(Bytes::from_static(reason.as_bytes()));
        *response.status_mut() = status;
        self.reply(Reply::Full(response), false, true).await
    }

    async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        within(self.shared.timeouts.response, async {
            self.wire.stream.write_all(bytes).await?;
            self.wire.stream.flush().await
        })
        .await
    }

    /// Sends close_notify, then closes the connection.
    async fn close(mut self) {
        let _ = timeout(CLOSE_TIMEOUT, self.wire.stream.shutdown()).await;
        shut_down(self.wire.stream.tcp_mut()).await;
    }

    /// The certificate that the client presented and proved possession of, DER.
    fn certificate(&self) -> Option<Vec<u8>> {
        self.wire.stream.ssl()?.peer_certificate()?.to_der().ok()
    }
}

struct Incoming {
    request: http::Request<Bytes>,
    last: bool,
    /// The certificate must be requested first.
    requests_certificate: bool,
}

async fn oversized(
    stream: &mut MaybeTlsStream,
    response: &Response,
    length: u64,
) -> io::Result<()> {
    stream.write_all(&head_of(response, length)).await?;
    let spaces = [b' '; 16 * 1024];
    let mut left = length;
    while left > 0 {
        let now = usize::try_from(left).map_or(spaces.len(), |left| left.min(spaces.len()));
        stream.write_all(&spaces[..now]).await?;
        left -= now as u64;
    }
    stream.flush().await
}

fn head_of(response: &Response, length: u64) -> Vec<u8> {
    let mut head = response_head(response.status(), response.headers());
    head.extend_from_slice(format!("content-length: {length}\r\n\r\n").as_bytes());
    head
}

/// Closes a connection: shuts down writing, and discards incoming data until the client closes its side or a limit is
/// reached. Closing a socket with unread data resets it, which discards data that the client has not read yet, such as the
/// alert or the response.
async fn shut_down(mut stream: impl AsyncRead + AsyncWrite + Unpin) {
    let closing = async {
        let _ = stream.shutdown().await;
        let mut discarded = [0; 4096];
        for _ in 0..MAX_DISCARDED_READS {
            if matches!(stream.read(&mut discarded).await, Ok(0) | Err(_)) {
                return;
            }
        }
    };
    let _ = timeout(CLOSE_TIMEOUT, closing).await;
}

/// Sends nothing until the client disconnects.
async fn wait_for_disconnect(mut stream: impl AsyncRead + Unpin) {
    let mut discarded = [0; 4096];
    let reading = async { while !matches!(stream.read(&mut discarded).await, Ok(0) | Err(_)) {} };
    let _ = timeout(HANG_TIMEOUT, reading).await;
}

fn after_write(written: io::Result<()>) -> After {
    if written.is_ok() {
        After::Close
    } else {
        After::Cut
    }
}

async fn within<T>(limit: Duration, work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    timeout(limit, work)
        .await
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

const HTTPS_REQUIRED: &[u8] = b"a plain HTTP request was sent to an HTTPS port: use https";
const TIMED_OUT: ReadError =
    ReadError::Rejected(StatusCode::REQUEST_TIMEOUT, "the request took too long");
/// 4 MiB: more than any request to these services.
const MAX_BODY_BYTES: usize = 4 * 1024 * 1024;
/// 48 KiB: the part of a body that http.sys, in front of Key Vault, buffers while it requests the certificate.
const MAX_UNAUTHENTICATED_BODY_BYTES: usize = 48 * 1024;
/// The time limit for sending an oversized body.
const STREAM_TIMEOUT: Duration = Duration::from_secs(300);
/// Longer than the timeout of any client.
const HANG_TIMEOUT: Duration = Duration::from_secs(600);
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);
/// In reads of 4 KiB: more than a rejected body of usual size.
const MAX_DISCARDED_READS: usize = 4096;
