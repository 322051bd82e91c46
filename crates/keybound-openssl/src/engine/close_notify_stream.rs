//! A TLS stream that reports an end without `close_notify` as an error.
use crate::ConnectionState;
use crate::ffi::has_received_close_notify;
use std::io::{self, Result};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_openssl::SslStream;

/// Wraps a TLS stream. If the connection ends without the peer's `close_notify`, reading fails: an attacker could end the
/// connection, and a response without a length would appear complete (truncation attack, RFC 9112, section 9.8).
///
/// Reading and writing also fail once the peer has exceeded the limits of a connection.
pub struct CloseNotifyStream<S>(SslStream<S>, Arc<ConnectionState>);

impl<S: AsyncRead + AsyncWrite + Unpin> CloseNotifyStream<S> {
    pub(crate) fn new(stream: SslStream<S>, state: Arc<ConnectionState>) -> Self {
        Self(stream, state)
    }

    fn check_peer(&self) -> Result<()> {
        match self.1.violation() {
            Some(violation) => Err(io::Error::other(format!("the server {violation}"))),
            None => Ok(()),
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for CloseNotifyStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<Result<()>> {
        let (capacity, before) = (buf.remaining(), buf.filled().len());
        let polled = Pin::new(&mut self.0).poll_read(cx, buf);
        self.check_peer()?;
        let ended = matches!(polled, Poll::Ready(Ok(()))) && buf.filled().len() == before;
        if ended && capacity > 0 && !has_received_close_notify(self.0.ssl()) {
            return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
        }
        polled
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for CloseNotifyStream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<Result<usize>> {
        let polled = Pin::new(&mut self.0).poll_write(cx, buf);
        self.check_peer()?;
        polled
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
