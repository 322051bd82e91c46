//! Cipher suites and groups that no connection negotiates, whatever the host's configuration or a caller allows. OpenSSL calls the
//! security callback for each suite and group, when they are offered and when the server selects one.
use super::native::{self, SecurityCallback};
use openssl::ssl::{SslContextBuilder, SslOptions};
use openssl_sys::{SSL, SSL_CIPHER, SSL_CTX};
use std::ffi::{c_int, c_void};
use std::slice;
use std::sync::OnceLock;

/// OpenSSL's own callback, which checks the security level.
static DEFAULT: OnceLock<SecurityCallback> = OnceLock::new();

/// Makes a TLS context reject cipher suites that do not authenticate the server with a certificate or do not encrypt, and
/// finite-field Diffie-Hellman, as a server could choose a group that is expensive for the client. Raises the security level to
/// at least [`SECURITY_LEVEL`] and clears the options that weaken TLS.
///
/// Replaces the context's security callback.
pub(crate) fn apply_security_policy(builder: &mut SslContextBuilder) {
    let context = builder.as_ptr();
    // SAFETY: the context is alive. The callback is `check`, which has this type, or OpenSSL's.
    unsafe {
        if let Some(callback) = native::SSL_CTX_get_security_callback(context)
            && callback as *const () != check as *const ()
        {
            // The first context is Keybound's own, with OpenSSL's callback.
            let _ = DEFAULT.set(callback);
        }
        native::SSL_CTX_set_security_callback(context, Some(check));
    }
    if security_level(builder) < SECURITY_LEVEL {
        builder.set_security_level(SECURITY_LEVEL);
    }
    builder.clear_options(SslOptions::from_bits_retain(WEAKENING));
}

fn security_level(builder: &SslContextBuilder) -> u32 {
    // SAFETY: the context is alive and is only read.
    let level = unsafe { openssl_sys::SSL_CTX_get_security_level(builder.as_ptr()) };
    level.try_into().unwrap_or_default()
}

unsafe extern "C" fn check(
    ssl: *const SSL,
    context: *const SSL_CTX,
    operation: c_int,
    bits: c_int,
    nid: c_int,
    other: *mut c_void,
    argument: *mut c_void,
) -> c_int {
    // SAFETY: libssl passes the type that the operation implies: a cipher suite of its table, or the two bytes of a group.
    let is_rejected = unsafe {
        match operation & OTHER_TYPE {
            CIPHER if !other.is_null() => !authenticates_and_encrypts(other.cast()),
            CURVE if !other.is_null() => is_finite_field(slice::from_raw_parts(other.cast(), 2)),
            _ => operation == TMP_DH,
        }
    };
    match DEFAULT.get() {
        // SAFETY: OpenSSL's own callback with its own arguments.
        Some(default) if !is_rejected => unsafe {
            default(ssl, context, operation, bits, nid, other, argument)
        },
        _ => 0,
    }
}

/// # Safety
/// The cipher suite is one of libssl's.
unsafe fn authenticates_and_encrypts(cipher: *const SSL_CIPHER) -> bool {
    // SAFETY: see above; the calls read constants.
    let (exchange, authentication, encryption) = unsafe {
        (
            native::SSL_CIPHER_get_kx_nid(cipher),
            native::SSL_CIPHER_get_auth_nid(cipher),
            openssl_sys::SSL_CIPHER_get_cipher_nid(cipher),
        )
    };
    matches!(exchange, KX_RSA | KX_ECDHE | KX_ANY)
        && matches!(authentication, AUTH_RSA | AUTH_ECDSA | AUTH_ANY)
        && encryption != openssl_sys::NID_undef
}

/// Whether a group is `ffdhe2048` or larger (RFC 7919).
fn is_finite_field(group: &[u8]) -> bool {
    group[0] == 0x01
}

/// 112 bits of security: RSA and certificates of at least 2048 bits, no SHA-1, no RC4. The default of most systems.
const SECURITY_LEVEL: u32 = 2;

