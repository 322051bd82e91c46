//! Parsers of untrusted bytes, for fuzzers. Not part of the public interface.

/// Converts a public key in the format of CNG to SubjectPublicKeyInfo in DER.
pub fn rsa_public_blob(bytes: &[u8]) -> Option<Vec<u8>> {
    crate::rsa_blob::public_key_info(bytes)
}

/// Converts SubjectPublicKeyInfo in DER to the format of CNG.
pub fn rsa_public_key(bytes: &[u8]) -> Option<Vec<u8>> {
    crate::rsa_blob::public_blob(bytes)
}
