use crate::access_token::AccessToken;
use crate::error::{exception, raise};
use crate::fork_bound::ForkBound;
use crate::operation::Operation;
use crate::process::runtime;
use bytes::Bytes;
use http_body::Body as _;
use keybound::http::{ConnectionInfo, HeaderMap, Response, ResponseBody};
use keybound::tls::TlsEngine;
use keybound::{AccessToken as Token, Error, ErrorKind, Result, ServiceError, Stage};
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
    /// The same, of a response without a token.
    Unread(ResponseBody),
    /// A part of the body is read.
    Rest(ResponseBody),
    /// An operation has it. If that is cancelled, the body is dropped.
    InUse,
    /// The body was read as a whole.
    Content(Py<PyBytes>),
    /// The body was read in parts, to its end.
    Read,
    Closed,
}

/// A body that is to be read.
struct Unread {
    body: ResponseBody,
    is_whole: bool,
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
            body: Arc::new(Mutex::new(ForkBound::new(State::Unread(body)))),
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
        let Some(Unread { mut body, .. }) = self.take_body()? else {
            return Ok(py.None());
        };
        let arrived = {
            let _entered = runtime()?.enter();
            poll_chunk(&mut body, &mut Context::from_waker(Waker::noop()))
        };
        match arrived {
            Poll::Ready(chunk) => {
                put_back(&self.body, after(body, &chunk));
                chunk_to_python(py, chunk)
            }
            Poll::Pending => {
                let place = Arc::clone(&self.body);
                let next = async move {
                    let chunk = poll_fn(|context| poll_chunk(&mut body, context)).await;
                    put_back(&place, after(body, &chunk));
                    chunk
                };
                Ok(Py::new(py, Operation::start(py, next, chunk_to_python)?)?.into_any())
            }
        }
    }

    /// The body, if it was read as a whole.
    #[getter]
    fn content(&self, py: Python<'_>) -> Option<Py<PyBytes>> {
        match lock(&self.body).of_this_process()? {
            State::Content(content) => Some(content.clone_ref(py)),
            _ => None,
        }
    }

    /// The body, or the rest of it; an operation if it has not arrived.
    #[pyo3(signature = (limit, /))]
    fn read(&self, py: Python<'_>, limit: usize) -> PyResult<Py<PyAny>> {
        if let Some(content) = self.content(py) {
            return Ok(content.into_any());
        }
        let Some(Unread { body, is_whole }) = self.take_body()? else {
            return Err(PyValueError::new_err(
                "the body was read before, in parts, and is not kept",
            ));
        };
        let mut reading = Box::pin(body.bytes_limited(limit));
        let place = Arc::clone(&self.body);
        let keep = move |py: Python<'_>, bytes: Result<Bytes>| {
            let content = raise(py, bytes).map(|bytes| PyBytes::new(py, &bytes).unbind());
            let state = match &content {
                Ok(content) if is_whole => State::Content(content.clone_ref(py)),
                Ok(_) => State::Read,
                Err(_) => State::Closed,
            };
            put_back(&place, state);
            Ok(content?.into_any())
        };
        let arrived = {
            let _entered = runtime()?.enter();
            let mut context = Context::from_waker(Waker::noop());
            reading.as_mut().poll(&mut context)
        };
        match arrived {
            Poll::Ready(bytes) => keep(py, bytes),
            Poll::Pending => Ok(Py::new(py, Operation::start(py, reading, keep)?)?.into_any()),
        }
    }

    /// The error for the status of the response, with that of the service, unless the body was read in parts. The body can be read
    /// afterwards.
    fn status_error(&self, py: Python<'_>) -> PyResult<Operation> {
        let status = self.status;
        let content = self.content(py);
        let service = content.and_then(|content| ServiceError::from_response(content.as_bytes(py)));
        let whole = self.take_whole()?;
        let place = Arc::clone(&self.body);
        Operation::start(
            py,
            async move {
                let mut response = whole?;
                let error = response.status_error().await;
                put_back(&place, State::Whole(response));
                error
            },
            move |py, error| {
                let error = error.unwrap_or_else(|| plain_status_error(status, service));
                Ok(exception(py, &error)?.unbind())
            },
        )
    }

    /// Ends the response. A body that was not read to its end closes its connection; one that was read as a whole is kept.
    fn close(&self) {
        let mut place = lock(&self.body);
        if let Some(state) = place.of_this_process_mut()
            && !matches!(state, State::Content(_))
        {
            *state = State::Closed;
        }
    }

    fn __repr__(&self) -> String {
        format!("<RawResponse [{}]>", self.status)
    }

    fn __reduce__(&self) -> PyResult<()> {
        Err(crate::error::cannot_be_pickled())
    }
}

impl RawResponse {
    /// Takes the body; `None` if there is no more of it.
    fn take_body(&self) -> PyResult<Option<Unread>> {
        let unread = |body, is_whole| Some(Unread { body, is_whole });
        let mut place = lock(&self.body);
        let state = state_of(&mut place)?;
        match mem::replace(state, State::InUse) {
            State::Whole(response) => Ok(unread(response.into_body(), true)),
            State::Unread(body) => Ok(unread(body, true)),
            State::Rest(body) => Ok(unread(body, false)),
            State::InUse => Err(PyRuntimeError::new_err(
                "the response is being read, or its reading was cancelled",
            )),
            other @ (State::Content(_) | State::Read) => {
                *state = other;
                Ok(None)
            }
            State::Closed => {
                *state = State::Closed;
                // As of a file.
                Err(PyValueError::new_err("the response is closed"))
            }
        }
    }

    /// Takes a response of which nothing was read.
    fn take_whole(&self) -> PyResult<Option<Box<Response>>> {
        let mut place = lock(&self.body);
        let state = state_of(&mut place)?;
        match mem::replace(state, State::InUse) {
            State::Whole(response) => Ok(Some(response)),
            other => {
                *state = other;
                Ok(None)
            }
        }
    }
}

fn state_of(place: &mut ForkBound<State>) -> PyResult<&mut State> {
    place
        .of_this_process_mut()
        .ok_or_else(|| PyRuntimeError::new_err("the response is that of the parent process"))
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

/// Ends the use by an operation. Another thread may have closed the response meanwhile.
fn put_back(place: &Place, state: State) {
    let mut place = lock(place);
    if let Some(current) = place.of_this_process_mut()
        && matches!(current, State::InUse)
    {
        *current = state;
    }
}

fn after(body: ResponseBody, chunk: &Chunk) -> State {
    match chunk {
        Some(Ok(_)) => State::Rest(body),
        Some(Err(_)) => State::Closed,
        None => State::Read,
    }
}

fn chunk_to_python(py: Python<'_>, chunk: Chunk) -> PyResult<Py<PyAny>> {
    chunk.map_or_else(|| Ok(py.None()), |chunk| bytes_to_python(py, chunk))
}

fn bytes_to_python(py: Python<'_>, bytes: Result<Bytes>) -> PyResult<Py<PyAny>> {
    Ok(PyBytes::new(py, &raise(py, bytes)?).into_any().unbind())
}

fn plain_status_error(status: u16, service: Option<ServiceError>) -> Error {
    let kind = match status {
        408 | 429 | 500.. => ErrorKind::ServiceUnavailable,
        _ => ErrorKind::Refused,
    };
    Error::new(kind, Stage::Resource, "the resource returned an error")
        .with_status(status)
        .with_service(service)
}

fn lock(place: &Place) -> MutexGuard<'_, ForkBound<State>> {
    place.lock().unwrap_or_else(PoisonError::into_inner)
}
