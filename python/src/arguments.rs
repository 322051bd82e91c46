//! Conversion of arguments, whose errors name the argument and what it must be. They do not show its value, which may be a secret.
use crate::upload::Content;
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;

macro_rules! argument {
    ($name:ident: $type:ty, $expected:literal) => {
        /// Converts the argument of this name.
        ///
        /// # Errors
        /// `TypeError` if it is of another type.
        pub(crate) fn $name(value: &Bound<'_, PyAny>) -> PyResult<$type> {
            value
                .extract()
                .map_err(|_| wrong_type(value, stringify!($name), $expected))
        }
    };
}

argument!(resource: String, "a str, such as 'https://vault.azure.net'");
argument!(attested: bool, "a bool");
argument!(min_strength: String, "a KeyStrength, such as KeyStrength.KEYGUARD");
argument!(claims: Option<String>, "a str with a JSON object, or None");
argument!(force_refresh: bool, "a bool");
argument!(timeout: f64, "a number of seconds");
argument!(follow_redirects: bool, "a bool");
argument!(honor_retry_after: bool, "a bool");
argument!(method: String, "a str, such as 'GET'");
argument!(url: String, "a str");

/// The timeout of a request, which may contain none.
///
/// # Errors
/// `TypeError` if it is neither a number nor `None`.
pub(crate) fn request_timeout(value: &Bound<'_, PyAny>) -> PyResult<Option<f64>> {
    value
        .extract()
        .map_err(|_| wrong_type(value, "timeout", "a number of seconds, or None"))
}

/// The headers of a request.
///
/// # Errors
/// `TypeError` if one is not a pair of texts.
pub(crate) fn headers(value: &Bound<'_, PyAny>) -> PyResult<Vec<(String, String)>> {
    value
        .extract()
        .map_err(|_| PyTypeError::new_err("headers are pairs of name and value, each a str"))
}

/// The body of a request.
///
/// # Errors
/// `TypeError` if it is none.
pub(crate) fn body<'py>(value: &Bound<'py, PyAny>) -> PyResult<Content<'py>> {
    value
        .extract()
        .map_err(|_| wrong_type(value, "the body", "bytes"))
}

fn wrong_type(value: &Bound<'_, PyAny>, name: &str, expected: &str) -> PyErr {
    let found = value.get_type().name();
    let found = found.map_or_else(|_| "another type".to_owned(), |found| found.to_string());
    PyTypeError::new_err(format!("{name} is {expected}, not {found}"))
}
