//! What OpenSSL's errors tell.
use crate::bridge::provider_name;
use crate::engine::{TlsFindings, answers_a_certificate};
use openssl::error::ErrorStack;
use openssl::ssl;

pub(crate) fn findings_of(error: &ssl::Error) -> TlsFindings {
    let mut findings = TlsFindings {
        closed: error.code() == ssl::ErrorCode::ZERO_RETURN
            || error.code() == ssl::ErrorCode::SYSCALL && error.io_error().is_none(),
        ..TlsFindings::default()
    };
    for error in error.ssl_error().map_or(&[][..], ErrorStack::errors) {
        findings.key |= error.library() == Some(provider_name());
        if error.library_code() == ERR_LIB_SSL {
            let reason = error.reason_code();
            let alert = u8::try_from(reason - openssl_sys::SSL_AD_REASON_OFFSET);
            findings.certificate_alert |= alert.is_ok_and(answers_a_certificate);
            findings.closed |= reason == UNEXPECTED_EOF;
            findings.no_protocol |= reason == NO_PROTOCOLS_AVAILABLE;
        }
    }
    findings
}

/// OpenSSL's first reason, in its words.
pub(crate) fn first_reason(errors: &ErrorStack) -> Option<String> {
    errors.errors().iter().find_map(|error| {
        let reason = error.reason()?;
        Some(match error.data() {
            Some(data) if !data.is_empty() => format!("{reason} ({data})"),
            _ => reason.to_owned(),
        })
    })
}

/// `ERR_LIB_SSL`: the error is libssl's.
const ERR_LIB_SSL: i32 = 20;
/// `SSL_R_UNEXPECTED_EOF_WHILE_READING`.
const UNEXPECTED_EOF: i32 = 294;
/// `SSL_R_NO_PROTOCOLS_AVAILABLE`.
const NO_PROTOCOLS_AVAILABLE: i32 = 191;
