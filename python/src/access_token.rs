use crate::binding_certificate::BindingCertificate;
use crate::error;
use crate::fork_bound::ForkBound;
use crate::process::Inside;
use crate::time::unix;
use keybound::{AccessToken as Token, Error, Stage};
use pyo3::exceptions::PyRuntimeError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};
use std::sync::Arc;
use std::time::SystemTime;

/// An access token. ``repr`` hides it; it cannot be pickled.
#[pyclass(frozen, module = "keybound")]
pub(crate) struct AccessToken(ForkBound<Token>);

impl AccessToken {
    pub(crate) fn new(token: Token) -> Self {
        Self(ForkBound::new(token))
    }

    /// A token of a response.
    pub(crate) fn of(token: ForkBound<Token>) -> Self {
        Self(token)
    }

    fn get(&self) -> PyResult<&Token> {
        self.0
            .of_any_process()
            .ok_or_else(|| PyRuntimeError::new_err("the token was dropped"))
    }
}

#[pymethods]
impl AccessToken {
    /// The token itself. Send a bound one by a `ResourceClient`, which presents its certificate.
    #[getter]
    fn token(&self) -> PyResult<&str> {
        Ok(self.get()?.secret().expose())
    }

    /// ``"mtls_pop"`` or ``"Bearer"``.
    #[getter]
    fn token_type(&self) -> PyResult<&'static str> {
        Ok(self.get()?.token_type().as_str())
    }

    /// The scope that it was issued for.
    #[getter]
    fn scope(&self) -> PyResult<&str> {
        Ok(self.get()?.scope().as_str())
    }

    /// The time at which it expires, in seconds since 1970.
    #[getter]
    fn expires_on(&self) -> PyResult<u64> {
        Ok(unix(self.get()?.expires_on()))
    }

    /// The remaining lifetime in seconds; 0 once it has expired.
    #[getter]
    #[expect(
        clippy::disallowed_methods,
        reason = "for a person or a library with the clock of the host"
    )]
    fn expires_in(&self) -> PyResult<u64> {
        let expires_on = self.get()?.expires_on();
        Ok(expires_on
            .duration_since(SystemTime::now())
            .map_or(0, |left| left.as_secs()))
    }

    /// The time at which the service wants it refreshed, in seconds since 1970, if its response had one.
    #[getter]
    fn refresh_on(&self) -> PyResult<Option<u64>> {
        Ok(self.get()?.refresh_on().map(unix))
    }

    /// ``"identity_provider"`` for a new token, ``"cache"`` for one of the client's cache.
    #[getter]
    fn source(&self) -> PyResult<&'static str> {
        Ok(self.get()?.source().as_str())
    }

    /// The managed identity source whose identity it is for, such as ``"imds"``.
    #[getter]
    fn managed_identity_source(&self) -> PyResult<Option<&'static str>> {
        let source = self.get()?.managed_identity_source();
        Ok(source.map(|source| source.as_str()))
    }

    /// The certificate that it is bound to; ``None`` for a bearer token.
    #[getter]
    fn certificate(&self) -> PyResult<Option<BindingCertificate>> {
        let binding = self.get()?.binding().cloned();
        Ok(binding.map(|binding| BindingCertificate::of(self.0.derive(binding))))
    }

    /// The durations of the steps of the acquisition, in seconds by name; empty for a cached token.
    #[getter]
    fn timings<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let timings = PyDict::new(py);
        for timing in self.get()?.timings() {
            timings.set_item(timing.step.as_str(), timing.elapsed.as_secs_f64())?;
        }
        Ok(timings)
    }

    /// The error of the last refresh, if it failed. The token itself is valid.
    #[getter]
    fn refresh_failure<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let failure = self.get()?.refresh_failure();
        failure
            .map(|failure| error::exception(py, failure))
            .transpose()
    }

    /// The value of the header ``Authorization``: the type, a space, the token.
    #[getter]
    fn authorization<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyString>> {
        Ok(PyString::new(py, self.get()?.authorization().expose()))
    }

    /// The claims. The signature is not verified: the resource does that.
    ///
    /// Raises:
    ///     ServiceRefused: if the token is not a JWT.
    fn unverified_claims<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let jwt = self.get()?.unverified_claims().ok_or_else(|| {
            error::to_python(
                py,
                &Error::invalid_response(Stage::Token, "the token is not a readable JWT"),
            )
        })?;
        let _inside = Inside::enter_python()?;
        let text = serde_json::Value::Object(jwt.claims).to_string();
        py.import("json")?.call_method1("loads", (text,))
    }

    /// For `keybound.msal`: a copy of the template for its certificate, by thumbprint, with what differs from call to call. `None` if
    /// there is no template.
    #[pyo3(name = "_fill", signature = (templates, resource, /))]
    fn fill<'py>(
        &self,
        py: Python<'py>,
        templates: &Bound<'py, PyDict>,
        resource: &Bound<'py, PyString>,
    ) -> PyResult<Option<Bound<'py, PyDict>>> {
        let token = self.get()?;
        let Some(binding) = token.binding() else {
            return Ok(None);
        };
        let thumbprint = binding.certificate().thumbprints().x5t_s256.as_str();
        let Some(template) = templates.get_item(thumbprint)? else {
            return Ok(None);
        };
        let result = template.cast::<PyDict>()?.copy()?;
        result.set_item(intern!(py, "access_token"), token.secret().expose())?;
        result.set_item(intern!(py, "expires_in"), self.expires_in()?)?;
        let source = PyString::intern(py, token.source().as_str());
        result.set_item(intern!(py, "token_source"), source)?;
        result.set_item(intern!(py, "resource"), resource)?;
        let certificate = BindingCertificate::of(self.0.derive(Arc::clone(binding) as _));
        result.set_item(intern!(py, "binding_certificate"), certificate)?;
        let metadata = intern!(py, "binding_certificate_metadata");
        if let Some(shared) = result.get_item(metadata)? {
            result.set_item(metadata, shared.cast::<PyDict>()?.copy()?)?;
        }
        Ok(Some(result))
    }

    fn __repr__(&self) -> PyResult<String> {
        let token = self.get()?;
        let (token_type, scope) = (token.token_type(), token.scope());
        Ok(format!(
            "<keybound.AccessToken {token_type} for {scope}, expires on {}>",
            unix(token.expires_on())
        ))
    }

    fn __reduce__(&self) -> PyResult<()> {
        Err(error::cannot_be_pickled())
    }
}
