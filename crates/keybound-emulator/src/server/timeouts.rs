use std::time::Duration;

/// The time limits for clients.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timeouts {
    /// For a handshake, the first or a later one.
    pub(crate) handshake: Duration,
    /// From the last response, or the handshake, to the end of the head of the next request.
    pub(crate) head: Duration,
    /// To send a body.
    pub(crate) body: Duration,
    /// To read a response.
    pub(crate) response: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            handshake: Duration::from_secs(10),
            head: Duration::from_secs(60),
            body: Duration::from_secs(30),
            response: Duration::from_secs(30),
        }
    }
}
