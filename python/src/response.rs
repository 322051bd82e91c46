use crate::access_token::AccessToken;
use crate::error::{exception, raise};
use crate::fork_bound::ForkBound;
use crate::operation::Operation;
use crate::process::runtime;
use bytes::Bytes;
use http_body::Body as _;
use keybound::http::{ConnectionInfo, HeaderMap, Response, ResponseBody};
use keybound::tls::TlsEngine;
use keybound::{AccessToken as Token, Error, ErrorKind, Result, Stage};
use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};
use std::future::poll_fn;
use std::mem;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// A response whose body is read on demand.
#[pyclass(frozen, module = "keybound._native")]
pub(crate) struct RawResponse {
    status: u16,
    headers: HeaderMap,
    token: ForkBound<Option<Token>>,
    connection: Option<ConnectionInfo>,
    body: Arc<Mutex<ForkBound<State>>>,
}

enum State {
    /// Nothing of the body is read.
    Whole(Box<Response>),
    Open(ResponseBody),
    /// An operation has it. If that is cancelled, the body is dropped.
    InUse,
    Read,
    Closed,
}

impl RawResponse {
    pub(crate) fn new(response: Response) -> Self {
        Self {
            status: response.status().as_u16(),
            headers: response.headers().clone(),
            token: ForkBound::new(Some(response.token().clone())),
            connection: response.connection().cloned(),
            body: Arc::new(Mutex::new(ForkBound::new(State::Whole(Box::new(response))))),
        }
    }

    /// A response without a token.
    pub(crate) fn from_http(response: http::Response<ResponseBody>) -> Self {
        let (head, body) = response.into_parts();
        Self {
            status: head.status.as_u16(),
            headers: head.headers,
            token: ForkBound::new(None),
            connection: head.extensions.get::<ConnectionInfo>().cloned(),
            body: Arc::new(Mutex::new(ForkBound::new(State::Open(body)))),
        }
    }
}

#[pymethods]
impl RawResponse {
    #[getter]
    fn status(&self) -> u16 {
        self.status
    }

    /// Names in lower case, and values, which are Latin-1.
    #[getter]
    fn headers(&self) -> Vec<(&str, String)> {
        let text = |value: &[u8]| value.iter().map(|&byte| char::from(byte)).collect();
        let headers = self.headers.iter();
        headers
            .map(|(name, value)| (name.as_str(), text(value.as_bytes())))
            .collect()
    }

    #[getter]
    fn token(&self) -> Option<AccessToken> {
        let token = self.token.of_any_process()?.clone()?;
        Some(AccessToken::of(self.token.derive(token)))
    }

    #[getter]
    fn connection<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let facts = PyDict::new(py);
        if let Some(connection) = &self.connection {
            facts.set_item("engine", engine(connection.tls_engine))?;
            facts.set_item("version", connection.tls_version)?;
            facts.set_item("certificate_requested", connection.certificate_requested)?;
            facts.set_item("reused", connection.reused)?;
            facts.set_item("retried", connection.retried)?;
        }
        Ok(facts)
    }

    /// The next chunk of the body, `None` at its end; an operation if it has not arrived.
    fn next_chunk(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let Some(mut body) = self.take_body()? else {
            return Ok(py.None());
        };
        let arrived = {
            let _entered = runtime()?.enter();
            poll_chunk(&mut body, &mut Context::from_waker(Waker::noop()))
        };
        match arrived {
            Poll::Ready(chunk) => {
                put_back(&self.body, body, &chunk);
                chunk_to_python(py, chunk)
            }
            Poll::Pending => {
                let place = Arc::clone(&self.body);
                let next = async move {
                    let chunk = poll_fn(|context| poll_chunk(&mut body, context)).await;
                    put_back(&place, body, &chunk);
                    chunk
                };
                Ok(Py::new(py, Operation::start(py, next, chunk_to_python)?)?.into_any())
            }
        }
    }

    /// The rest of the body; an operation if it has not arrived.
    #[pyo3(signature = (limit, /))]
    fn read(&self, py: Python<'_>, limit: usize) -> PyResult<Py<PyAny>> {
        let Some(body) = self.take_body()? else {
            return Ok(PyBytes::new(py, b"").into_any().unbind());
        };
        let place = Arc::clone(&self.body);
        let mut reading = Box::pin(async move {
            let bytes = body.bytes_limited(limit).await;
            let is_read = bytes.is_ok();
            leave(&place, if is_read { State::Read } else { State::Closed });
            bytes
        });
        let arrived = {
            let _entered = runtime()?.enter();
            let mut context = Context::from_waker(Waker::noop());
            reading.as_mut().poll(&mut context)
        };
        match arrived {
            Poll::Ready(bytes) => bytes_to_python(py, bytes),
            Poll::Pending => {
                Ok(Py::new(py, Operation::start(py, reading, bytes_to_python)?)?.into_any())
            }
        }
    }

    /// The error for the status of the response, with that of the service if nothing of the body is read. It ends the response.
    fn status_error(&self, py: Python<'_>) -> PyResult<Operation> {
        let status = self.status;
        let whole = match self.take(State::Closed)? {
            State::Whole(response) => Some(response),
            _ => None,
        };
        Operation::start(
            py,
            async move {
                match whole {
                    Some(response) => response.error_for_status().await.err(),
                    None => None,
                }
            },
            move |py, error| {
                let error = error.unwrap_or_else(|| plain_status_error(status));
                Ok(exception(py, &error)?.unbind())
            },
        )
    }

    /// Ends the response. A body that was not read to its end closes its connection.
    fn close(&self) {
        leave(&self.body, State::Closed);
    }

    fn __repr__(&self) -> String {
        format!("<RawResponse [{}]>", self.status)
    }

    fn __reduce__(&self) -> PyResult<()> {
        Err(crate::error::cannot_be_pickled())
    }
}

