//! The rules by which a server's certificate is verified for a host.
use super::native;
use crate::Host;
use foreign_types::ForeignTypeRef as _;
use openssl::error::ErrorStack;
use openssl::x509::verify::{X509CheckFlags, X509VerifyFlags, X509VerifyParamRef};
use openssl::x509::{X509Ref, X509StoreContextRef, X509VerifyResult};
use std::ptr::null_mut;

/// Checks a certificate against the expected names, if any, with [`HOST_FLAGS`]: a caller's TLS library may have set laxer flags
/// with the name, as `SslConnector` does. OpenSSL never compares addresses with the common name.
pub(crate) fn check_expected_host(
    store: &X509StoreContextRef,
    certificate: &X509Ref,
) -> Result<(), X509VerifyResult> {
    // SAFETY: store and certificate are alive during the calls. The names belong to the parameters of the store, which do not
    // change meanwhile; they end with a NUL, so that no length is passed. The error code is OpenSSL's.
    unsafe {
        let param = native::X509_STORE_CTX_get0_param(store.as_ptr());
        let mut names = (0..)
            .map(|index| native::X509_VERIFY_PARAM_get0_host(param, index))
            .take_while(|name| !name.is_null())
            .peekable();
        let matches = |name| {
            let (certificate, flags) = (certificate.as_ptr(), HOST_FLAGS.bits());
            openssl_sys::X509_check_host(certificate, name, 0, flags, null_mut()) == 1
        };
        if names.peek().is_none() || names.any(matches) {
            return Ok(());
        }
        Err(X509VerifyResult::from_raw(
            openssl_sys::X509_V_ERR_HOSTNAME_MISMATCH,
        ))
    }
}

/// Makes the verification of a server's certificate require this host among its subject alternative names.
pub(crate) fn set_expected_host(
    param: &mut X509VerifyParamRef,
    host: &Host,
) -> Result<(), ErrorStack> {
    param.set_hostflags(HOST_FLAGS);
    match host {
        Host::Ip(ip) => param.set_ip(*ip),
        Host::Name(name) => param.set_host(name),
    }
}

/// Names are compared with the subject alternative name, never the common name (RFC 9525, section 6.3): name constraints do not
/// cover every common name. A wildcard is a whole label.
const HOST_FLAGS: X509CheckFlags =
    X509CheckFlags::NO_PARTIAL_WILDCARDS.union(X509CheckFlags::NEVER_CHECK_SUBJECT);

/// Every trusted certificate is an anchor, not only a self-signed one (RFC 5280, section 6.1.1): a caller may trust an intermediate
/// authority or the server's own certificate without its issuers.
pub(crate) const CHAIN_FLAGS: X509VerifyFlags = X509VerifyFlags::PARTIAL_CHAIN;
