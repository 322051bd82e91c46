/// The client, as known from the connection.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    /// The certificate that the client presented, DER. The handshake proved possession of its key; nothing else is checked.
    pub client_certificate: Option<Vec<u8>>,
    /// `TLSv1.2` or `TLSv1.3`; `None` on plain HTTP.
    pub tls_version: Option<&'static str>,
}
