//! Conversion of errors to the exceptions of `keybound._errors`.
use crate::process::Inside;
use keybound::{Error, ErrorKind, ServiceError, Stage};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyDict;
use std::borrow::Cow;
use std::error::Error as _;
use std::iter;

/// The exception for an error.
pub(crate) fn to_python(py: Python<'_>, error: &Error) -> PyErr {
    match exception(py, error) {
        Ok(exception) => PyErr::from_value(exception),
        Err(error) => error,
    }
}

/// The value of a result, or its exception.
pub(crate) fn raise<T>(py: Python<'_>, result: keybound::Result<T>) -> PyResult<T> {
    result.map_err(|error| to_python(py, &error))
}

/// The exception for an invalid argument.
pub(crate) fn invalid_request(py: Python<'_>, message: impl Into<Cow<'static, str>>) -> PyErr {
    to_python(py, &Error::invalid_request(message))
}

/// The exception of `__reduce__` of what has secrets or resources of the process. Python 3.9 would pickle an empty object.
pub(crate) fn cannot_be_pickled() -> PyErr {
    PyTypeError::new_err("objects of keybound cannot be pickled or copied")
}

/// The exception as an object.
pub(crate) fn exception<'py>(py: Python<'py>, error: &Error) -> PyResult<Bound<'py, PyAny>> {
    static NEW_ERROR: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let _inside = Inside::enter_python()?;
    let fields = PyDict::new(py);
    fields.set_item("code", error.kind().code())?;
    fields.set_item("stage", error.stage().as_str())?;
    fields.set_item("status", error.status())?;
    fields.set_item("service", service(py, error.service())?)?;
    fields.set_item("retryable", error.is_retryable())?;
    fields.set_item("deadline_reached", error.deadline_exceeded())?;
    fields.set_item("next_step", error.next_step())?;
    fields.set_item("may_have_been_sent", may_have_been_sent(error))?;
    let causes: Vec<_> = iter::successors(error.source(), |cause| (*cause).source())
        .map(ToString::to_string)
        .collect();
    NEW_ERROR
        .import(py, "keybound._errors", "new_error")?
        .call1((error.to_string(), causes, fields))
}

fn service<'py>(py: Python<'py>, error: Option<&ServiceError>) -> PyResult<Bound<'py, PyDict>> {
    let members = PyDict::new(py);
    let Some(error) = error else {
        return Ok(members);
    };
    let texts = [
        ("error", &error.error),
        ("description", &error.description),
        ("trace_id", &error.trace_id),
        ("correlation_id", &error.correlation_id),
        ("timestamp", &error.timestamp),
    ];
    for (name, text) in texts {
        if let Some(text) = text {
            members.set_item(name, text)?;
        }
    }
    if !error.codes.is_empty() {
        members.set_item("codes", &error.codes)?;
    }
    Ok(members)
}

/// Whether bytes of a request to a resource may have reached it. Kinds that also occur after that count as sent.
fn may_have_been_sent(error: &Error) -> bool {
    let before = [
        ErrorKind::BindingMismatch,
        ErrorKind::HostUnsupported,
        ErrorKind::InvalidRequest,
        ErrorKind::Unreachable,
    ];
    error.stage() == Stage::Resource && !before.contains(&error.kind())
}
