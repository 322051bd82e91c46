use super::ciphertext_buffers::CiphertextBuffers;
use super::{SyncTls, rejected};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};

/// A TLS stream of a library with synchronous I/O. If the connection ends without the peer's `close_notify`, reading fails.
pub(crate) struct BufferedTlsStream<T, S> {
    tls: T,
    connection: S,
    is_closing: bool,
}

impl<T: SyncTls + Unpin, S: AsyncRead + AsyncWrite + Unpin> BufferedTlsStream<T, S> {
    /// A stream after its first handshake.
    pub(crate) fn new(tls: T, connection: S) -> Self {
        Self {
            tls,
            connection,
            is_closing: false,
        }
    }

    /// Sends the ciphertext that TLS has written.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.tls.buffers().to_send().is_empty() {
            let pending = self.tls.buffers().to_send();
            let sent = ready!(Pin::new(&mut self.connection).poll_write(cx, pending))?;
            if sent == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.tls.buffers_mut().sent(sent);
        }
        Poll::Ready(Ok(()))
    }

    /// Receives ciphertext for TLS.
    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut bytes = [0; READ_SIZE];
        let mut buffer = ReadBuf::new(&mut bytes);
        ready!(Pin::new(&mut self.connection).poll_read(cx, &mut buffer))?;
        self.tls.buffers_mut().receive(buffer.filled());
        Poll::Ready(Ok(()))
    }

    /// Runs a read or write of TLS, receiving ciphertext while it needs more.
    fn poll_with(
        &mut self,
        cx: &mut Context<'_>,
        mut operation: impl FnMut(&mut T) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        loop {
            self.tls.buffers_mut().clear_starved();
            let result = operation(&mut self.tls);
            self.check_server(&result)?;
            // Sends the messages of a renegotiation while it waits for more.
            let sent = self.poll_send(cx);
            if !self.needs_more(&result) {
                return Poll::Ready(result);
            }
            match sent {
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                // Does not read from a peer that makes TLS respond repeatedly and does not read the responses.
                Poll::Pending if self.tls.buffers().to_send().len() > MAX_PENDING => {
                    return Poll::Pending;
                }
                _ => {}
            }
            ready!(self.poll_receive(cx))?;
        }
    }

    /// Checks that a server that renegotiates presents the same certificate. The schannel crate verifies the certificate when
    /// a renegotiation begins, which is the earlier one, and not again at its end.
    fn check_server(&mut self, result: &io::Result<usize>) -> io::Result<()> {
        let buffers = self.tls.buffers();
        if !buffers.has_renegotiated() {
            return Ok(());
        }
        let is_same = match self.tls.server_certificate() {
            Some(certificate) => buffers.state().on_server_certificate(&certificate),
            // During a handshake there may be none, and no data is transferred.
            None => !matches!(result, Ok(1..)),
        };
        if is_same {
            return Ok(());
        }
        let reason = "the server presented another certificate";
        self.tls.buffers_mut().reject(reason);
        Err(rejected(reason))
    }

    /// Whether TLS has no result because it needs more ciphertext; it may report that as the end.
    fn needs_more(&self, result: &io::Result<usize>) -> bool {
        use io::ErrorKind::{UnexpectedEof, WouldBlock};
        self.tls.buffers().is_starved()
            && match result {
                Ok(length) => *length == 0,
                Err(error) => matches!(error.kind(), UnexpectedEof | WouldBlock),
            }
    }
}

impl<T: SyncTls + Unpin, S: AsyncRead + AsyncWrite + Unpin> AsyncRead for BufferedTlsStream<T, S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if buf.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        let unfilled = buf.initialize_unfilled();
        let read = ready!(self.poll_with(cx, |tls| tls.read(unfilled)))?;
        buf.advance(read);
        Poll::Ready(Ok(()))
    }
}

impl<T: SyncTls + Unpin, S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for BufferedTlsStream<T, S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        if buf.is_empty() {
            return Poll::Ready(Ok(0));
        }
        // Accepts no more data before the earlier ciphertext is sent.
        ready!(self.poll_send(cx))?;
        self.poll_with(cx, |tls| tls.write(buf))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_send(cx))?;
        Pin::new(&mut self.connection).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.is_closing {
            self.is_closing = true;
            // Sends `close_notify`; a closed connection is no error here.
            let _ = self.tls.close();
        }
        ready!(self.poll_send(cx))?;
        Pin::new(&mut self.connection).poll_shutdown(cx)
    }
}

/// Sends all pending ciphertext.
pub(crate) async fn send<S: AsyncWrite + Unpin>(
    connection: &mut S,
    buffers: &mut CiphertextBuffers,
) -> io::Result<()> {
    connection.write_all(buffers.to_send()).await?;
    let length = buffers.to_send().len();
    buffers.sent(length);
    connection.flush().await
}

/// Receives the next ciphertext, or the end.
pub(crate) async fn receive<S: AsyncRead + Unpin>(
    connection: &mut S,
    buffers: &mut CiphertextBuffers,
) -> io::Result<()> {
    let mut bytes = [0; READ_SIZE];
    let length = connection.read(&mut bytes).await?;
    buffers.receive(&bytes[..length]);
    Ok(())
}

/// The size of one read from a connection, in bytes.
const READ_SIZE: usize = 8 * 1024;
/// More than one write and the longest response in a handshake need; in bytes.
const MAX_PENDING: usize = 128 * 1024;

#[cfg(test)]
mod tests;
