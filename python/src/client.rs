use crate::access_token::AccessToken;
use crate::arguments;
use crate::capabilities;
use crate::error::{invalid_request, raise};
use crate::fork_bound::ForkBound;
use crate::operation::Operation;
use crate::process::runtime;
use crate::request::Request;
use crate::resource::{Resource, new_request, start_exchange};
use crate::settings::{Arguments, Settings};
use crate::time::timeout;
use crate::upload::Content;
use arc_swap::ArcSwap;
use keybound::http::{BoundCalls, header::AUTHORIZATION};
use keybound::{KeyRequirements, ManagedIdentityClient, TokenRequest};
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use std::sync::Arc;

/// Acquires access tokens.
#[pyclass(frozen, module = "keybound._native")]
pub(crate) struct Client(Arc<ClientOfProcess>);

/// A client that is created again in the child of a fork.
pub(crate) struct ClientOfProcess {
    settings: Settings,
    current: ArcSwap<Current>,
}

/// What is created again.
struct Clients {
    client: ManagedIdentityClient,
    /// For requests without a token.
    calls: BoundCalls,
}

type Current = ForkBound<Clients>;

#[pymethods]
impl Client {
    #[new]
    #[pyo3(signature = (**arguments))]
    fn new(py: Python<'_>, arguments: Option<&Bound<'_, PyDict>>) -> PyResult<Self> {
        let empty = PyDict::new(py);
        let arguments: Arguments = arguments.unwrap_or(&empty).extract()?;
        let settings = Settings::new(py, arguments)?;
        let current = build(py, &settings)?;
        Ok(Self(Arc::new(ClientOfProcess {
            settings,
            current: ArcSwap::from_pointee(current),
        })))
    }

    #[getter]
    fn managed_identity_source(&self, py: Python<'_>) -> PyResult<&'static str> {
        Ok(self.0.client(py)?.managed_identity_source().as_str())
    }

    /// The cached token, or an operation.
    #[pyo3(signature = (request, /))]
    fn acquire(&self, py: Python<'_>, request: &Request) -> PyResult<Py<PyAny>> {
        self.0.acquire(py, &request.0)
    }

    /// The same for a bound token.
    #[pyo3(signature = (resource, attested, min_strength, claims, force_refresh, timeout, /))]
    #[expect(clippy::too_many_arguments, reason = "those of the request")]
    fn acquire_pop(
        &self,
        py: Python<'_>,
        #[pyo3(from_py_with = arguments::resource)] resource: String,
        #[pyo3(from_py_with = arguments::attested)] attested: bool,
        #[pyo3(from_py_with = arguments::min_strength)] min_strength: String,
        #[pyo3(from_py_with = arguments::claims)] claims: Option<String>,
        #[pyo3(from_py_with = arguments::force_refresh)] force_refresh: bool,
        #[pyo3(from_py_with = arguments::timeout)] timeout: f64,
    ) -> PyResult<Py<PyAny>> {
        let request = Request::pop(
            py,
            resource,
            attested,
            min_strength,
            claims,
            force_refresh,
            timeout,
        )?;
        self.0.acquire(py, &request.0)
    }

    #[pyo3(signature = (timeout, /))]
    fn supports_imds_v2(
        &self,
        py: Python<'_>,
        #[pyo3(from_py_with = arguments::timeout)] timeout: f64,
    ) -> PyResult<Operation> {
        let (client, timeout) = (self.0.client(py)?, crate::time::timeout(py, timeout)?);
        Operation::start(
            py,
            async move { client.supports_imds_v2(timeout).await },
            |py, supported| {
                Ok(raise(py, supported)?
                    .into_pyobject(py)?
                    .to_owned()
                    .into_any()
                    .unbind())
            },
        )
    }

    /// What the host can do, as a dictionary.
    #[pyo3(signature = (timeout, /))]
    fn capabilities(
        &self,
        py: Python<'_>,
        #[pyo3(from_py_with = arguments::timeout)] timeout: f64,
    ) -> PyResult<Operation> {
        let (client, timeout) = (self.0.client(py)?, crate::time::timeout(py, timeout)?);
        Operation::start(
            py,
            async move { client.capabilities_within(timeout).await },
            |py, found| Ok(capabilities::to_python(py, &found)?.into_any().unbind()),
        )
    }

    /// Sends a request without a token, on a connection without a certificate.
    #[pyo3(signature = (method, url, headers, body, timeout, /))]
    fn send_unauthenticated(
        &self,
        py: Python<'_>,
        #[pyo3(from_py_with = arguments::method)] method: String,
        #[pyo3(from_py_with = arguments::url)] url: String,
        #[pyo3(from_py_with = arguments::headers)] headers: Vec<(String, String)>,
        #[pyo3(from_py_with = arguments::body)] body: Content<'_>,
        #[pyo3(from_py_with = arguments::timeout)] timeout: f64,
    ) -> PyResult<Operation> {
        let calls = self.0.calls(py)?;
        let request = new_request(py, &method, &url, headers, body, Some(timeout))?;
        if request.headers().contains_key(AUTHORIZATION) {
            return Err(invalid_request(
                py,
                "the request has an Authorization header",
            ));
        }
        start_exchange(py, async move { calls.send(request).await })
    }

    #[pyo3(signature = (request, timeout, follow_redirects, honor_retry_after, /))]
    fn resource(
        &self,
        py: Python<'_>,
        request: &Request,
        #[pyo3(from_py_with = arguments::timeout)] timeout: f64,
        #[pyo3(from_py_with = arguments::follow_redirects)] follow_redirects: bool,
        #[pyo3(from_py_with = arguments::honor_retry_after)] honor_retry_after: bool,
    ) -> PyResult<Resource> {
        let timeout = self::timeout(py, timeout)?;
        let (client, request) = (Arc::clone(&self.0), request.0.clone());
        Resource::new(py, move |py| {
            let builder =
                keybound::http::ResourceClient::builder(&client.client(py)?, request.clone())
                    .timeout(timeout)
                    .follow_redirects(follow_redirects)
                    .honor_retry_after(honor_retry_after);
            raise(py, builder.build())
        })
    }

    fn __reduce__(&self) -> PyResult<()> {
        Err(crate::error::cannot_be_pickled())
    }
}

impl ClientOfProcess {
    /// The client; in a child the first call creates it.
    fn client(&self, py: Python<'_>) -> PyResult<ManagedIdentityClient> {
        self.with(py, |clients| clients.client.clone())
    }

