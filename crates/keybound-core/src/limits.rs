/// Maximum length of a body from IMDS, the attestation service and Entra, in bytes. A longer one is an error.
pub const MAX_BODY: usize = 1024 * 1024;
/// Maximum length of a certificate, in bytes of DER.
pub const MAX_CERTIFICATE: usize = 16 * 1024;
/// Maximum length of a JWT, in bytes of its compact form.
pub const MAX_JWT: usize = 256 * 1024;
/// Maximum length of an identifier, a resource or an endpoint, in bytes.
pub const MAX_TEXT: usize = 2048;
