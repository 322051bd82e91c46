//! Settings of a TLS context for which the `openssl` crate has no safe function.
use super::library::Library;
use super::native;
use crate::ConnectionState;
use crate::TlsEngine;
use crate::engine::{NAME_RULES, on_certificate_request, on_message, on_record};
use foreign_types::ForeignTypeRef as _;
use openssl::ssl::{SslContextBuilder, SslRef, SslSessionCacheMode, SslVersion};
use openssl::x509::{X509Ref, X509StoreContextRef, X509VerifyResult};
use std::ffi::{c_int, c_void};
use std::panic::catch_unwind;
use std::ptr::null_mut;
use std::slice;
use std::sync::Arc;

/// Sets the callback for each request for the client certificate.
pub(crate) fn set_certificate_callback(builder: &mut SslContextBuilder) {
    unsafe extern "C" fn callback(ssl: *mut openssl_sys::SSL, _: *mut c_void) -> c_int {
        catch_unwind(|| {
            // SAFETY: libssl passes the connection that it works on.
            on_certificate_request(unsafe { SslRef::from_ptr(ssl) })
        })
        .unwrap_or(0)
    }
    // SAFETY: the context is alive; the callback takes no argument of ours.
    unsafe { native::SSL_CTX_set_cert_cb(builder.as_ptr(), Some(callback), null_mut()) };
}

/// Sets the callback for each handshake message and each data record from the server. Where a message
/// is refused, the connection ends: nothing more is read from it or written to it.
pub(crate) fn set_message_callback(builder: &mut SslContextBuilder) {
    unsafe extern "C" fn callback(
        outgoing: c_int,
        _: c_int,
        kind: c_int,
        bytes: *const c_void,
        length: usize,
        ssl: *mut openssl_sys::SSL,
        _: *mut c_void,
    ) {
        if outgoing != 0 || length == 0 || ssl.is_null() {
            return;
        }
        let _ = catch_unwind(|| {
            // SAFETY: libssl passes the connection that it works on, and so many bytes.
            let (connection, bytes) = unsafe {
                let bytes = slice::from_raw_parts(bytes.cast::<u8>(), length);
                (SslRef::from_ptr(ssl), bytes)
            };
            match kind {
                HANDSHAKE if !on_message(connection, bytes[0]) => {
                    let ended = openssl_sys::SSL_SENT_SHUTDOWN | openssl_sys::SSL_RECEIVED_SHUTDOWN;
                    // SAFETY: the connection is alive. To mark it as ended, even in the middle of its work, is for
                    // everybody who has it.
                    unsafe { openssl_sys::SSL_set_shutdown(ssl, ended) };
                }
                RECORD_HEAD => {
                    // In TLS 1.3 all that is encrypted goes by the same type.
                    let tells_type = connection.version2() == Some(SslVersion::TLS1_2);
                    on_record(connection, bytes, tells_type && bytes[0] == DATA);
                }
                INNER_TYPE => on_record(connection, &[], bytes[0] == DATA),
                _ => {}
            }
        });
    }
    // SAFETY: the context is alive; the callback takes no argument of ours.
    unsafe { native::SSL_CTX_set_msg_callback(builder.as_ptr(), Some(callback)) };
}

/// The state of a connection for which OpenSSL calls back. It is created here for a connection of a caller's own stack.
pub(crate) fn state_of(ssl: &SslRef) -> Option<&Arc<ConnectionState>> {
    let index = Library::get().ok()?.state();
    if ssl.ex_data(index).is_none() {
        // SAFETY: libssl calls back on the one thread that works on the connection, which is alive; nothing refers to
        // the slot, as it is empty.
        let ssl = unsafe { SslRef::from_ptr_mut(ssl.as_ptr()) };
        ssl.set_ex_data(
            index,
            Arc::new(ConnectionState::for_caller(TlsEngine::OpenSsl)),
        );
    }
    ssl.ex_data(index)
}

