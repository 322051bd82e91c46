use crate::counting_stream::{CountingStream, TrafficCounters};
use crate::peer::Peer;
use crate::pool::{Pool, PoolKey};
use crate::replayable_request::ReplayableRequest;
use crate::runtime_thread::RuntimeHandle;
use crate::send_error::SendError;
use crate::{RequestBody, TransportError};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinHandle;

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
    /// `None` where the connection is not reused.
    pool: Option<(Weak<Pool>, PoolKey)>,
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
    ) -> Result<Self, TransportError>
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
        Ok(Self {
            sender: Some(sender),
            peer,
            runtime,
            task,
            ended: None,
            pool: None,
            request_finished: Arc::default(),
            counters,
            used: false,
            idle: false,
        })
    }

    /// Sets the pool to which it is returned.
    pub(crate) fn with_pool(mut self, pool: &Arc<Pool>, key: PoolKey) -> Self {
        self.pool = Some((Arc::downgrade(pool), key));
        self
    }

    /// Closes the connection after this response instead of returning it to its pool.
    pub(crate) fn disable_reuse(&mut self) {
        self.pool = None;
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

    /// Waits until the last exchange is complete. Returns false where the connection ended with it.
    pub(crate) async fn is_ready(&mut self) -> bool {
        match &mut self.sender {
            Some(sender) => sender.ready().await.is_ok(),
            None => false,
        }
    }

    /// Sends a request once and waits for the head of the response.
    pub(crate) async fn send(
        &mut self,
        request: http::Request<RequestBody>,
    ) -> Result<http::Response<Incoming>, SendError> {
        let is_new = !std::mem::replace(&mut self.used, true);
        self.request_finished = request.body().finished();
        // Only a reused connection may end because of the server's idle timeout.
        let replayable = if is_new {
            None
        } else {
            ReplayableRequest::of(&request, &self.counters)
        };
        let Some(sender) = &mut self.sender else {
            return Err(SendError::NotSent(Box::new(request)));
        };
        let mut outcome = pin!(sender.try_send_request(request));
        let outcome = tokio::select! {
            biased;
            outcome = &mut outcome => outcome,
            ended = &mut self.task => {
                self.ended = Some(ended.ok().flatten());
                // A request sent while the connection ends may remain in the channel to the task; dropping the sender
                // returns it.
                self.sender = None;
                outcome.await
            }
        };
        let mut error = match outcome {
            Ok(response) => {
                if let Some(state) = &self.peer.state {
                    state.on_response();
                }
                return Ok(response);
            }
            Err(error) => error,
        };
        match error.take_message() {
            Some(request) if !is_new => Err(SendError::NotSent(Box::new(request))),
            unsent => {
                let mut cause = error.into_error();
                if unsent.is_some() {
                    // The connection ended before it accepted the request; its task has the cause.
                    if let Some(error) = self.end_cause().await {
                        cause = error;
                    }
                }
                let retry = match replayable {
                    Some(request) if self.peer.is_connection_lost(&cause) => {
                        request.decide_retry(&self.counters)
                    }
                    _ => None,
                };
                Err(retry.unwrap_or_else(|| SendError::Failed(self.peer.exchange_failed(cause))))
            }
        }
    }

    async fn end_cause(&mut self) -> Option<hyper::Error> {
        match self.ended.take() {
            Some(ended) => ended,
            None => (&mut self.task).await.ok().flatten(),
        }
    }

    /// Returns the connection to its pool after the whole response was read. Closes it where reuse is disabled, the server
    /// has closed it, or the request is still being sent.
    pub(crate) fn release(mut self) {
        let sent = self.request_finished.load(Ordering::Acquire) && !self.counters.is_blocked();
        if !sent || self.is_closed() {
            return;
        }
        let Some((pool, key)) = self.pool.clone() else {
            return;
        };
        if let Some(pool) = pool.upgrade() {
            self.set_idle(true);
            pool.put(key, self);
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
