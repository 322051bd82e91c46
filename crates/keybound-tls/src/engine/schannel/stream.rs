use super::findings::refused;
use super::wire::Wire;
use crate::session::SessionNotes;
use ::schannel::RawPointer as _;
use ::schannel::cert_context::CertContext;
use ::schannel::schannel_cred::SchannelCred;
use ::schannel::tls_stream::{Builder, HandshakeError, TlsStream};
use std::io::{self, Read as _, Write as _};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};

/// A connection over which SChannel speaks TLS. Where it ends without the peer's `close_notify`, reading fails.
pub(crate) struct SchannelStream<S> {
    tls: TlsStream<Wire>,
    connection: S,
    is_closing: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> SchannelStream<S> {
    /// Does the first handshake.
    pub(crate) async fn connect(
        mut builder: Builder,
        credential: SchannelCred,
        mut connection: S,
        notes: Arc<SessionNotes>,
    ) -> io::Result<Self> {
        let mut progress = builder.connect(credential, Wire::new(Arc::clone(&notes)));
        let mut tls = loop {
            match progress {
                Ok(tls) => break tls,
                Err(HandshakeError::Failure(error)) => return Err(error),
                Err(HandshakeError::Interrupted(mut handshake)) => {
                    let wire = handshake.get_mut();
                    send(&mut connection, wire).await?;
                    receive(&mut connection, wire).await?;
                    progress = handshake.handshake();
                }
            }
        };
        // There the request is encrypted, but what was presented can be asked for.
        if notes.version() == "TLSv1.3" && has_presented(&tls) {
            notes.note_request();
        }
        let wire = tls.get_mut();
        send(&mut connection, wire).await?;
        wire.end_handshake();
        Ok(Self {
            tls,
            connection,
            is_closing: false,
        })
    }

    /// Sends what TLS has to say.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.tls.get_ref().to_send().is_empty() {
            let waiting = self.tls.get_ref().to_send();
            let sent = ready!(Pin::new(&mut self.connection).poll_write(cx, waiting))?;
            if sent == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.tls.get_mut().sent(sent);
        }
        Poll::Ready(Ok(()))
    }

    /// Brings in what TLS waits for.
    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut bytes = [0; PIECE];
        let mut buffer = ReadBuf::new(&mut bytes);
        ready!(Pin::new(&mut self.connection).poll_read(cx, &mut buffer))?;
        self.tls.get_mut().receive(buffer.filled());
        Poll::Ready(Ok(()))
    }

    /// Has TLS read or write, as far as what came from the peer allows.
    fn poll_with(
        &mut self,
        cx: &mut Context<'_>,
        mut work: impl FnMut(&mut TlsStream<Wire>) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        loop {
            self.tls.get_mut().begin_work();
            let done = work(&mut self.tls);
            self.check_server(&done)?;
            // Answers to a renegotiation go out while more is waited for.
            let sent = self.poll_send(cx);
            if !self.wants_more(&done) {
                return Poll::Ready(done);
            }
            match sent {
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                // A peer that has TLS answer over and over and does not read it is not read either.
                Poll::Pending if self.tls.get_ref().to_send().len() > MOST_WAITING => {
                    return Poll::Pending;
                }
                _ => {}
            }
            ready!(self.poll_receive(cx))?;
        }
    }

    /// Holds a server that begins another handshake to who it was. The crate has Windows judge what it shows when that
    /// begins, which is the certificate of before, and not again when that is over.
    fn check_server(&mut self, done: &io::Result<usize>) -> io::Result<()> {
        let wire = self.tls.get_ref();
        if !wire.has_renegotiated() {
            return Ok(());
        }
        let is_same = match existing(self.tls.peer_certificate()) {
            Some(shown) => wire.notes().note_server(shown.to_der()),
            // In the middle of a handshake there may be none, and no data goes either way.
            None => !matches!(done, Ok(1..)),
        };
        if is_same {
            return Ok(());
        }
        let reason = "the server showed another certificate";
        self.tls.get_mut().refuse(reason);
        Err(refused(reason))
    }

    /// Whether TLS came to no result because it read all there was. It takes that for an end, in its two ways.
    fn wants_more(&self, done: &io::Result<usize>) -> bool {
        self.tls.get_ref().is_starved()
            && match done {
                Ok(length) => *length == 0,
                Err(error) => error.kind() == io::ErrorKind::UnexpectedEof,
            }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for SchannelStream<S> {
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

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for SchannelStream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        if buf.is_empty() {
            return Poll::Ready(Ok(0));
        }
        // No more is taken than goes out.
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
            let _ = self.tls.shutdown();
        }
        ready!(self.poll_send(cx))?;
        Pin::new(&mut self.connection).poll_shutdown(cx)
    }
}

async fn send<S: AsyncWrite + Unpin>(connection: &mut S, wire: &mut Wire) -> io::Result<()> {
    connection.write_all(wire.to_send()).await?;
    let length = wire.to_send().len();
    wire.sent(length);
    connection.flush().await
}

async fn receive<S: AsyncRead + Unpin>(connection: &mut S, wire: &mut Wire) -> io::Result<()> {
    let mut bytes = [0; PIECE];
    let length = connection.read(&mut bytes).await?;
    wire.receive(&bytes[..length]);
    Ok(())
}

/// Whether our certificate has gone out: a certificate that was only at hand is not the connection's.
fn has_presented(tls: &TlsStream<Wire>) -> bool {
    existing(tls.certificate()).is_some()
}

/// The certificate, where there is one: Windows may succeed without.
#[allow(unsafe_code, reason = "asks whether there is a pointer")]
fn existing(certificate: io::Result<CertContext>) -> Option<CertContext> {
    certificate.ok().filter(|certificate| {
        // SAFETY: the pointer is compared, not followed.
        !unsafe { certificate.as_ptr() }.is_null()
    })
}

/// What is taken from a connection at a time, in bytes.
const PIECE: usize = 8 * 1024;
/// More than one write and the longest answer in a handshake come to; in bytes.
const MOST_WAITING: usize = 128 * 1024;