/// Prevents resumption: no session is offered to any server again, neither on another connection nor, and that is what OpenSSL would do, when
/// a server renegotiates. One that keeps sessions takes that up and then does not ask for the certificate.
pub(crate) fn forget_sessions(builder: &mut SslContextBuilder) {
    // Nothing is stored, but each new session is shown, in its handshake.
    builder.set_session_cache_mode(
        SslSessionCacheMode::CLIENT | SslSessionCacheMode::NO_INTERNAL_STORE,
    );
    builder.set_new_session_callback(|ssl, session| {
        // SAFETY: the session was made by this connection, which has the one context since it was made.
        unsafe { ssl.ssl_context().remove_session(&session) };
    });
}

/// Removes what a caller's context may hold that would replace the trust and the rules that are set here:
/// a store for verification, which has precedence over the context's, its own verification callback, and shared secrets,
/// by which TLS 1.3 authenticates a server without a certificate.
#[cfg(feature = "openssl")]
pub(crate) fn forget_other_trust(builder: &mut SslContextBuilder) {
    let context = builder.as_ptr();
    // SAFETY: the context is alive. Null is what each of these is at first; a store that was there is freed.
    unsafe {
        openssl_sys::SSL_CTX_ctrl(context, SET_VERIFY_CERT_STORE, 0, null_mut());
        native::SSL_CTX_set_cert_verify_callback(context, None, null_mut());
        openssl_sys::SSL_CTX_set_psk_client_callback(context, None);
        native::SSL_CTX_set_psk_use_session_callback(context, None);
    }
}

/// Checks that a certificate is for a name that its verification expects, by [`NAME_RULES`], where it expects one: a
/// caller's stack may have set laxer rules with the name, as `SslConnector` does. Addresses are never looked for in the
/// common name.
pub(crate) fn check_expected_host(
    store: &X509StoreContextRef,
    certificate: &X509Ref,
) -> Result<(), X509VerifyResult> {
    // SAFETY: store and certificate are alive through the calls. The names belong to the parameters of the store, which
    // does not change meanwhile; they end with a NUL, so that no length is passed. The code is OpenSSL's.
    unsafe {
        let param = native::X509_STORE_CTX_get0_param(store.as_ptr());
        let mut names = (0..)
            .map(|index| native::X509_VERIFY_PARAM_get0_host(param, index))
            .take_while(|name| !name.is_null())
            .peekable();
        let matches = |name| {
            let (certificate, rules) = (certificate.as_ptr(), NAME_RULES.bits());
            openssl_sys::X509_check_host(certificate, name, 0, rules, null_mut()) == 1
        };
        if names.peek().is_none() || names.any(matches) {
            return Ok(());
        }
        Err(X509VerifyResult::from_raw(
            openssl_sys::X509_V_ERR_HOSTNAME_MISMATCH,
        ))
    }
}

/// Whether the peer has said that it sends nothing more (`close_notify`).
pub(crate) fn peer_has_ended(ssl: &SslRef) -> bool {
    // SAFETY: the pointer is that of a live SSL; its state is read, nothing is changed.
    let state = unsafe { openssl_sys::SSL_get_shutdown(ssl.as_ptr()) };
    state & openssl_sys::SSL_RECEIVED_SHUTDOWN != 0
}

/// Lets servers of TLS 1.3 ask for the certificate after the handshake.
pub(crate) fn offer_post_handshake_authentication(builder: &mut SslContextBuilder) {
    // SAFETY: the context is alive.
    unsafe { openssl_sys::SSL_CTX_set_post_handshake_auth(builder.as_ptr(), 1) };
}

/// What the message callback shows: a message of a handshake (RFC 8446, section 5.1); the head of a record, and in TLS 1.3
/// the type that is encrypted in it (`SSL3_RT_HEADER`, `SSL3_RT_INNER_CONTENT_TYPE`).
const HANDSHAKE: c_int = 22;
const RECORD_HEAD: c_int = 256;
const INNER_TYPE: c_int = 257;
/// From openssl/ssl.h.
#[cfg(feature = "openssl")]
const SET_VERIFY_CERT_STORE: c_int = 106;
/// The type of a record of data.
const DATA: u8 = 23;