/// `SSL_OP_NO_EXTENDED_MASTER_SECRET`, `LEGACY_SERVER_CONNECT`, `IGNORE_UNEXPECTED_EOF`, `ALLOW_NO_DHE_KEX`,
/// `ALLOW_UNSAFE_LEGACY_RENEGOTIATION`, `NO_ENCRYPT_THEN_MAC`: each disables a protection of RFC 7627, 5746, 7366, 8446 or
/// 9112 (section 9.8).
const WEAKENING: u64 = 1 | 1 << 2 | 1 << 7 | 1 << 10 | 1 << 18 | 1 << 19;

// From openssl/ssl.h, `SSL_SECOP_…`.
const OTHER_TYPE: c_int = 0xffff_0000_u32.cast_signed();
const CIPHER: c_int = 1 << 16;
const CURVE: c_int = 2 << 16;
const TMP_DH: c_int = 7 | 4 << 16;

// From openssl/obj_mac.h, `NID_kx_…` and `NID_auth_…`.
const KX_RSA: c_int = 1037;
const KX_ECDHE: c_int = 1038;
const KX_ANY: c_int = 1063;
const AUTH_RSA: c_int = 1046;
const AUTH_ECDSA: c_int = 1047;
const AUTH_ANY: c_int = 1064;

#[cfg(test)]
mod tests {
    use super::*;
    use openssl::ssl::{Ssl, SslMethod, SslVersion};

    /// The suites that a client of this context offers.
    fn offered(list: &str, suites: &str) -> Vec<String> {
        let mut builder = openssl::ssl::SslContext::builder(SslMethod::tls_client()).unwrap();
        builder.set_security_level(0);
        builder
            .set_min_proto_version(Some(SslVersion::TLS1_2))
            .unwrap();
        builder.set_cipher_list(list).unwrap();
        builder.set_ciphersuites(suites).unwrap();
        apply_security_policy(&mut builder);
        // Later changes by the caller have no effect.
        builder.set_cipher_list(list).unwrap();
        builder.set_security_level(0);
        let ssl = Ssl::new(&builder.build()).unwrap();
        unsafe extern "C" {
            fn SSL_get1_supported_ciphers(ssl: *mut SSL) -> *mut openssl_sys::stack_st_SSL_CIPHER;
        }
        // SAFETY: the connection is alive; the stack is freed, its elements belong to libssl.
        unsafe {
            use foreign_types::ForeignType as _;
            let stack = SSL_get1_supported_ciphers(ssl.as_ptr());
            if stack.is_null() {
                return vec![];
            }
            openssl::stack::Stack::<openssl::ssl::SslCipher>::from_ptr(stack)
                .iter()
                .map(|cipher| cipher.name().to_owned())
                .collect()
        }
    }

    #[test]
    fn offers_authenticated_and_encrypted_suites_only() {
        let none: Vec<String> = vec![];
        for list in ["aNULL", "eNULL", "PSK", "SRP", "kDHE", "aDSS", "kRSAPSK"] {
            assert_eq!(offered(&format!("{list}:@SECLEVEL=0"), ""), none, "{list}");
        }
        let all = offered("ALL:COMPLEMENTOFALL:@SECLEVEL=0", "TLS_AES_128_GCM_SHA256");
        assert!(all.iter().any(|name| name == "TLS_AES_128_GCM_SHA256"));
        assert!(all.iter().any(|name| name == "ECDHE-RSA-AES256-GCM-SHA384"));
        let weak = |name: &&String| {
            ["NULL", "PSK", "SRP", "ADH", "AECDH", "DHE-"]
                .iter()
                .any(|part| name.contains(part) && !name.starts_with("ECDHE-"))
        };
        assert_eq!(all.iter().find(weak), None);
    }

    #[test]
    fn clears_weakening_options_and_raises_the_security_level() {
        let mut builder = openssl::ssl::SslContext::builder(SslMethod::tls_client()).unwrap();
        builder.set_options(SslOptions::from_bits_retain(WEAKENING));
        builder.set_security_level(0);
        apply_security_policy(&mut builder);
        assert_eq!(builder.options().bits() & WEAKENING, 0);
        assert_eq!(security_level(&builder), 2);
        builder.set_security_level(3);
        apply_security_policy(&mut builder);
        assert_eq!(security_level(&builder), 3);
    }
}
