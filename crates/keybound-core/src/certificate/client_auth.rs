use crate::oid::{CLIENT_AUTH, EXTENDED_KEY_USAGE, KEY_USAGE};
use der::Decode as _;
use x509_cert::ext::Extension;
use x509_cert::ext::pkix::{ExtendedKeyUsage, KeyUsage};

/// Why a certificate with these extensions cannot authenticate a TLS client; `None` if it can. A usage that the
/// certificate does not restrict is allowed (RFC 5280 sections 4.2.1.3 and 4.2.1.12); a malformed one is not.
pub(super) fn client_auth_problem(extensions: &[Extension]) -> Option<&'static str> {
    extensions.iter().find_map(problem)
}

fn problem(extension: &Extension) -> Option<&'static str> {
    let value = extension.extn_value.as_bytes();
    if extension.extn_id == EXTENDED_KEY_USAGE {
        let allowed =
            ExtendedKeyUsage::from_der(value).is_ok_and(|usage| usage.0.contains(&CLIENT_AUTH));
        (!allowed).then_some("its extended key usage lacks clientAuth")
    } else if extension.extn_id == KEY_USAGE {
        let allowed = KeyUsage::from_der(value).is_ok_and(|usage| usage.digital_signature());
        (!allowed).then_some("its key usage lacks digitalSignature")
    } else {
        None
    }
}
