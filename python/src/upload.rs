use crate::operation::Operation;
use crate::time;
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use keybound::http::RequestBody;
use pyo3::exceptions::{PyRuntimeError, PyTypeError};
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::sync::oneshot;

/// The body of a request.
pub(crate) enum Content<'py> {
    Empty,
    Full(PyBackedBytes),
    Streamed(Bound<'py, Upload>),
}

impl<'a, 'py> FromPyObject<'a, 'py> for Content<'py> {
    type Error = PyErr;

    fn extract(value: Borrowed<'a, 'py, PyAny>) -> PyResult<Self> {
        if value.is_none() {
            Ok(Self::Empty)
        } else if let Ok(bytes) = value.extract::<PyBackedBytes>() {
            Ok(Self::Full(bytes))
        } else if let Ok(upload) = value.cast::<Upload>() {
            Ok(Self::Streamed(upload.to_owned()))
        } else {
            Err(PyTypeError::new_err("a body is bytes"))
        }
    }
}

impl Content<'_> {
    pub(crate) fn into_body(self) -> PyResult<RequestBody> {
        match self {
            Self::Empty => Ok(RequestBody::empty()),
            Self::Full(bytes) => Ok(RequestBody::full(Bytes::from_owner(bytes))),
            Self::Streamed(upload) => Ok(RequestBody::stream(upload.get().take_body()?)),
        }
    }
}

/// A body that is produced while it is sent, one chunk ahead of the connection. Its caller waits for `wanted` first: libraries repeat
/// a request that was not sent with the same source, of which nothing may be taken before.
#[pyclass(frozen, module = "keybound._native")]
pub(crate) struct Upload {
    /// `None` once all chunks are pushed.
    chunks: Mutex<Option<Sender<Bytes>>>,
    is_complete: Arc<AtomicBool>,
    body: Mutex<Option<UploadBody>>,
    wanted: Mutex<Option<oneshot::Receiver<()>>>,
}

#[pymethods]
impl Upload {
    #[new]
    #[pyo3(signature = (length = None))]
    fn new(length: Option<u64>) -> Self {
        let (sender, receiver) = channel(1);
        let is_complete = Arc::<AtomicBool>::default();
        let (polled, wanted) = oneshot::channel();
        let body = UploadBody {
            polled: Some(polled),
            chunks: receiver,
            is_complete: Arc::clone(&is_complete),
            remaining: length,
        };
        Self {
            chunks: Mutex::new(Some(sender)),
            is_complete,
            body: Mutex::new(Some(body)),
            wanted: Mutex::new(Some(wanted)),
        }
    }

    /// Waits until a connection takes the first chunk. False if the request ended without.
    fn wanted(&self, py: Python<'_>) -> PyResult<Operation> {
        let wanted = lock(&self.wanted).take();
        Operation::start(
            py,
            async move {
                match wanted {
                    Some(wanted) => wanted.await.is_ok(),
                    None => false,
                }
            },
            |py, wanted| Ok(wanted.into_pyobject(py)?.to_owned().into_any().unbind()),
        )
    }

    /// Adds a chunk. False if the connection accepts no more, or none within the timeout, in seconds: the request's ends with the head
    /// of its response.
    #[pyo3(signature = (chunk, timeout = None, /))]
    fn push(
        &self,
        py: Python<'_>,
        chunk: PyBackedBytes,
        timeout: Option<f64>,
    ) -> PyResult<Py<PyAny>> {
        let answer =
            |accepted: bool| Ok(accepted.into_pyobject(py)?.to_owned().into_any().unbind());
        let Some(chunks) = lock(&self.chunks).clone() else {
            return answer(false);
        };
        match chunks.try_send(Bytes::from_owner(chunk)) {
            Ok(()) => answer(true),
            Err(TrySendError::Closed(_)) => answer(false),
            Err(TrySendError::Full(chunk)) => {
                let timeout = timeout
                    .map(|seconds| time::timeout(py, seconds))
                    .transpose()?;
                let operation = Operation::start(
                    py,
                    async move {
                        let sending = chunks.send(chunk);
                        match timeout {
                            Some(timeout) => tokio::time::timeout(timeout, sending)
                                .await
                                .is_ok_and(|sent| sent.is_ok()),
                            None => sending.await.is_ok(),
                        }
                    },
                    |py, accepted| Ok(accepted.into_pyobject(py)?.to_owned().into_any().unbind()),
                )?;
                Ok(Py::new(py, operation)?.into_any())
            }
        }
    }

    /// Says that the chunks were all.
    fn finish(&self) {
        self.is_complete.store(true, Ordering::Release);
        self.close();
    }

    /// Ends the body. Without `finish` before, it is incomplete, and its request fails.
    fn close(&self) {
        drop(lock(&self.chunks).take());
    }
}

impl Upload {
    fn take_body(&self) -> PyResult<UploadBody> {
        let body = lock(&self.body).take();
        body.ok_or_else(|| PyRuntimeError::new_err("the body was sent"))
    }
}

struct UploadBody {
    /// `None` once a chunk was asked for.
    polled: Option<oneshot::Sender<()>>,
    chunks: Receiver<Bytes>,
    is_complete: Arc<AtomicBool>,
    /// In bytes, if the length is known.
    remaining: Option<u64>,
}

impl Body for UploadBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if let Some(polled) = self.polled.take() {
            // Its receiver is gone if the caller is.
            let _ = polled.send(());
        }
        let chunk = ready!(self.chunks.poll_recv(context));
        Poll::Ready(match chunk {
            Some(chunk) => {
                let length = chunk.len() as u64;
                self.remaining = self
                    .remaining
                    .map(|remaining| remaining.saturating_sub(length));
                Some(Ok(Frame::data(chunk)))
            }
            None if self.is_complete.load(Ordering::Acquire) => None,
            None => Some(Err(io::Error::other("the body was not read to its end"))),
        })
    }

    fn size_hint(&self) -> SizeHint {
        self.remaining
            .map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

fn lock<T>(value: &Mutex<T>) -> MutexGuard<'_, T> {
    value.lock().unwrap_or_else(PoisonError::into_inner)
}
