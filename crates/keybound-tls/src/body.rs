use crate::TransportError;
use bytes::Bytes;
use std::fmt;

/// The body of a request.
pub struct RequestBody(pub(crate) Vec<Bytes>);

impl RequestBody {
    /// No body.
    pub fn empty() -> Self {
        Self(vec![])
    }

    /// A body that is at hand.
    pub fn full(bytes: impl Into<Bytes>) -> Self {
        Self(vec![bytes.into()])
    }
}

impl fmt::Debug for RequestBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RequestBody(…)")
    }
}

/// The body of an answer, read as it comes.
pub struct ResponseBody(());

impl ResponseBody {
    /// Reads it to its end.
    ///
    /// # Errors
    /// [`TooLarge`](crate::TransportErrorKind::TooLarge) where it is longer than `limit` bytes; whatever ended it early.
    pub async fn collect(self, limit: usize) -> Result<Bytes, TransportError> {
        let _ = limit;
        todo!()
    }
}

impl fmt::Debug for ResponseBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ResponseBody(…)")
    }
}
