//! Settings of a TLS context that the `openssl` crate has no safe word for.
use super::native;
use crate::session::on_certificate_request;
use foreign_types::ForeignTypeRef as _;
use openssl::error::ErrorStack;
use openssl::ssl::{SslContextBuilder, SslRef};
use std::ffi::{c_int, c_void};
use std::panic::catch_unwind;
use std::ptr::null_mut;

/// Has OpenSSL tell of each request for the client certificate.
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

/// Lets servers of TLS 1.3 ask for the certificate after the handshake.
pub(crate) fn offer_post_handshake_authentication(builder: &mut SslContextBuilder) {
    // SAFETY: the context is alive.
    unsafe { openssl_sys::SSL_CTX_set_post_handshake_auth(builder.as_ptr(), 1) };
}

/// Trusts what the system trusts: the file and the folder that OpenSSL was built with. Its environment variables are
/// not read, as `SSL_CTX_set_default_verify_paths` would.
#[cfg(not(windows))]
pub(crate) fn trust_system(builder: &mut SslContextBuilder) -> Result<(), ErrorStack> {
    use std::ffi::{CStr, c_char};
    use std::path::Path;
    use std::ptr::null;
    let exists = |path: *const c_char| {
        // SAFETY: both functions yield constant strings.
        let path = unsafe { CStr::from_ptr(path) };
        path.to_str().is_ok_and(|path| Path::new(path).exists())
    };
    // SAFETY: no arguments; the context is alive, the strings are constants.
    unsafe {
        let file = native::X509_get_default_cert_file();
        let folder = native::X509_get_default_cert_dir();
        let loaded = (!exists(file)
            || openssl_sys::SSL_CTX_load_verify_locations(builder.as_ptr(), file, null()) == 1)
            && (!exists(folder)
                || openssl_sys::SSL_CTX_load_verify_locations(builder.as_ptr(), null(), folder)
                    == 1);
        if loaded {
            Ok(())
        } else {
            Err(ErrorStack::get())
        }
    }
}

/// Trusts what the system trusts: the Windows store.
#[cfg(windows)]
pub(crate) fn trust_system(builder: &mut SslContextBuilder) -> Result<(), ErrorStack> {
    // SAFETY: the context is alive, the string is a constant.
    let loaded = unsafe {
        native::SSL_CTX_load_verify_store(builder.as_ptr(), c"org.openssl.winstore://".as_ptr())
    };
    if loaded == 1 {
        Ok(())
    } else {
        Err(ErrorStack::get())
    }
}
