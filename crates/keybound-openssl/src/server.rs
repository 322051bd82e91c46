//! Client authentication after the request, on the server's side, as Key Vault does it. For test servers and the emulator; the client
//! does not need it.
use crate::ffi::MessageCallback;
pub use crate::ffi::offer_post_handshake_auth;
use foreign_types::ForeignTypeRef as _;
use openssl::error::ErrorStack;
use openssl::ssl::{SslRef, SslVersion};
use openssl::x509::X509VerifyResult;
use std::cell::Cell;
use std::ffi::{c_int, c_void};
use std::future::poll_fn;
use std::pin::Pin;
use std::ptr;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_openssl::SslStream;

/// Requests the client's certificate on an established connection: by renegotiation on TLS 1.2, by post-handshake authentication on
/// TLS 1.3. Afterwards `stream.ssl().peer_certificate()` returns the certificate that the client presented, if any. The verify
/// callback of the server's context verifies it; that context should not resume sessions.
///
/// All data from the client must have been read before: data during the handshake is rejected, so that data of an unauthenticated
/// client is not attributed to an authenticated one. There is no timeout.
///
/// # Errors
/// [`RequestCertificateError`]. After [`NotOffered`](RequestCertificateError::NotOffered) the connection can be used further; after
/// any other error, or after dropping the future early, it must be closed.
pub async fn request_client_certificate<S>(
    stream: &mut SslStream<S>,
) -> Result<(), RequestCertificateError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    schedule(stream.ssl())?;
    // Sends the HelloRequest or CertificateRequest, and only that.
    Pin::new(&mut *stream)
        .do_handshake()
        .await
        .map_err(RequestCertificateError::Tls)?;
    let mut finished = false;
    poll_fn(|context| poll_response(stream, context, &mut finished)).await
}

/// Why the client's certificate could not be requested, or the client did not respond.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RequestCertificateError {
    /// The client did not offer post-handshake authentication (TLS 1.3), or OpenSSL does not allow the request.
    #[error("the client's certificate cannot be requested on this connection")]
    NotOffered(#[source] ErrorStack),
    /// The client rejected the request, the handshake failed, or the certificate was not accepted.
    #[error("the handshake that requests the client certificate failed")]
    Tls(#[source] openssl::ssl::Error),
    /// The client sent application data during the handshake.
    #[error("the client sent data before it responded to the certificate request")]
    ApplicationData,
    /// The client closed the connection.
    #[error("the client closed the connection upon the certificate request")]
    Closed,
}

/// The alert with which a verify callback ends the handshake, for servers that reject a client certificate there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HandshakeRefusal {
    /// `certificate_expired`.
    Expired,
    /// `certificate_revoked`.
    Revoked,
    /// `unknown_ca`.
    UnknownIssuer,
    /// `bad_certificate`.
    Rejected,
    /// `unsupported_certificate`.
    Unsupported,
    /// `certificate_unknown`.
    Unspecified,
    /// `handshake_failure`.
    Failure,
}

impl HandshakeRefusal {
    /// The value for an alert, by its name in RFC 8446, section 6; `None` for alerts that do not concern a certificate.
    pub fn from_alert(name: &str) -> Option<Self> {
        Some(match name {
            "certificate_expired" => Self::Expired,
            "certificate_revoked" => Self::Revoked,
            "unknown_ca" => Self::UnknownIssuer,
            "bad_certificate" => Self::Rejected,
            "unsupported_certificate" => Self::Unsupported,
            "certificate_unknown" => Self::Unspecified,
            "handshake_failure" => Self::Failure,
            _ => return None,
        })
    }

    /// The error that the callback sets, for which OpenSSL sends the alert.
    pub fn verify_result(self) -> X509VerifyResult {
        let code = match self {
            Self::Expired => openssl_sys::X509_V_ERR_CERT_HAS_EXPIRED,
            Self::Revoked => openssl_sys::X509_V_ERR_CERT_REVOKED,
            Self::UnknownIssuer => openssl_sys::X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY,
            Self::Rejected => openssl_sys::X509_V_ERR_CERT_REJECTED,
            Self::Unsupported => openssl_sys::X509_V_ERR_INVALID_PURPOSE,
            Self::Failure => openssl_sys::X509_V_ERR_APPLICATION_VERIFICATION,
            // An error without an alert of its own, for which OpenSSL sends `certificate_unknown`.
            Self::Unspecified => openssl_sys::X509_V_ERR_PERMITTED_VIOLATION,
        };
        // SAFETY: the code is one of OpenSSL's.
        unsafe { X509VerifyResult::from_raw(code) }
    }
}

fn schedule(ssl: &SslRef) -> Result<(), RequestCertificateError> {
    let tls13 = ssl.version2() == Some(SslVersion::TLS1_3);
    let mode = openssl_sys::SSL_VERIFY_PEER
        | (verify_mode(ssl) & openssl_sys::SSL_VERIFY_FAIL_IF_NO_PEER_CERT);
    // SAFETY: the connection is alive, and the caller's `&mut SslStream` is its only user. A null callback keeps the earlier one.
    let scheduled = unsafe {
        if tls13 {
            openssl_sys::SSL_set_verify(
                ssl.as_ptr(),
                mode | openssl_sys::SSL_VERIFY_POST_HANDSHAKE,
                None,
            );
            SSL_verify_client_post_handshake(ssl.as_ptr())
        } else {
            openssl_sys::SSL_set_verify(ssl.as_ptr(), mode, None);
            SSL_renegotiate(ssl.as_ptr())
        }
    };
    if scheduled == 1 {
        return Ok(());
    }
    // Taking the errors also clears the thread's queue, which the next call would report.
    Err(RequestCertificateError::NotOffered(ErrorStack::get()))
}