impl RawResponse {
    /// Takes the body; `None` if it was read to its end.
    fn take_body(&self) -> PyResult<Option<ResponseBody>> {
        match self.take(State::InUse)? {
            State::Whole(response) => Ok(Some(response.into_body())),
            State::Open(body) => Ok(Some(body)),
            State::Read => {
                leave(&self.body, State::Read);
                Ok(None)
            }
            State::InUse => Err(PyRuntimeError::new_err(
                "the response is being read, or its reading was cancelled",
            )),
            State::Closed => {
                leave(&self.body, State::Closed);
                // As of a file.
                Err(PyValueError::new_err("the response is closed"))
            }
        }
    }

    fn take(&self, new: State) -> PyResult<State> {
        let mut place = lock(&self.body);
        let state = place
            .of_this_process_mut()
            .ok_or_else(|| PyRuntimeError::new_err("the response is that of the parent process"))?;
        Ok(mem::replace(state, new))
    }
}

fn engine(engine: TlsEngine) -> &'static str {
    match engine {
        TlsEngine::SChannel => "schannel",
        _ => "openssl",
    }
}

type Chunk = Option<Result<Bytes>>;
type Place = Mutex<ForkBound<State>>;

fn poll_chunk(body: &mut ResponseBody, context: &mut Context<'_>) -> Poll<Chunk> {
    loop {
        let Poll::Ready(frame) = Pin::new(&mut *body).poll_frame(context) else {
            return Poll::Pending;
        };
        match frame.map(|frame| frame.map(http_body::Frame::into_data)) {
            None => return Poll::Ready(None),
            Some(Err(error)) => return Poll::Ready(Some(Err(error))),
            Some(Ok(Ok(data))) if !data.is_empty() => return Poll::Ready(Some(Ok(data))),
            // Trailers.
            Some(Ok(_)) => {}
        }
    }
}

fn put_back(place: &Place, body: ResponseBody, chunk: &Chunk) {
    let state = match chunk {
        Some(Ok(_)) => State::Open(body),
        Some(Err(_)) => State::Closed,
        None => State::Read,
    };
    let mut place = lock(place);
    // Another thread may have closed the response meanwhile.
    if let Some(current) = place.of_this_process_mut()
        && matches!(current, State::InUse)
    {
        *current = state;
    }
}

fn leave(place: &Place, state: State) {
    let mut place = lock(place);
    if let Some(current) = place.of_this_process_mut() {
        *current = state;
    }
}

fn chunk_to_python(py: Python<'_>, chunk: Chunk) -> PyResult<Py<PyAny>> {
    chunk.map_or_else(|| Ok(py.None()), |chunk| bytes_to_python(py, chunk))
}

fn bytes_to_python(py: Python<'_>, bytes: Result<Bytes>) -> PyResult<Py<PyAny>> {
    Ok(PyBytes::new(py, &raise(py, bytes)?).into_any().unbind())
}

fn plain_status_error(status: u16) -> Error {
    let kind = match status {
        408 | 429 | 500.. => ErrorKind::ServiceUnavailable,
        _ => ErrorKind::Refused,
    };
    Error::new(kind, Stage::Resource, "the resource returned an error").with_status(status)
}

fn lock(place: &Place) -> MutexGuard<'_, ForkBound<State>> {
    place.lock().unwrap_or_else(PoisonError::into_inner)
}
