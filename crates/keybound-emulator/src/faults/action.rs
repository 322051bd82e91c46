use super::status_fault::StatusFault;
use serde_json::Value;

/// The effect of a fault.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Action {
    // Replace the response, on every leg; the service does not see the request.
    /// A status, with headers and a body.
    Status(StatusFault),
    /// No response until the client disconnects.
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
    /// 307 to a URL; by default to a path of IMDS, so that the records show whether the client followed it.
    Redirect(Option<String>),
    /// 200 with a body of this many bytes.
    Oversized(u64),

    // Change the response of the service, on every leg.
    /// The response is delayed by this many milliseconds.
    Delay(u64),
    /// Head and half of the body, then the connection is closed.
    Truncated,
    /// A member of the JSON is removed. Dots separate the names of nested objects.
    MissingField(String),
    /// A member of the JSON has another value.
    SetField(String, Value),
    /// The `Server` header has this value, or is absent.
    ServerHeader(Option<String>),

    // Metadata and issue.
    /// The endpoint in the response has the scheme http.
    HttpEndpoint,
    /// The endpoint in the response is on another host.
    ForeignEndpoint(Option<String>),
    /// The issued certificate is wrong.
    Certificate(CertificateFault),

    // Token and attestation.
    /// Entra responds with this AADSTS code.
    Aadsts(u32),
    /// Entra responds with `invalid_client` without a code.
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
    /// The token is signed with an unknown key, or the key set contains one.
    ForeignKey,
    /// The token is signed with the key of another tenant.
    OtherTenantKey,
    /// The attestation token is for another key than the evidence, or the ids in the key set name another key.
    OtherKey,

    // Sources of bearer tokens.
    /// The key file of the challenge is wrong.
    KeyFile(KeyFileFault),

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
    /// The server that clients know by its thumbprint presents the certificate of the other servers.
    CaSignedCertificate,

    /// The next certificate is revoked: this action rejects it from then on.
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
            Self::RevokeCertificate(rejection) => rejection.alert(),
            _ => None,
        }
    }
}

/// The problem of an issued certificate.
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

/// The problem of the key file in a challenge of Azure Arc.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeyFileFault {
    /// It does not exist.
    Missing,
    /// It is longer than 4096 bytes.
    Oversized,
    /// It is a symbolic link to a key file.
    Link,
    /// Its name does not end with `.key`.
    OtherName,
    /// It is in a directory below the usual one.
    OtherDirectory,
}

/// The problem of a server certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ServerCertificateFault {
    /// Signed by a CA that is not in the CA file.
    Untrusted,
    Expired,
    /// For another name than that of the server.
    OtherName,
}
