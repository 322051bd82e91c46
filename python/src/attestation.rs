use crate::error::{invalid_request, raise};
use crate::operation::Operation;
use keybound::attestation::Url;
use keybound::attestation::native::NativeAttestation;
use keybound::{Environment, Guid, SecretString};
use pyo3::prelude::*;

/// Attests a key of the caller by the handle that it opened.
#[pyfunction]
#[pyo3(signature = (endpoint, client_id, key_handle, auth_token, client_payload, /))]
pub(crate) fn attest_key(
    py: Python<'_>,
    endpoint: &str,
    client_id: &str,
    key_handle: usize,
    auth_token: &str,
    client_payload: &str,
) -> PyResult<Operation> {
    let endpoint = Url::parse(endpoint)
        .ok()
        .filter(|url| url.scheme() == "https" && url.has_host())
        .ok_or_else(|| invalid_request(py, "the attestation endpoint is not an https URL"))?;
    let client_id =
        Guid::parse(client_id).ok_or_else(|| invalid_request(py, "the client id is not a GUID"))?;
    let library = Environment::from_process().native_attestation();
    let library = raise(
        py,
        library.auth_token(&SecretString::new(auth_token.to_owned())),
    )?;
    let library = raise(py, library.client_payload(client_payload))?;
    Operation::start(
        py,
        async move { attest(library, endpoint, client_id, key_handle).await },
        |py, token| Ok(raise(py, token)?.into_pyobject(py)?.into_any().unbind()),
    )
}

#[cfg(windows)]
#[expect(unsafe_code, reason = "the handle is a number from Python")]
async fn attest(
    library: NativeAttestation,
    endpoint: Url,
    client_id: Guid,
    key_handle: usize,
) -> keybound::Result<String> {
    use keybound::keys::CngHandle;
    use std::sync::Arc;

    // SAFETY: the documentation of `get_attestation_jwt` requires an open handle, as functions called by ctypes do. Handles of
    // CNG keys can be used from every thread.
    let key = unsafe { CngHandle::new(key_handle, Arc::new(())) };
    let token = library.attest_handle(&endpoint, &client_id, key).await?;
    Ok(token.expose().to_owned())
}

#[cfg(not(windows))]
async fn attest(_: NativeAttestation, _: Url, _: Guid, _: usize) -> keybound::Result<String> {
    use keybound::attestation::native::NativeFailure;

    Err(NativeFailure::NotWindows.into())
}
