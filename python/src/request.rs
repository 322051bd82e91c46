use crate::arguments;
use crate::error::{invalid_request, raise};
use crate::time::timeout;
use keybound::{Claims, KeyRequirements, KeyStrength, TokenRequest};
use pyo3::prelude::*;

/// What a token is requested for.
#[pyclass(frozen, module = "keybound._native")]
pub(crate) struct Request(pub(crate) TokenRequest);

#[pymethods]
impl Request {
    #[staticmethod]
    #[pyo3(signature = (resource, attested, min_strength, claims, force_refresh, timeout, /))]
    pub(crate) fn pop(
        py: Python<'_>,
        #[pyo3(from_py_with = arguments::resource)] resource: String,
        #[pyo3(from_py_with = arguments::attested)] attested: bool,
        #[pyo3(from_py_with = arguments::min_strength)] min_strength: String,
        #[pyo3(from_py_with = arguments::claims)] claims: Option<String>,
        #[pyo3(from_py_with = arguments::force_refresh)] force_refresh: bool,
        #[pyo3(from_py_with = arguments::timeout)] timeout: f64,
    ) -> PyResult<Self> {
        let request = TokenRequest::pop(resource, requirements(py, attested, &min_strength)?);
        Self::with(py, request, claims, force_refresh, timeout)
    }

    #[staticmethod]
    #[pyo3(signature = (resource, attested, min_strength, claims, force_refresh, timeout, /))]
    fn bearer_over_mtls(
        py: Python<'_>,
        #[pyo3(from_py_with = arguments::resource)] resource: String,
        #[pyo3(from_py_with = arguments::attested)] attested: bool,
        #[pyo3(from_py_with = arguments::min_strength)] min_strength: String,
        #[pyo3(from_py_with = arguments::claims)] claims: Option<String>,
        #[pyo3(from_py_with = arguments::force_refresh)] force_refresh: bool,
        #[pyo3(from_py_with = arguments::timeout)] timeout: f64,
    ) -> PyResult<Self> {
        let request =
            TokenRequest::bearer_over_mtls(resource, requirements(py, attested, &min_strength)?);
        Self::with(py, request, claims, force_refresh, timeout)
    }

    #[staticmethod]
    #[pyo3(signature = (resource, claims, force_refresh, timeout, /))]
    fn bearer(
        py: Python<'_>,
        #[pyo3(from_py_with = arguments::resource)] resource: String,
        #[pyo3(from_py_with = arguments::claims)] claims: Option<String>,
        #[pyo3(from_py_with = arguments::force_refresh)] force_refresh: bool,
        #[pyo3(from_py_with = arguments::timeout)] timeout: f64,
    ) -> PyResult<Self> {
        Self::with(
            py,
            TokenRequest::bearer(resource),
            claims,
            force_refresh,
            timeout,
        )
    }
}

impl Request {
    fn with(
        py: Python<'_>,
        request: TokenRequest,
        claims: Option<String>,
        force_refresh: bool,
        seconds: f64,
    ) -> PyResult<Self> {
        let request = request
            .timeout(timeout(py, seconds)?)
            .force_refresh(force_refresh);
        Ok(Self(match claims {
            Some(claims) => request.claims(raise(py, Claims::parse(&claims))?),
            None => request,
        }))
    }
}

fn requirements(py: Python<'_>, attested: bool, min_strength: &str) -> PyResult<KeyRequirements> {
    let requirements = if attested {
        KeyRequirements::attested()
    } else {
        KeyRequirements::unattested()
    };
    let strength: KeyStrength = min_strength
        .parse()
        .map_err(|expected| invalid_request(py, format!("min_strength: {expected}")))?;
    Ok(requirements.min_strength(strength))
}
