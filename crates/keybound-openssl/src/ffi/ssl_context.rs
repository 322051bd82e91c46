//! Functions of TLS contexts and connections that the `openssl` crate does not wrap.
use super::callbacks::{on_certificate_request, on_message, on_record, on_verify_pinned};
use super::library_context::LibraryContext;
use super::native;
use crate::ConnectionState;
use crate::TlsEngine;
use foreign_types::ForeignTypeRef as _;
use openssl::ssl::{SslContextBuilder, SslRef, SslSessionCacheMode, SslVersion};
use openssl::x509::{X509Ref, X509StoreContextRef};
use std::ffi::{c_int, c_void};
use std::panic::catch_unwind;
use std::ptr::null_mut;
use std::slice;
use std::sync::Arc;

/// Sets the callback for each request for the client certificate.
pub(crate) fn set_certificate_callback(builder: &mut SslContextBuilder) {
    unsafe extern "C" fn callback(ssl: *mut openssl_sys::SSL, _: *mut c_void) -> c_int {
        catch_unwind(|| {
            // SAFETY: libssl passes the current connection.
            on_certificate_request(unsafe { SslRef::from_ptr(ssl) })
        })
        .unwrap_or(0)
    }
    // SAFETY: the context is alive; the callback uses no argument.
    unsafe { native::SSL_CTX_set_cert_cb(builder.as_ptr(), Some(callback), null_mut()) };
}

/// Sets the callback for each handshake message and each data record from the server. A rejected message ends the connection:
/// nothing more is read from it or written to it.
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
            // SAFETY: libssl passes the current connection, and this number of bytes.
            let (connection, bytes) = unsafe {
                let bytes = slice::from_raw_parts(bytes.cast::<u8>(), length);
                (SslRef::from_ptr(ssl), bytes)
            };
            match kind {
                HANDSHAKE if !on_message(connection, bytes[0]) => {
                    let ended = openssl_sys::SSL_SENT_SHUTDOWN | openssl_sys::SSL_RECEIVED_SHUTDOWN;
                    // SAFETY: the connection is alive. Its owner may mark it as ended at any time, also within a callback.
                    unsafe { openssl_sys::SSL_set_shutdown(ssl, ended) };
                }
                RECORD_HEADER => {
                    // In TLS 1.3 all encrypted records have the same type.
                    let has_type = connection.version2() == Some(SslVersion::TLS1_2);
                    on_record(connection, bytes, has_type && bytes[0] == DATA);
                }
                INNER_TYPE => on_record(connection, &[], bytes[0] == DATA),
                _ => {}
            }
        });
    }
    // SAFETY: the context is alive; the callback uses no argument.
    unsafe { native::SSL_CTX_set_msg_callback(builder.as_ptr(), Some(callback)) };
}

/// Replaces the verification of the server's certificates: no chain is built, and the only certificate that is accepted is the
/// pinned one of the [`ConnectionState`]. libssl still verifies that the server has its key.
pub(crate) fn set_pinned_verification(builder: &mut SslContextBuilder) {
    unsafe extern "C" fn callback(
        store: *mut openssl_sys::X509_STORE_CTX,
        _: *mut c_void,
    ) -> c_int {
        catch_unwind(|| {
            // SAFETY: libssl passes the store context of the current handshake, which has the server's own certificate and
            // lives during the call. Nothing else uses it meanwhile.
            unsafe {
                let leaf = native::X509_STORE_CTX_get0_cert(store);
                let leaf = (!leaf.is_null()).then(|| X509Ref::from_ptr(leaf));
                on_verify_pinned(leaf, X509StoreContextRef::from_ptr_mut(store))
            }
        })
        .unwrap_or(false)
        .into()
    }
    // SAFETY: the context is alive; the callback uses no argument.
    unsafe {
        native::SSL_CTX_set_cert_verify_callback(builder.as_ptr(), Some(callback), null_mut());
    }
}

/// The state of a connection for which OpenSSL calls back. It is created here for connections of a caller's TLS library.
pub(crate) fn state_of(ssl: &SslRef) -> Option<&Arc<ConnectionState>> {
    let index = LibraryContext::get().ok()?.state();
    if let Some(state) = ssl.ex_data(index) {
        return Some(state);
    }
    let state = Arc::new(ConnectionState::for_caller(TlsEngine::OpenSsl));
    // SAFETY: libssl calls back on the one thread that uses the connection, which is alive; nothing refers to the slot, as it is
    // empty.
    unsafe { SslRef::from_ptr_mut(ssl.as_ptr()) }.set_ex_data(index, state);
    ssl.ex_data(index)
}

/// Disables session resumption, on other connections and in renegotiations, where OpenSSL would offer the session: a server that
/// resumes it does not request the certificate.
pub(crate) fn disable_resumption(builder: &mut SslContextBuilder) {
    // Sessions are not stored; the callback receives each in its handshake.
    builder.set_session_cache_mode(
        SslSessionCacheMode::CLIENT | SslSessionCacheMode::NO_INTERNAL_STORE,
    );
    builder.set_new_session_callback(|ssl, session| {
        // SAFETY: this connection created the session, in the context that it has had from the start.
        unsafe { ssl.ssl_context().remove_session(&session) };
    });
}

/// Removes settings of a caller's context that would replace the trust and the checks set here: a verification store, which has
/// precedence over the context's store, a certificate verification callback, and pre-shared keys, with which TLS 1.3
/// authenticates a server without a certificate.
#[cfg(feature = "openssl")]
pub(crate) fn remove_other_trust(builder: &mut SslContextBuilder) {
    let context = builder.as_ptr();
    // SAFETY: the context is alive. Null is the default of each; an earlier store is freed.
    unsafe {
        openssl_sys::SSL_CTX_ctrl(context, SET_VERIFY_CERT_STORE, 0, null_mut());
        native::SSL_CTX_set_cert_verify_callback(context, None, null_mut());
        openssl_sys::SSL_CTX_set_psk_client_callback(context, None);
        native::SSL_CTX_set_psk_use_session_callback(context, None);
    }
}

/// Whether the peer has sent `close_notify`.
pub(crate) fn has_received_close_notify(ssl: &SslRef) -> bool {
    // SAFETY: the connection is alive and is only read.
    let state = unsafe { openssl_sys::SSL_get_shutdown(ssl.as_ptr()) };
    state & openssl_sys::SSL_RECEIVED_SHUTDOWN != 0
}

/// Lets servers of TLS 1.3 request the certificate after the handshake.
pub fn offer_post_handshake_auth(builder: &mut SslContextBuilder) {
    // SAFETY: the context is alive.
    unsafe { openssl_sys::SSL_CTX_set_post_handshake_auth(builder.as_ptr(), 1) };
}

/// Content types of the message callback: a handshake message (RFC 8446, section 5.1), the header of a record, and in TLS 1.3 its
/// encrypted type (`SSL3_RT_HEADER`, `SSL3_RT_INNER_CONTENT_TYPE`).
const HANDSHAKE: c_int = 22;
const RECORD_HEADER: c_int = 256;
const INNER_TYPE: c_int = 257;
/// `SSL_CTRL_SET_VERIFY_CERT_STORE` of openssl/ssl.h.
#[cfg(feature = "openssl")]
const SET_VERIFY_CERT_STORE: c_int = 106;
/// The type of a data record.
const DATA: u8 = 23;
