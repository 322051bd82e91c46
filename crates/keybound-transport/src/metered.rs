//! A stream that counts what is read and written, and records whether a write is blocked.
use std::io::{IoSlice, Result};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Wraps a stream. A writer that writes all its data before it waits has written all of it where the last write did not block.
pub(crate) struct Metered<S> {
    stream: S,
    traffic: Arc<Traffic>,
}

/// The counts of a stream.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    blocked: AtomicBool,
    // Compared with an earlier value only: an overflow does no harm.
    read: AtomicUsize,
    written: AtomicUsize,
}

/// The counts at one time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mark {
    read: usize,
    written: usize,
}

impl Traffic {
    /// Whether the last write is blocked.
    pub(crate) fn is_blocked(&self) -> bool {
        self.blocked.load(Ordering::Acquire)
    }

    /// The counts now.
    pub(crate) fn mark(&self) -> Mark {
        Mark {
            read: self.read.load(Ordering::Acquire),
            written: self.written.load(Ordering::Acquire),
        }
    }

    /// Whether anything was read since.
    pub(crate) fn has_read_since(&self, mark: Mark) -> bool {
        self.mark().read != mark.read
    }

    /// Whether the stream took anything to be sent since.
    pub(crate) fn has_written_since(&self, mark: Mark) -> bool {
        self.mark().written != mark.written
    }
}

impl<S> Metered<S> {
    pub(crate) fn new(stream: S) -> Self {
        Self {
            stream,
            traffic: Arc::default(),
        }
    }

    pub(crate) fn traffic(&self) -> Arc<Traffic> {
        Arc::clone(&self.traffic)
    }

    fn note(&self, polled: Poll<Result<usize>>) -> Poll<Result<usize>> {
        let traffic = &self.traffic;
        traffic
            .blocked
            .store(polled.is_pending(), Ordering::Release);
        if let Poll::Ready(Ok(length)) = &polled {
            traffic.written.fetch_add(*length, Ordering::Release);
        }
        polled
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Metered<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        let length = buf.filled().len() - before;
        self.traffic.read.fetch_add(length, Ordering::Release);
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Metered<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.note(polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.note(polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
