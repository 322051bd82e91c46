use crate::access_token::AccessToken;
use crate::error::raise;
use crate::fork_bound::ForkBound;
use crate::operation::Operation;
use crate::process::runtime;
use crate::request::Request;
use crate::resource::Resource;
use crate::settings::{Arguments, Settings};
use crate::time::timeout;
use arc_swap::ArcSwap;
use keybound::{ManagedIdentityClient, TokenRequest};
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

type Current = ForkBound<ManagedIdentityClient>;

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
        resource: &str,
        attested: bool,
        min_strength: &str,
        claims: Option<&str>,
        force_refresh: bool,
        timeout: f64,
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
    fn supports_imds_v2(&self, py: Python<'_>, timeout: f64) -> PyResult<Operation> {
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

    #[pyo3(signature = (request, timeout, follow_redirects, honor_retry_after, /))]
    fn resource(
        &self,
        py: Python<'_>,
        request: &Request,
        timeout: f64,
        follow_redirects: bool,
        honor_retry_after: bool,
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
}

impl ClientOfProcess {
    /// The client; in a child the first call creates it.
    fn client(&self, py: Python<'_>) -> PyResult<ManagedIdentityClient> {
        let current = self.current.load();
        if let Some(client) = current.of_this_process() {
            return Ok(client.clone());
        }
        // Of several threads one wins; all use its client.
        let new = Arc::new(build(py, &self.settings)?);
        self.current.compare_and_swap(&current, new);
        let current = self.current.load();
        let client = current.of_this_process();
        client
            .cloned()
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
    Ok(ForkBound::new(raise(py, settings.build())?))
}
