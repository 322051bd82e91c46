use super::status_fault::StatusFault;
use serde_json::Value;

/// The effect of a fault.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Action {
    // These replace the response, on every leg; the service does not see the request.
    /// A status, with headers and a body.
    Status(StatusFault),
    /// No response, for as long as the peer waits.
    Hang,
    /// The connection is closed without a response.
    Close,
    /// The connection is reset without a response.
    Reset,
    /// Bytes that are not HTTP.
    NotHttp,
    /// 200 with content type JSON and a body that is not JSON.
    Garbage,
    /// 200 with a web page.
    Html,
    /// 307 to a URL; without one, to a path of IMDS, so that the records show whether it was followed.
    Redirect(Option<String>),
    /// 200 with a body of this many bytes.
    Oversized(u64),

    // These change the response of the service, on every leg.
    /// The response is delayed by this many milliseconds.
    Delay(u64),
    /// Head and half of the body, then the connection is closed.
    Truncated,
    /// A member of the JSON is removed. Dots separate the names of nested objects.
    MissingField(String),
    /// A member of the JSON has another value.
    SetField(String, Value),
    /// The `Server` header: another text, or none.
    ServerHeader(Option<String>),

    // Metadata and issue.
    /// The endpoint in the response is http.
    HttpEndpoint,
    /// The endpoint in the response is another host's.
    ForeignEndpoint(Option<String>),
    /// The issued certificate is wrong.
    Certificate(CertificateFault),

    // Token and attestation.
    /// Entra responds with this AADSTS number.
    Aadsts(u32),
    /// Entra responds with `invalid_client` without a number.
    InvalidClient,
    /// The value of `token_type`.
    TokenType(String),
    /// The token has no `cnf`.
    NoCnf,
    /// The token is bound to another certificate.
    OtherCnf,
    /// The token names another client.
    OtherClient,
    /// The token is not a JWT.
    GarbageToken,
    /// The token has expired.
    ExpiredToken,
    /// The token is signed by an unknown key, or the key set holds one.
    ForeignKey,
    /// The attestation token is for another key than that of the evidence.
    OtherKey,

    // Resources.
    /// The server never requests the client certificate.
    NeverAsk,
    /// 401 with a claims challenge, with this JSON or the default.
    ClaimsChallenge(Option<String>),

    // Handshakes.
    /// The client certificate is rejected with this TLS alert.
    RejectCertificate(&'static str),
    /// The server presents a wrong certificate.
    ServerCertificate(ServerCertificateFault),

    /// The next certificate is revoked: it is rejected by this action from then on.
    RevokeCertificate(Box<Action>),
}

impl Action {
    pub(super) fn revokes(&self) -> bool {
        matches!(self, Self::RevokeCertificate(_))
    }

    /// The alert that rejects a certificate in the handshake.
    pub(super) fn alert(&self) -> Option<&'static str> {
        match self {
            Self::RejectCertificate(alert) => Some(alert),
            Self::RevokeCertificate(refusing) => refusing.alert(),
            _ => None,
        }
    }
}

/// What is wrong with an issued certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CertificateFault {
    Garbage,
    OtherKey,
    Expired,
    NotYetValid,
    OtherClient,
    OtherTenant,
    /// Valid, but past its `token_not_after`.
    PastTokenNotAfter,
    UnreadableTokenNotAfter,
}

/// What is wrong with a server's certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ServerCertificateFault {
    /// Signed by a CA that is not in the CA file.
    Untrusted,
    Expired,
    /// For a name that is not on loopback.
    OtherName,
}
