use crate::certificate_identity::CertificateIdentity;
use crate::error::raise;
use crate::settings::Settings;
use keybound::http::BoundClient;
use keybound::keys::{CertificateError, WindowsCertificate};
use keybound::store::StorePath;
use keybound::{Certificate, KeyStrength};
use pyo3::exceptions::{PyOSError, PyValueError};
use pyo3::prelude::*;
use std::error::Error;
use std::iter;

/// A certificate of a certificate store of Windows.
pub(crate) struct StoredCertificate {
    stored: WindowsCertificate,
    strength: KeyStrength,
    client: BoundClient,
}

impl StoredCertificate {
    /// Finds a certificate and opens its key.
    ///
    /// # Errors
    /// `ValueError` if an argument is malformed, `OSError` if there is no such certificate with a usable key.
    pub(crate) fn find(
        py: Python<'_>,
        store_path: &str,
        thumbprint: Option<&str>,
        subject: Option<&str>,
    ) -> PyResult<Self> {
        let path: StorePath = store_path.parse().map_err(PyValueError::new_err)?;
        let stored = match (thumbprint, subject) {
            (Some(text), _) => py.detach(|| by_thumbprint(&path, text)),
            (None, Some(text)) => py.detach(|| WindowsCertificate::by_subject(&path, text)),
            (None, None) => {
                return Err(PyValueError::new_err(
                    "[WindowsCertificate] a thumbprint or a subject_name is required",
                ));
            }
        };
        let stored = stored.map_err(|error| to_python(&error))?;
        let identity = py.detach(|| stored.client_identity());
        let identity = identity.map_err(|error| to_python(&error))?;
        let client = raise(py, Settings::of_environment(py)?.build())?;
        Ok(Self {
            strength: identity.key().strength(),
            client: raise(py, BoundClient::new(&client, identity))?,
            stored,
        })
    }
}

/// Dashes are ignored as well.
fn by_thumbprint(path: &StorePath, text: &str) -> Result<WindowsCertificate, CertificateError> {
    WindowsCertificate::by_thumbprint(path, &text.replace('-', ""))
}

fn to_python(error: &CertificateError) -> PyErr {
    let causes = iter::successors(error.source(), |cause| (*cause).source());
    let message = causes.fold(format!("[WindowsCertificate] {error}"), |line, cause| {
        format!("{line}: {cause}")
    });
    match error {
        CertificateError::MalformedThumbprint => PyValueError::new_err(message),
        _ => PyOSError::new_err(message),
    }
}

impl CertificateIdentity for StoredCertificate {
    fn certificate(&self) -> &Certificate {
        self.stored.certificate()
    }

    fn bound_client(&self) -> BoundClient {
        self.client.clone()
    }

    fn client_id(&self) -> &str {
        ""
    }

    fn tenant_id(&self) -> &str {
        ""
    }

    fn key_strength(&self) -> &'static str {
        self.strength.as_str()
    }

    fn key_name(&self) -> &str {
        self.stored.key_name().unwrap_or_default()
    }

    fn store_path(&self) -> String {
        self.stored.store_path().to_string().replace('\\', "/")
    }
}
