use crate::counting_stream::{CountingStream, TrafficCounters, TrafficSnapshot};
use crate::peer::Peer;
use crate::pool::OriginPool;
use crate::runtime_thread::RuntimeHandle;
use crate::send_error::SendError;
use crate::{RequestBody, TransportError};
use hyper::body::Incoming;
use hyper::client::conn::{TrySendError, http1};
use hyper_util::rt::TokioIo;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinHandle;
use tokio::time::{Instant, Sleep, sleep_until};

/// An HTTP/1.1 connection, whose owner may send the next request. Dropping it aborts it; [`release`](Self::release) returns it
/// to its pool.
pub(crate) struct Connection {
    /// `None` once the connection is no longer usable.
    sender: Option<http1::SendRequest<RequestBody>>,
    peer: Peer,
    runtime: RuntimeHandle,
    /// Drives the connection. Returns the error that ended it, if any.
    task: JoinHandle<Option<hyper::Error>>,
    /// The result of the task.
    ended: Option<Option<hyper::Error>>,
    /// Dangling if the connection is not reused.
    pool: Weak<OriginPool>,
    /// The deadline of the current request. One timer for all requests: moving it is cheaper than registering another.
    deadline: Pin<Box<Sleep>>,
    /// Whether the body of the current request has been passed to hyper in full.
    request_finished: Arc<AtomicBool>,
    counters: Arc<TrafficCounters>,
    used: bool,
    idle: bool,
}

