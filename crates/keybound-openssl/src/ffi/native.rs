//! Functions of libcrypto and libssl 3 that `openssl-sys` does not declare.
use keybound_provider::Dispatch;
use openssl_sys::{
    CONF, OPENSSL_STACK, OSSL_LIB_CTX, OSSL_PROVIDER, SSL, SSL_CIPHER, SSL_CTX, SSL_METHOD, X509,
    X509_STORE, X509_STORE_CTX, X509_VERIFY_PARAM,
};
use std::ffi::{c_char, c_int, c_long, c_ulong, c_void};

/// `OSSL_provider_init_fn`.
pub type ProviderInit = unsafe extern "C" fn(
    *const c_void,
    *const Dispatch,
    *mut *const Dispatch,
    *mut *mut c_void,
) -> c_int;

/// `CONF_VALUE`: one line of a configuration file.
#[repr(C)]
pub struct ConfValue {
    pub section: *const c_char,
    pub name: *const c_char,
    pub value: *const c_char,
}

/// The callback of `SSL_CTX_set_security_callback`.
pub type SecurityCallback = unsafe extern "C" fn(
    *const SSL,
    *const SSL_CTX,
    c_int,
    c_int,
    c_int,
    *mut c_void,
    *mut c_void,
) -> c_int;

/// The callback of `SSL_CTX_set_msg_callback`.
pub type MessageCallback =
    unsafe extern "C" fn(c_int, c_int, c_int, *const c_void, usize, *mut SSL, *mut c_void);

/// The callback of `SSL_CTX_set_cert_verify_callback`.
pub type VerifyCallback = unsafe extern "C" fn(*mut X509_STORE_CTX, *mut c_void) -> c_int;

unsafe extern "C" {
    pub fn OSSL_PROVIDER_add_builtin(
        context: *mut OSSL_LIB_CTX,
        name: *const c_char,
        init: ProviderInit,
    ) -> c_int;
    pub fn OSSL_PROVIDER_do_all(
        context: *mut OSSL_LIB_CTX,
        visit: unsafe extern "C" fn(*mut OSSL_PROVIDER, *mut c_void) -> c_int,
        argument: *mut c_void,
    ) -> c_int;
    pub fn NCONF_new_ex(context: *mut OSSL_LIB_CTX, method: *mut c_void) -> *mut CONF;
    pub fn NCONF_load(conf: *mut CONF, file: *const c_char, error_line: *mut c_long) -> c_int;
    pub fn NCONF_get_string(
        conf: *const CONF,
        section: *const c_char,
        name: *const c_char,
    ) -> *mut c_char;
    pub fn NCONF_get_section(conf: *const CONF, section: *const c_char) -> *mut OPENSSL_STACK;
    pub fn CONF_modules_load(conf: *const CONF, program: *const c_char, flags: c_ulong) -> c_int;
    pub fn X509_get_default_cert_area() -> *const c_char;
    pub fn EVP_default_properties_is_fips_enabled(context: *mut OSSL_LIB_CTX) -> c_int;
    pub fn OPENSSL_sk_delete(stack: *mut OPENSSL_STACK, index: c_int) -> *mut c_void;
    pub fn d2i_X509_AUX(
        certificate: *mut *mut X509,
        input: *mut *const u8,
        length: c_long,
    ) -> *mut X509;
    pub fn X509_new_ex(context: *mut OSSL_LIB_CTX, properties: *const c_char) -> *mut X509;
    pub fn SSL_CTX_new_ex(
        context: *mut OSSL_LIB_CTX,
        properties: *const c_char,
        method: *const SSL_METHOD,
    ) -> *mut SSL_CTX;
    pub fn SSL_CTX_set_cert_cb(
        context: *mut SSL_CTX,
        callback: Option<unsafe extern "C" fn(*mut SSL, *mut c_void) -> c_int>,
        argument: *mut c_void,
    );
    pub fn SSL_CTX_set_msg_callback(context: *mut SSL_CTX, callback: Option<MessageCallback>);
    #[cfg(feature = "openssl")]
    pub fn SSL_CTX_set_psk_use_session_callback(
        context: *mut SSL_CTX,
        callback: Option<unsafe extern "C" fn()>,
    );
    pub fn SSL_CTX_set_cert_verify_callback(
        context: *mut SSL_CTX,
        callback: Option<VerifyCallback>,
        argument: *mut c_void,
    );
    pub fn X509_STORE_CTX_get0_cert(context: *mut X509_STORE_CTX) -> *mut X509;
    pub fn SSL_CTX_get_security_callback(context: *const SSL_CTX) -> Option<SecurityCallback>;
    pub fn SSL_CTX_set_security_callback(context: *mut SSL_CTX, callback: Option<SecurityCallback>);
    pub fn SSL_CIPHER_get_kx_nid(cipher: *const SSL_CIPHER) -> c_int;
    pub fn SSL_CIPHER_get_auth_nid(cipher: *const SSL_CIPHER) -> c_int;
    pub fn X509_VERIFY_PARAM_get0_host(
        param: *mut X509_VERIFY_PARAM,
        index: c_int,
    ) -> *const c_char;
    pub fn SSL_CTX_set1_cert_store(context: *mut SSL_CTX, store: *mut X509_STORE);
    #[cfg(feature = "rustls")]
    pub fn X509_STORE_CTX_new_ex(
        context: *mut OSSL_LIB_CTX,
        properties: *const c_char,
    ) -> *mut X509_STORE_CTX;
    #[cfg(feature = "rustls")]
    pub fn X509_STORE_CTX_set_default(context: *mut X509_STORE_CTX, name: *const c_char) -> c_int;
    pub fn X509_STORE_CTX_get0_param(context: *mut X509_STORE_CTX) -> *mut X509_VERIFY_PARAM;
    #[cfg(not(windows))]
    pub fn X509_get_default_cert_file() -> *const c_char;
    #[cfg(not(windows))]
    pub fn X509_get_default_cert_dir() -> *const c_char;
    #[cfg(not(windows))]
    pub fn X509_STORE_load_locations_ex(
        store: *mut X509_STORE,
        file: *const c_char,
        folder: *const c_char,
        context: *mut OSSL_LIB_CTX,
        properties: *const c_char,
    ) -> c_int;
    #[cfg(windows)]
    pub fn X509_STORE_load_store_ex(
        store: *mut X509_STORE,
        uri: *const c_char,
        context: *mut OSSL_LIB_CTX,
        properties: *const c_char,
    ) -> c_int;
}
