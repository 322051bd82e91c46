use super::wire::Wire;
use super::{Tls, refused};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};

/// A connection over which a library speaks TLS. Where it ends without the peer's `close_notify`, reading fails.
pub(crate) struct QueuedStream<T, S> {
    tls: T,
    connection: S,
    is_closing: bool,
}

impl<T: Tls + Unpin, S: AsyncRead + AsyncWrite + Unpin> QueuedStream<T, S> {
    /// Goes on from the first handshake.
    pub(crate) fn new(tls: T, connection: S) -> Self {
        Self {
            tls,
            connection,
            is_closing: false,
        }
    }

    /// Sends what TLS has written.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.tls.wire().to_send().is_empty() {
            let waiting = self.tls.wire().to_send();
            let sent = ready!(Pin::new(&mut self.connection).poll_write(cx, waiting))?;
            if sent == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.tls.wire_mut().sent(sent);
        }
        Poll::Ready(Ok(()))
    }

    /// Reads what TLS waits for.
    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut bytes = [0; PIECE];
        let mut buffer = ReadBuf::new(&mut bytes);
        ready!(Pin::new(&mut self.connection).poll_read(cx, &mut buffer))?;
        self.tls.wire_mut().receive(buffer.filled());
        Poll::Ready(Ok(()))
    }

    /// Has TLS read or write, as far as what came from the peer allows.
    fn poll_with(
        &mut self,
        cx: &mut Context<'_>,
        mut work: impl FnMut(&mut T) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        loop {
            self.tls.wire_mut().begin_work();
            let done = work(&mut self.tls);
            self.check_server(&done)?;
            // Sends the messages of a renegotiation while it waits for more.
            let sent = self.poll_send(cx);
            if !self.wants_more(&done) {
                return Poll::Ready(done);
            }
            match sent {
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                // A peer that has TLS answer over and over and does not read it is not read either.
                Poll::Pending if self.tls.wire().to_send().len() > MAX_WAITING => {
                    return Poll::Pending;
                }
                _ => {}
            }
            ready!(self.poll_receive(cx))?;
        }
    }

    /// Checks that a server that begins another handshake shows the same certificate. SChannel's crate has Windows judge what it shows when
    /// that begins, which is the certificate of before, and not again when that is over.
    fn check_server(&mut self, done: &io::Result<usize>) -> io::Result<()> {
        let wire = self.tls.wire();
        if !wire.has_renegotiated() {
            return Ok(());
        }
        let is_same = match self.tls.server_certificate() {
            Some(shown) => wire.state().on_server_certificate(&shown),
            // In the middle of a handshake there may be none, and no data goes either way.
            None => !matches!(done, Ok(1..)),
        };
        if is_same {
            return Ok(());
        }
        let reason = "the server showed another certificate";
        self.tls.wire_mut().refuse(reason);
        Err(refused(reason))
    }

    /// Whether TLS came to no result because it read all there was, which it may take for an end.
    fn wants_more(&self, done: &io::Result<usize>) -> bool {
        use io::ErrorKind::{UnexpectedEof, WouldBlock};
        self.tls.wire().is_starved()
            && match done {
                Ok(length) => *length == 0,
                Err(error) => matches!(error.kind(), UnexpectedEof | WouldBlock),
            }
    }
}

impl<T: Tls + Unpin, S: AsyncRead + AsyncWrite + Unpin> AsyncRead for QueuedStream<T, S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if buf.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        let room = buf.initialize_unfilled();
        let read = ready!(self.poll_with(cx, |tls| tls.read(room)))?;
        buf.advance(read);
        Poll::Ready(Ok(()))
    }
}

impl<T: Tls + Unpin, S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for QueuedStream<T, S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        if buf.is_empty() {
            return Poll::Ready(Ok(0));
        }
        // Accepts no more than is sent.
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
            // Says `close_notify`; a peer that is gone need not hear it.
            let _ = self.tls.close();
        }
        ready!(self.poll_send(cx))?;
        Pin::new(&mut self.connection).poll_shutdown(cx)
    }
}

/// Sends all that waits.
pub(crate) async fn send<S: AsyncWrite + Unpin>(
    connection: &mut S,
    wire: &mut Wire,
) -> io::Result<()> {
    connection.write_all(wire.to_send()).await?;
    let length = wire.to_send().len();
    wire.sent(length);
    connection.flush().await
}

/// Brings in what comes next, or the end.
pub(crate) async fn receive<S: AsyncRead + Unpin>(
    connection: &mut S,
    wire: &mut Wire,
) -> io::Result<()> {
    let mut bytes = [0; PIECE];
    let length = connection.read(&mut bytes).await?;
    wire.receive(&bytes[..length]);
    Ok(())
}

/// What is taken from a connection at a time, in bytes.
const PIECE: usize = 8 * 1024;
/// More than one write and the longest answer in a handshake come to; in bytes.
const MAX_WAITING: usize = 128 * 1024;

#[cfg(test)]
mod tests;