impl Connection {
    /// Starts HTTP on a stream. Its task runs on this runtime.
    pub(crate) async fn start<S>(
        stream: S,
        peer: Peer,
        runtime: RuntimeHandle,
    ) -> Result<Box<Self>, TransportError>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let stream = CountingStream::new(stream);
        let counters = stream.counters();
        let (sender, connection) = http1::Builder::new()
            .max_buf_size(MAX_HEAD)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|error| peer.exchange_failed(error))?;
        let task = runtime
            .handle()
            .spawn(async move { connection.await.err() });
        Ok(Box::new(Self {
            sender: Some(sender),
            peer,
            runtime,
            task,
            ended: None,
            pool: Weak::new(),
            deadline: Box::pin(sleep_until(Instant::now())),
            request_finished: Arc::default(),
            counters,
            used: false,
            idle: false,
        }))
    }

    /// Sets the pool to which it is returned.
    pub(crate) fn set_pool(&mut self, pool: &Arc<OriginPool>) {
        self.pool = Arc::downgrade(pool);
    }

    /// Closes the connection after this response instead of returning it to its pool.
    pub(crate) fn disable_reuse(&mut self) {
        self.pool = Weak::new();
    }

    pub(crate) fn peer(&self) -> &Peer {
        &self.peer
    }

    pub(crate) fn runtime(&self) -> &RuntimeHandle {
        &self.runtime
    }

    /// Whether the server has requested the client certificate on it.
    pub(crate) fn certificate_requested(&self) -> bool {
        let state = self.peer.state.as_ref();
        state.is_some_and(|state| state.certificate_requested())
    }

    pub(crate) fn is_closed(&self) -> bool {
        let sender = self.sender.as_ref();
        sender.is_none_or(http1::SendRequest::is_closed)
    }

    /// Sets whether it is idle in a pool. An idle connection is closed with `close_notify` when dropped, not aborted.
    pub(crate) fn set_idle(&mut self, idle: bool) {
        self.idle = idle;
        if let Some(state) = &self.peer.state {
            state.set_idle(idle);
        }
    }

    /// Sets the deadline of the next request and its response.
    pub(crate) fn set_deadline(&mut self, deadline: Instant) {
        if self.runtime.is_on_thread() {
            // A signature may block that thread: the timer is driven by the caller's runtime.
            self.deadline.as_mut().set(sleep_until(deadline));
        } else {
            self.deadline.as_mut().reset(deadline);
        }
    }

    /// Ready when the deadline has passed.
    pub(crate) fn poll_deadline(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.deadline.as_mut().poll(cx)
    }

    /// Whether a deadline has passed that was polled before. Unlike polling it, does not register a waker.
    pub(crate) fn deadline_has_passed(&self) -> bool {
        self.deadline.is_elapsed()
    }

    /// Waits until the last exchange is complete. Returns false if the connection ended with it.
    ///
    /// # Errors
    /// [`SendError::TimedOut`].
    pub(crate) async fn is_ready(&mut self) -> Result<bool, SendError> {
        let Some(sender) = &mut self.sender else {
            return Ok(false);
        };
        let deadline = &mut self.deadline;
        poll_fn(|cx| match sender.poll_ready(cx) {
            Poll::Ready(ready) => Poll::Ready(Ok(ready.is_ok())),
            Poll::Pending => deadline
                .as_mut()
                .poll(cx)
                .map(|()| Err(SendError::TimedOut)),
        })
        .await
    }

    /// Sends a request once and waits for the head of the response.
    pub(crate) async fn send(
        &mut self,
        mut request: http::Request<RequestBody>,
    ) -> Result<http::Response<Incoming>, SendError> {
        let is_reused = std::mem::replace(&mut self.used, true);
        request.body_mut().report_finished(&self.request_finished);
        let before = self.counters.snapshot();
        let Some(sender) = &mut self.sender else {
            return Err(SendError::Failed(self.peer.closed()));
        };
        let mut sending = pin!(sender.try_send_request(request));
        let outcome = tokio::select! {
            biased;
            outcome = &mut sending => outcome,
            ended = &mut self.task => {
                self.ended = Some(ended.ok().flatten());
                // A request sent while the connection ends may remain in the channel to the task; dropping the sender
                // returns it.
                self.sender = None;
                sending.await
            }
            () = &mut self.deadline => return Err(SendError::TimedOut),
        };
        match outcome {
            Ok(response) => {
                if let Some(state) = &self.peer.state {
                    state.on_response();
                }
                Ok(response)
            }
            Err(error) => Err(self.send_error(error, is_reused, before).await),
        }
    }

    /// The error of a request without a response. Only a reused connection may have ended because of the server's idle
    /// timeout.
    async fn send_error(
        &mut self,
        mut error: TrySendError<http::Request<RequestBody>>,
        is_reused: bool,
        before: TrafficSnapshot,
    ) -> SendError {
        let unsent = error.take_message();
        let mut cause = error.into_error();
        if unsent.is_some() && !is_reused {
            // The connection ended before it accepted the request; its task has the cause.
            if let Some(error) = self.end_cause().await {
                cause = error;
            }
        }
        let is_lost = self.peer.is_connection_lost(&cause);
        let error = self.peer.exchange_failed(cause);
        let now = self.counters.snapshot();
        if !is_reused {
            SendError::Failed(error)
        } else if unsent.is_some() {
            SendError::NotSent(unsent.map(http::Request::into_body), error)
        } else if !is_lost || now.read != before.read {
            SendError::Failed(error)
        } else if now.written == before.written {
            SendError::NotSent(None, error)
        } else {
            SendError::NoResponse(error)
        }
    }

    async fn end_cause(&mut self) -> Option<hyper::Error> {
        match self.ended.take() {
            Some(ended) => ended,
            None => tokio::select! {
                ended = &mut self.task => ended.ok().flatten(),
                () = &mut self.deadline => None,
            },
        }
    }

    /// Returns the connection to its pool after the whole response was read. Closes it if reuse is disabled, the server
    /// has closed it, or the request is still being sent.
    pub(crate) fn release(mut self: Box<Self>) {
        let sent = self.request_finished.load(Ordering::Acquire) && !self.counters.is_blocked();
        if !sent || self.is_closed() {
            return;
        }
        if let Some(pool) = self.pool.upgrade() {
            self.set_idle(true);
            pool.put(self);
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if !self.idle {
            self.task.abort();
        }
    }
}

/// The maximum size of a response head, and of the buffer for a body; in bytes.
const MAX_HEAD: usize = 64 * 1024;

#[cfg(test)]
mod tests;
