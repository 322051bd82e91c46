use crate::arguments;
use crate::error::{invalid_request, raise};
use crate::fork_bound::ForkBound;
use crate::operation::Operation;
use crate::response::RawResponse;
use crate::time;
use crate::upload::Content;
use arc_swap::ArcSwap;
use keybound::http::{
    HeaderName, HeaderValue, Request, RequestBody, RequestTimeout, ResourceClient, ResponseBody,
};
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use std::sync::Arc;

/// Sends requests to a resource.
#[pyclass(frozen, module = "keybound._native")]
pub(crate) struct Resource {
    build: Box<Build>,
    current: ArcSwap<ForkBound<ResourceClient>>,
}

type Build = dyn Fn(Python<'_>) -> PyResult<ResourceClient> + Send + Sync;

impl Resource {
    /// A client that is created again in the child of a fork.
    pub(crate) fn new(
        py: Python<'_>,
        build: impl Fn(Python<'_>) -> PyResult<ResourceClient> + Send + Sync + 'static,
    ) -> PyResult<Self> {
        let current = ForkBound::new(build(py)?);
        Ok(Self {
            build: Box::new(build),
            current: ArcSwap::from_pointee(current),
        })
    }

    fn client(&self, py: Python<'_>) -> PyResult<ResourceClient> {
        let current = self.current.load();
        if let Some(client) = current.of_this_process() {
            return Ok(client.clone());
        }
        let new = Arc::new(ForkBound::new((self.build)(py)?));
        self.current.compare_and_swap(&current, new);
        let current = self.current.load();
        let client = current.of_this_process();
        client
            .cloned()
            .ok_or_else(|| PyRuntimeError::new_err("the process forked again"))
    }
}

#[pymethods]
impl Resource {
    #[pyo3(signature = (method, url, headers, body, timeout, /))]
    fn send(
        &self,
        py: Python<'_>,
        #[pyo3(from_py_with = arguments::method)] method: String,
        #[pyo3(from_py_with = arguments::url)] url: String,
        #[pyo3(from_py_with = arguments::headers)] headers: Vec<(String, String)>,
        #[pyo3(from_py_with = arguments::body)] body: Content<'_>,
        #[pyo3(from_py_with = arguments::request_timeout)] timeout: Option<f64>,
    ) -> PyResult<Operation> {
        let client = self.client(py)?;
        let request = new_request(py, &method, &url, headers, body, timeout)?;
        Operation::start(
            py,
            async move { client.send(request).await },
            |py, response| Ok(Py::new(py, RawResponse::new(raise(py, response)?))?.into_any()),
        )
    }

    fn __reduce__(&self) -> PyResult<()> {
        Err(crate::error::cannot_be_pickled())
    }
}

/// A request of these parts.
///
/// # Errors
/// `InvalidRequest` if one is malformed; a header is not shown, as it may be secret.
pub(crate) fn new_request(
    py: Python<'_>,
    method: &str,
    url: &str,
    headers: Vec<(String, String)>,
    body: Content<'_>,
    timeout: Option<f64>,
) -> PyResult<Request<RequestBody>> {
    let request = Request::builder().method(method).uri(url);
    let mut request = request
        .body(body.into_body()?)
        .map_err(|_| invalid_request(py, "the method or the URL of the request is malformed"))?;
    for (name, value) in headers {
        let name = HeaderName::try_from(name);
        // Latin-1, as in http.client.
        let bytes: Option<Vec<u8>> = value
            .chars()
            .map(|letter| u8::try_from(letter).ok())
            .collect();
        let value = bytes.and_then(|bytes| HeaderValue::try_from(bytes).ok());
        let (Ok(name), Some(value)) = (name, value) else {
            return Err(invalid_request(py, "a header of the request is malformed"));
        };
        request.headers_mut().append(name, value);
    }
    if let Some(seconds) = timeout {
        let timeout = RequestTimeout(time::timeout(py, seconds)?);
        request.extensions_mut().insert(timeout);
    }
    Ok(request)
}

/// Starts an exchange whose response may have no token.
pub(crate) fn start_exchange(
    py: Python<'_>,
    exchange: impl Future<Output = keybound::Result<http::Response<ResponseBody>>> + Send + 'static,
) -> PyResult<Operation> {
    Operation::start(py, exchange, |py, response| {
        let response = RawResponse::from_http(raise(py, response)?);
        Ok(Py::new(py, response)?.into_any())
    })
}
