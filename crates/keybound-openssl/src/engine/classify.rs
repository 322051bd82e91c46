//! The classes of OpenSSL's errors, and their texts.
use crate::ffi::{provider_name, reasons};
use keybound_core::tls::{TlsErrorClass, is_certificate_alert};
use openssl::error::ErrorStack;
use openssl::ssl;
use std::error::Error;

/// The class of an error; `None` if it is not from OpenSSL's TLS.
pub fn classify(error: &(dyn Error + 'static)) -> Option<TlsErrorClass> {
    let error = error.downcast_ref::<ssl::Error>()?;
    let mut class = TlsErrorClass {
        closed: error.code() == ssl::ErrorCode::ZERO_RETURN
            || error.code() == ssl::ErrorCode::SYSCALL && error.io_error().is_none(),
        ..TlsErrorClass::default()
    };
    for error in error.ssl_error().map_or(&[][..], ErrorStack::errors) {
        class.key |= error.library() == Some(provider_name());
        if error.library_code() == ERR_LIB_SSL {
            let reason = error.reason_code();
            let alert = u8::try_from(reason - openssl_sys::SSL_AD_REASON_OFFSET);
            class.certificate_alert |= alert.is_ok_and(is_certificate_alert);
            class.closed |= reason == UNEXPECTED_EOF;
            class.no_protocol |= reason == NO_PROTOCOLS_AVAILABLE;
        }
    }
    Some(class)
}

/// The reasons of an error of OpenSSL in words. `None` if it is another error, or has no reasons: OpenSSL's own text has codes, names
/// of functions and positions in its source.
pub fn describe(error: &(dyn Error + 'static)) -> Option<String> {
    let of_tls = error.downcast_ref().and_then(ssl::Error::ssl_error);
    reasons(of_tls.or_else(|| error.downcast_ref())?)
}

/// `ERR_LIB_SSL`: the error is libssl's.
const ERR_LIB_SSL: i32 = 20;
/// `SSL_R_UNEXPECTED_EOF_WHILE_READING`.
const UNEXPECTED_EOF: i32 = 294;
/// `SSL_R_NO_PROTOCOLS_AVAILABLE`.
const NO_PROTOCOLS_AVAILABLE: i32 = 191;
