/// Longest body accepted from IMDS, the attestation service and Entra, in bytes. A longer one is an error.
pub const MAX_BODY: usize = 1024 * 1024;
/// Longest certificate accepted, in bytes of DER.
pub const MAX_CERTIFICATE: usize = 16 * 1024;
/// Longest JWT accepted, in bytes of its compact form.
pub const MAX_JWT: usize = 256 * 1024;
/// Longest single text member (an identifier, an endpoint) accepted in an answer, in bytes.
pub const MAX_TEXT: usize = 2048;
