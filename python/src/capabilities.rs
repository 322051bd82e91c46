//! What a host can do, as a dictionary for `keybound._capabilities`.
use crate::error::exception;
use keybound::capabilities::{AttestationSupport, Capabilities};
use keybound::{Error, KeyStrength};
use pyo3::prelude::*;
use pyo3::types::PyDict;

/// The values by their names.
pub(crate) fn to_python<'py>(
    py: Python<'py>,
    found: &Capabilities,
) -> PyResult<Bound<'py, PyDict>> {
    let error = |error: Option<&Error>| error.map(|error| exception(py, error)).transpose();
    let strength = |strength: Option<KeyStrength>| strength.map(KeyStrength::as_str);
    let imds = found.imds.as_ref();
    let security = found.security.as_ref();
    let security_type = security.and_then(|security| security.security_type.as_ref());
    let facts = PyDict::new(py);
    facts.set_item("source", found.source.as_str())?;
    facts.set_item("source_reason", found.source_reason.as_str())?;
    facts.set_item("source_variables", found.source_reason.variables())?;
    facts.set_item("source_error", error(found.source_error.as_ref())?)?;
    facts.set_item("imds_v1", imds.and_then(|imds| imds.v1))?;
    facts.set_item("imds_v2", imds.and_then(|imds| imds.v2))?;
    facts.set_item("imds_v2_disabled", found.imds_v2_disabled)?;
    let imds_error = imds.and_then(|imds| imds.error.as_ref());
    facts.set_item("imds_error", error(imds_error)?)?;
    facts.set_item("operating_system", found.operating_system.as_str())?;
    facts.set_item("security_type", security_type.map(|name| name.as_str()))?;
    let secure_boot = security.and_then(|security| security.secure_boot);
    facts.set_item("secure_boot", secure_boot)?;
    let virtual_tpm = security.and_then(|security| security.virtual_tpm);
    facts.set_item("virtual_tpm", virtual_tpm)?;
    facts.set_item("security_error", error(found.security_error.as_ref())?)?;
    facts.set_item("strongest_key", strength(found.strongest_key))?;
    facts.set_item("simulated_key", found.simulated_key)?;
    facts.set_item("strongest_binding", strength(found.strongest_binding))?;
    facts.set_item("why_not_stronger", error(found.why_not_stronger.as_ref())?)?;
    facts.set_item("attestation", found.attestation.as_str())?;
    let (library, library_error) = match &found.attestation {
        AttestationSupport::Library(path) => (Some(path.to_string_lossy().into_owned()), None),
        AttestationSupport::NoLibrary(error) => (None, Some(error)),
        _ => (None, None),
    };
    facts.set_item("attestation_library", library)?;
    facts.set_item("attestation_error", error(library_error)?)?;
    Ok(facts)
}
