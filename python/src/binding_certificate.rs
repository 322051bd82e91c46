use crate::arguments;
use crate::certificate_identity::CertificateIdentity;
use crate::fork_bound::ForkBound;
use crate::operation::Operation;
use crate::process::Inside;
use crate::resource::{new_request, start_exchange};
use crate::upload::Content;
use keybound::Certificate;
use pyo3::exceptions::{PyKeyError, PyRuntimeError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

/// Of the thumbprint, in the `repr`.
const SHOWN_DIGITS: usize = 16;

/// A certificate that IMDS issued, with its key, which stays where it is: it cannot be read, and the object cannot be pickled.
#[pyclass(frozen, module = "keybound")]
pub(crate) struct BindingCertificate {
    identity: ForkBound<Arc<dyn CertificateIdentity>>,
    is_closed: AtomicBool,
}

impl BindingCertificate {
    pub(crate) fn new(identity: Arc<dyn CertificateIdentity>) -> Self {
        Self::of(ForkBound::new(identity))
    }

    /// A certificate of a token.
    pub(crate) fn of(identity: ForkBound<Arc<dyn CertificateIdentity>>) -> Self {
        Self {
            identity,
            is_closed: AtomicBool::new(false),
        }
    }

    fn identity(&self) -> PyResult<&dyn CertificateIdentity> {
        match self.identity.of_any_process() {
            Some(identity) => Ok(identity.as_ref()),
            None => Err(PyRuntimeError::new_err("the certificate was dropped")),
        }
    }

    fn certificate(&self) -> PyResult<&Certificate> {
        Ok(self.identity()?.certificate())
    }
}

#[pymethods]
impl BindingCertificate {
    /// The certificate, DER.
    #[getter]
    fn public_certificate_der<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        Ok(PyBytes::new(py, self.certificate()?.der()))
    }

    /// The certificate, PEM.
    #[getter]
    fn public_certificate_pem(&self) -> PyResult<String> {
        Ok(self.certificate()?.to_pem())
    }

    /// The SHA-256 thumbprint as in ``x5t#S256``: base64url without padding.
    #[getter]
    fn x5t_s256(&self) -> PyResult<&str> {
        Ok(self.certificate()?.thumbprints().x5t_s256.as_str())
    }

    /// The SHA-1 thumbprint, in upper-case hexadecimal.
    #[getter]
    fn thumbprint_sha1(&self) -> PyResult<String> {
        Ok(self.certificate()?.thumbprints().sha1.to_ascii_uppercase())
    }

    /// The SHA-256 thumbprint, in upper-case hexadecimal.
    #[getter]
    fn thumbprint_sha256(&self) -> PyResult<String> {
        Ok(self
            .certificate()?
            .thumbprints()
            .sha256
            .to_ascii_uppercase())
    }

    /// The subject, RFC 4514.
    #[getter]
    fn subject(&self) -> PyResult<&str> {
        Ok(self.certificate()?.subject())
    }

    /// The issuer, RFC 4514.
    #[getter]
    fn issuer(&self) -> PyResult<&str> {
        Ok(self.certificate()?.issuer())
    }

    /// The start of its validity, in UTC.
    #[getter]
    fn not_before<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        utc(py, self.certificate()?.not_before())
    }

    /// The end of its validity, in UTC.
    #[getter]
    fn not_after<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        utc(py, self.certificate()?.not_after())
    }

    /// The client id of the identity; ``""`` for a certificate of a store.
    #[getter]
    fn client_id(&self) -> PyResult<&str> {
        Ok(self.identity()?.client_id())
    }

    /// The tenant id of the identity; ``""`` for a certificate of a store.
    #[getter]
    fn tenant_id(&self) -> PyResult<&str> {
        Ok(self.identity()?.tenant_id())
    }

    /// The strength of the key, the value of a `KeyStrength`, or ``"simulated"``.
    #[getter]
    fn key_strength(&self) -> PyResult<&'static str> {
        Ok(self.identity()?.key_strength())
    }

    /// Whether the key was attested, be it by an emulator.
    #[getter]
    fn attested(&self) -> PyResult<bool> {
        Ok(self.identity()?.is_attested())
    }

    /// Whether the key is simulated, and so is its attestation.
    #[getter]
    fn simulated(&self) -> PyResult<bool> {
        Ok(self.identity()?.is_simulated())
    }

    /// Whether the key can be used: until `close`, in the process that opened it.
    #[getter]
    fn has_private_key(&self) -> bool {
        self.identity.of_this_process().is_some() && !self.is_closed.load(Ordering::Relaxed)
    }

    /// Where the certificate is stored; ``""`` if it is in memory only.
    #[getter]
    fn store_path(&self) -> PyResult<String> {
        Ok(self.identity()?.store_path())
    }

    /// The name of the key in the key store of the host; ``""`` if the key ends with the process.
    #[getter]
    fn key_name(&self) -> PyResult<&str> {
        Ok(self.identity()?.key_name())
    }

    /// The public facts: ``store_path``, ``thumbprint_sha1``, ``thumbprint_sha256``, ``x5t#S256``, ``has_private_key`` and
    /// ``key_name``.
    fn to_metadata_dict<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let metadata = PyDict::new(py);
        metadata.set_item("store_path", self.store_path()?)?;
        metadata.set_item("thumbprint_sha1", self.thumbprint_sha1()?)?;
        metadata.set_item("thumbprint_sha256", self.thumbprint_sha256()?)?;
        metadata.set_item("x5t#S256", self.x5t_s256()?)?;
        metadata.set_item("has_private_key", self.has_private_key())?;
        let key_name = Some(self.key_name()?).filter(|name| !name.is_empty());
        metadata.set_item("key_name", key_name)?;
        Ok(metadata)
    }

    /// ``["x5c"]``, a list with the certificate in base64, and ``["thumbprint_sha256"]``, base64url, as in the dictionaries of msal.
    fn __getitem__<'py>(
        &self,
        py: Python<'py>,
        key: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        match key.extract::<String>().unwrap_or_default().as_str() {
            "x5c" => {
                let der = self.public_certificate_der(py)?;
                let _inside = Inside::enter_python()?;
                let text = py.import("base64")?.call_method1("b64encode", (der,))?;
                let text = text.call_method0("decode")?;
                Ok(PyList::new(py, [text])?.into_any())
            }
            "thumbprint_sha256" => Ok(self.x5t_s256()?.into_pyobject(py)?.into_any()),
            _ => Err(PyKeyError::new_err(key.clone().unbind())),
        }
    }

    /// For `keybound.schannel_transport`: sends a request whose headers have a token that is bound to this certificate.
    #[pyo3(name = "_send", signature = (method, url, headers, body, timeout, /))]
    fn send(
        &self,
        py: Python<'_>,
        #[pyo3(from_py_with = arguments::method)] method: String,
        #[pyo3(from_py_with = arguments::url)] url: String,
        #[pyo3(from_py_with = arguments::headers)] headers: Vec<(String, String)>,
        #[pyo3(from_py_with = arguments::body)] body: Content<'_>,
        #[pyo3(from_py_with = arguments::timeout)] timeout: f64,
    ) -> PyResult<Operation> {
        if self.is_closed.load(Ordering::Relaxed) {
            return Err(PyRuntimeError::new_err("the certificate is closed"));
        }
        if self.identity.of_this_process().is_none() {
            return Err(PyRuntimeError::new_err(
                "the certificate is that of the parent process",
            ));
        }
        let timeout = crate::time::timeout(py, timeout)?;
        let client = self.identity()?.bound_client().with_timeout(timeout);
        let request = new_request(py, &method, &url, headers, body, None)?;
        start_exchange(py, async move { client.send_authorized(request).await })
    }

    /// Not supported: the pointer would be valid only as long as this object.
    ///
    /// Raises:
    ///     RuntimeError: always.
    fn create_cert_context(&self) -> PyResult<()> {
        Err(PyRuntimeError::new_err(
            "a pointer to the certificate is not returned, as it would become invalid with this object: use keybound.schannel_transport.SchannelSession",
        ))
    }

    /// Ends the use of the key through this object.
    fn close(&self) {
        self.is_closed.store(true, Ordering::Relaxed);
    }

    fn __enter__(slf: PyRef<'_, Self>) -> PyRef<'_, Self> {
        slf
    }

    #[pyo3(signature = (*_exception))]
    fn __exit__(&self, _exception: &Bound<'_, PyAny>) {
        self.close();
    }

    fn __repr__(&self) -> PyResult<String> {
        let state = if self.has_private_key() {
            "open"
        } else {
            "closed"
        };
        // The name and the form of msal-msiv2, in which programs for it log their certificates.
        let thumbprint = self.thumbprint_sha1()?;
        let start = thumbprint.get(..SHOWN_DIGITS).unwrap_or(&thumbprint);
        Ok(format!("<WindowsCertificate {start}... [{state}]>"))
    }

    /// A certificate with a CNG key of a certificate store of Windows.
    ///
    /// Args:
    ///     store_path: ``CurrentUser`` or ``LocalMachine``, a slash, and the name of the store.
    ///     thumbprint: SHA-1 or SHA-256 in hexadecimal; spaces, colons and dashes are ignored.
    ///     subject_name: a part of the subject.
    ///
    /// Raises:
    ///     OSError: if this is not Windows, or there is no such certificate with such a key.
    ///     ValueError: if an argument is malformed.
    #[classmethod]
    #[pyo3(signature = (store_path = "CurrentUser/My", *, thumbprint = None, subject_name = None))]
    fn from_store(
        _class: &Bound<'_, pyo3::types::PyType>,
        py: Python<'_>,
        store_path: &str,
        thumbprint: Option<&str>,
        subject_name: Option<&str>,
    ) -> PyResult<Self> {
        let stored = stored_certificate(py, store_path, thumbprint, subject_name)?;
        Ok(Self::new(stored))
    }

    fn __reduce__(&self) -> PyResult<()> {
        Err(crate::error::cannot_be_pickled())
    }
}

#[cfg(windows)]
fn stored_certificate(
    py: Python<'_>,
    store_path: &str,
    thumbprint: Option<&str>,
    subject_name: Option<&str>,
) -> PyResult<Arc<dyn CertificateIdentity>> {
    use crate::stored_certificate::StoredCertificate;

    let stored = StoredCertificate::find(py, store_path, thumbprint, subject_name)?;
    Ok(Arc::new(stored))
}

#[cfg(not(windows))]
fn stored_certificate(
    _: Python<'_>,
    _: &str,
    _: Option<&str>,
    _: Option<&str>,
) -> PyResult<Arc<dyn CertificateIdentity>> {
    Err(pyo3::exceptions::PyOSError::new_err(
        "WindowsCertificate.from_store() is only supported on Windows",
    ))
}

fn utc(py: Python<'_>, time: SystemTime) -> PyResult<Bound<'_, PyAny>> {
    let datetime = py.import("datetime")?;
    let utc = datetime.getattr("timezone")?.getattr("utc")?;
    let seconds = crate::time::unix(time);
    datetime
        .getattr("datetime")?
        .call_method1("fromtimestamp", (seconds, utc))
}