fn verify_mode(ssl: &SslRef) -> c_int {
    // SAFETY: the connection is alive and is only read.
    unsafe { openssl_sys::SSL_get_verify_mode(ssl.as_ptr()) }
}

/// Reads the client's response. Peeking drives the handshake and leaves later data for the caller.
fn poll_response<S>(
    stream: &mut SslStream<S>,
    context: &mut Context<'_>,
    finished: &mut bool,
) -> Poll<Result<(), RequestCertificateError>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let is_finished = Cell::new(*finished);
    let peeked = {
        // SAFETY: the stream and the cell outlive this block, and the stream is exclusively borrowed.
        let _watch = unsafe { FinishedWatch::new(stream.ssl().as_ptr(), &raw const is_finished) };
        Pin::new(&mut *stream).poll_peek(context, &mut [0])
    };
    *finished = is_finished.get();
    match peeked {
        Poll::Ready(Err(error)) if error.code() == openssl::ssl::ErrorCode::ZERO_RETURN => {
            Poll::Ready(Err(RequestCertificateError::Closed))
        }
        Poll::Ready(Err(error)) => Poll::Ready(Err(RequestCertificateError::Tls(error))),
        _ if *finished && !in_handshake(stream.ssl()) => Poll::Ready(Ok(())),
        Poll::Pending => Poll::Pending,
        Poll::Ready(Ok(0)) => Poll::Ready(Err(RequestCertificateError::Closed)),
        Poll::Ready(Ok(_)) => Poll::Ready(Err(RequestCertificateError::ApplicationData)),
    }
}

fn in_handshake(ssl: &SslRef) -> bool {
    // SAFETY: the connection is alive and is only read.
    unsafe { SSL_in_init(ssl.as_ptr()) != 0 }
}

/// Sets the cell when the client's Finished message arrives, which ends the handshake in TLS 1.2 and 1.3, with and without a
/// certificate. It must be dropped before the cell and the SSL.
struct FinishedWatch(*mut openssl_sys::SSL);

impl FinishedWatch {
    /// # Safety
    /// `ssl` and `finished` must outlive the value, and nothing else may set a message callback while it lives.
    unsafe fn new(ssl: *mut openssl_sys::SSL, finished: *const Cell<bool>) -> Self {
        // SAFETY: by contract the SSL is alive; only `on_message` reads the argument.
        unsafe {
            SSL_set_msg_callback(ssl, Some(on_message));
            set_msg_callback_arg(ssl, finished.cast_mut().cast());
        }
        Self(ssl)
    }
}

impl Drop for FinishedWatch {
    fn drop(&mut self) {
        // SAFETY: by the contract of `new` the SSL is still alive.
        unsafe {
            SSL_set_msg_callback(self.0, None);
            set_msg_callback_arg(self.0, ptr::null_mut());
        }
    }
}

/// # Safety
/// `ssl` must be alive.
unsafe fn set_msg_callback_arg(ssl: *mut openssl_sys::SSL, argument: *mut c_void) {
    // SAFETY: this control stores the pointer and returns.
    unsafe { openssl_sys::SSL_ctrl(ssl, SSL_CTRL_SET_MSG_CALLBACK_ARG, 0, argument) };
}

unsafe extern "C" fn on_message(
    outgoing: c_int,
    _version: c_int,
    content_type: c_int,
    message: *const c_void,
    length: usize,
    _ssl: *mut openssl_sys::SSL,
    finished: *mut c_void,
) {
    if outgoing != 0 || content_type != CONTENT_HANDSHAKE || length == 0 || finished.is_null() {
        return;
    }
    // SAFETY: OpenSSL passes `length` readable bytes, at least one; `finished` is the cell of the `FinishedWatch`, on the same thread,
    // as the callback runs within the peek that the watch surrounds.
    unsafe {
        if *message.cast::<u8>() == MESSAGE_FINISHED {
            (*finished.cast::<Cell<bool>>()).set(true);
        }
    }
}

// Not in openssl-sys. Declared as in OpenSSL 3's ssl.h.
unsafe extern "C" {
    fn SSL_in_init(ssl: *const openssl_sys::SSL) -> c_int;
    fn SSL_renegotiate(ssl: *mut openssl_sys::SSL) -> c_int;
    fn SSL_verify_client_post_handshake(ssl: *mut openssl_sys::SSL) -> c_int;
    fn SSL_set_msg_callback(ssl: *mut openssl_sys::SSL, callback: Option<MessageCallback>);
}

/// `SSL_CTRL_SET_MSG_CALLBACK_ARG` of ssl.h.
const SSL_CTRL_SET_MSG_CALLBACK_ARG: c_int = 16;
/// ContentType `handshake` (RFC 8446, section 5.1).
const CONTENT_HANDSHAKE: c_int = 22;
/// HandshakeType `finished` (RFC 8446, section 4).
const MESSAGE_FINISHED: u8 = 20;
