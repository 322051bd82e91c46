use super::certificate_error::CertificateError;
use super::certificate_key;
use super::key_prov_info::KeyProvInfo;
use super::native::CertificateContext;
use super::status::Status;
use super::windows_api::WindowsApi;
use keybound_core::Certificate;
use std::ffi::c_void;
use std::sync::Arc;

/// An owned reference to a `CERT_CONTEXT` with its key. Clones are references to the same context.
#[derive(Clone, Debug)]
pub struct NativeCertificate(CertificateContext);

impl NativeCertificate {
    /// Takes ownership of a reference to a context. `None` for a null pointer.
    ///
    /// # Safety
    /// `context` is null or a `PCCERT_CONTEXT`, and the caller owns a reference to it, which is freed with this value. Keys and
    /// handles among its properties meet the requirements in Windows' documentation.
    #[allow(
        unsafe_code,
        reason = "the caller promises that the pointer is a context"
    )]
    pub unsafe fn from_ptr(context: *const c_void) -> Option<Self> {
        // SAFETY: the caller's promise.
        unsafe { CertificateContext::from_ptr(context.cast()) }.map(Self)
    }

    /// A certificate with an open handle of its key.
    pub(super) fn with_key_handle(
        api: &Arc<dyn WindowsApi>,
        certificate: &Certificate,
        info: &KeyProvInfo,
    ) -> Result<Self, CertificateError> {
        let key = certificate_key::open(api, info, certificate.public_key_der())?;
        let failed = |status: Status| CertificateError::Context(status.into());
        let mut context = Self::without_key_handle(certificate, info).map_err(failed)?;
        context.0.set_key_handle(key).map_err(failed)?;
        Ok(context)
    }

    /// A certificate that names the container of its key. The key is not opened.
    pub(super) fn without_key_handle(
        certificate: &Certificate,
        info: &KeyProvInfo,
    ) -> Result<Self, Status> {
        let mut context = CertificateContext::from_der(certificate.der())?;
        context.set_key_prov_info(info)?;
        Ok(Self(context))
    }

    /// The `PCCERT_CONTEXT`, valid while this value lives.
    pub fn as_ptr(&self) -> *const c_void {
        self.0.as_ptr().cast()
    }

    /// The `PCCERT_CONTEXT`, which the caller frees by `CertFreeCertificateContext`.
    pub fn into_ptr(self) -> *const c_void {
        self.0.into_ptr().cast()
    }
}
