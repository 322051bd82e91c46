//! TLS by a library with synchronous I/O, over an asynchronous connection: buffers between the two hold the ciphertext. It does
//! not depend on Windows, so that tests can run it with OpenSSL, which renegotiates where Wine's SChannel does not.
mod ciphertext_buffers;
mod tls_stream;

pub(crate) use ciphertext_buffers::CiphertextBuffers;
pub(crate) use tls_stream::{BufferedTlsStream, receive, send};

use std::error::Error;
use std::io::{self, Read, Write};

/// A TLS library over [`CiphertextBuffers`], after the first handshake.
pub(crate) trait SyncTls: Read + Write {
    fn buffers(&self) -> &CiphertextBuffers;

    fn buffers_mut(&mut self) -> &mut CiphertextBuffers;

    /// The server's certificate from the latest handshake, in DER. During a handshake there may be none.
    fn server_certificate(&self) -> Option<Vec<u8>>;

    /// Sends `close_notify`.
    fn close(&mut self) -> io::Result<()>;
}

/// A TLS error that this crate raises, not the library.
pub(crate) fn rejected(reason: &'static str) -> io::Error {
    io::Error::other(Rejection(reason))
}

/// Whether the error is one of [`rejected`].
pub(crate) fn is_rejection(error: &(dyn Error + 'static)) -> bool {
    error.is::<Rejection>()
}

#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Rejection(&'static str);
