//! A way for fuzzers to the readers of outside bytes. Not part of the interface.

/// Reads a public key as CNG exports it; what is read is SubjectPublicKeyInfo in DER.
pub fn rsa_public_blob(bytes: &[u8]) -> Option<Vec<u8>> {
    crate::rsa_blob::public_key_info(bytes)
}

/// Reads SubjectPublicKeyInfo in DER; what is read is a public key as CNG exports it.
pub fn rsa_public_key(bytes: &[u8]) -> Option<Vec<u8>> {
    crate::rsa_blob::public_blob(bytes)
}
