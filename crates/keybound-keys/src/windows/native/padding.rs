//! The padding parameters of CNG for a signature scheme.
use crate::SignatureScheme;
use std::ffi::c_void;
use windows::Win32::Security::Cryptography::{
    BCRYPT_PAD_PKCS1, BCRYPT_PAD_PSS, BCRYPT_PKCS1_PADDING_INFO, BCRYPT_PSS_PADDING_INFO,
    BCRYPT_SHA256_ALGORITHM, BCRYPT_SHA384_ALGORITHM, BCRYPT_SHA512_ALGORITHM,
};

/// Calls a function with a pointer to the scheme's padding, which is valid during the call, and the flag of its type:
/// `BCRYPT_PAD_PSS` with a `BCRYPT_PSS_PADDING_INFO`, or `BCRYPT_PAD_PKCS1` with a `BCRYPT_PKCS1_PADDING_INFO`. The
/// flags of `ncrypt.dll` have the same values.
pub(super) fn with_padding<T>(
    scheme: SignatureScheme,
    call: impl FnOnce(*const c_void, u32) -> T,
) -> T {
    let hash = match scheme {
        SignatureScheme::Pkcs1Sha256 | SignatureScheme::PssSha256 => BCRYPT_SHA256_ALGORITHM,
        SignatureScheme::Pkcs1Sha384 | SignatureScheme::PssSha384 => BCRYPT_SHA384_ALGORITHM,
        SignatureScheme::Pkcs1Sha512 | SignatureScheme::PssSha512 => BCRYPT_SHA512_ALGORITHM,
    };
    if scheme.is_pss() {
        let padding = BCRYPT_PSS_PADDING_INFO {
            pszAlgId: hash,
            cbSalt: scheme.digest_len() as u32,
        };
        call((&raw const padding).cast(), BCRYPT_PAD_PSS.0)
    } else {
        let padding = BCRYPT_PKCS1_PADDING_INFO { pszAlgId: hash };
        call((&raw const padding).cast(), BCRYPT_PAD_PKCS1.0)
    }
}