    fn calls(&self, py: Python<'_>) -> PyResult<BoundCalls> {
        self.with(py, |clients| clients.calls.clone())
    }

    fn with<T>(&self, py: Python<'_>, get: impl Fn(&Clients) -> T) -> PyResult<T> {
        let current = self.current.load();
        if let Some(clients) = current.of_this_process() {
            return Ok(get(clients));
        }
        // Of several threads one wins; all use its client.
        let new = Arc::new(build(py, &self.settings)?);
        self.current.compare_and_swap(&current, new);
        let current = self.current.load();
        let clients = current.of_this_process();
        clients
            .map(get)
            .ok_or_else(|| PyRuntimeError::new_err("the process forked again"))
    }

    fn acquire(&self, py: Python<'_>, request: &TokenRequest) -> PyResult<Py<PyAny>> {
        let client = self.client(py)?;
        let cached = {
            // For a refresh in the background.
            let _entered = runtime()?.enter();
            client.cached_token(request)
        };
        if let Some(token) = cached {
            return Ok(Py::new(py, AccessToken::new(token))?.into_any());
        }
        let request = request.clone();
        let operation = Operation::start(
            py,
            async move { client.acquire_token(&request).await },
            |py, token| Ok(Py::new(py, AccessToken::new(raise(py, token)?))?.into_any()),
        )?;
        Ok(Py::new(py, operation)?.into_any())
    }
}

fn build(py: Python<'_>, settings: &Settings) -> PyResult<Current> {
    let client = raise(py, settings.build())?;
    // Of no importance for requests without a token.
    let calls = BoundCalls::new(&client, KeyRequirements::attested());
    Ok(ForkBound::new(Clients {
        calls: raise(py, calls)?,
        client,
    }))
}
