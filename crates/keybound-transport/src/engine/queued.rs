//! TLS by a library that reads and writes there and then, on a connection that does not: ciphertext waits in queues between
//! the two. It keeps nothing of Windows, so that it can be tried with another library, too, one that renegotiates where
//! Wine's SChannel does not.
mod stream;
mod wire;

pub(crate) use stream::{QueuedStream, receive, send};
pub(crate) use wire::Wire;

use std::error::Error;
use std::io::{self, Read, Write};

/// What a TLS library does over a [`Wire`], after the first handshake.
pub(crate) trait Tls: Read + Write {
    fn wire(&self) -> &Wire;

    fn wire_mut(&mut self) -> &mut Wire;

    /// What the server showed in its newest handshake, in DER. In the middle of one there may be none.
    fn server_certificate(&self) -> Option<Vec<u8>>;

    /// Says `close_notify`.
    fn close(&mut self) -> io::Result<()>;
}

/// An error of TLS in these words: what is refused here, not by the library.
pub(crate) fn refused(reason: &'static str) -> io::Error {
    io::Error::other(Refusal(reason))
}

/// Whether it was refused here.
pub(crate) fn is_refusal(error: &(dyn Error + 'static)) -> bool {
    error.is::<Refusal>()
}

#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Refusal(&'static str);
