//! A stream that counts the bytes read and written, and records whether the last write is blocked.
use std::io::{IoSlice, Result};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Wraps a stream. A writer that writes all its data before it waits has written all of it if the last write did not block.
pub(crate) struct CountingStream<S> {
    stream: S,
    counters: Arc<TrafficCounters>,
}

/// The counters of a stream.
#[derive(Debug, Default)]
pub(crate) struct TrafficCounters {
    blocked: AtomicBool,
    // Only compared with earlier values: an overflow does no harm.
    read: AtomicUsize,
    written: AtomicUsize,
}

/// The counts at one time.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct TrafficSnapshot {
    pub(crate) read: usize,
    pub(crate) written: usize,
}

impl TrafficCounters {
    /// Whether the last write is blocked.
    pub(crate) fn is_blocked(&self) -> bool {
        self.blocked.load(Ordering::Acquire)
    }

    /// The counts now.
    pub(crate) fn snapshot(&self) -> TrafficSnapshot {
        TrafficSnapshot {
            read: self.read.load(Ordering::Acquire),
            written: self.written.load(Ordering::Acquire),
        }
    }
}

impl<S> CountingStream<S> {
    pub(crate) fn new(stream: S) -> Self {
        Self {
            stream,
            counters: Arc::default(),
        }
    }

    pub(crate) fn counters(&self) -> Arc<TrafficCounters> {
        Arc::clone(&self.counters)
    }

    fn count_written(&self, polled: Poll<Result<usize>>) -> Poll<Result<usize>> {
        let counters = &self.counters;
        counters
            .blocked
            .store(polled.is_pending(), Ordering::Release);
        if let Poll::Ready(Ok(length)) = &polled {
            add(&counters.written, *length);
        }
        polled
    }
}

/// Adds to a counter, which only the owner of the stream writes.
fn add(counter: &AtomicUsize, length: usize) {
    let before = counter.load(Ordering::Relaxed);
    counter.store(before.wrapping_add(length), Ordering::Release);
}

impl<S: AsyncRead + Unpin> AsyncRead for CountingStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        let length = buf.filled().len() - before;
        add(&self.counters.read, length);
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for CountingStream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.count_written(polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.count_written(polled)
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
