//! The names of actions, and the legs on which they apply.
use super::Leg;

/// The legs of an action.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Legs {
    /// Requests and handshakes.
    Everywhere,
    /// All legs with requests.
    Requests,
    /// All TLS handshakes.
    Handshakes,
    /// The listed legs.
    Only(&'static [Leg]),
    /// The legs that issue access tokens, and the listed ones.
    TokensAnd(&'static [Leg]),
}

impl Legs {
    pub fn contains(self, leg: Leg) -> bool {
        match self {
            Self::Everywhere => true,
            Self::Requests => !leg.is_handshake(),
            Self::Handshakes => leg.is_handshake(),
            Self::Only(legs) => legs.contains(&leg),
            Self::TokensAnd(legs) => TOKENS.contains(&leg) || legs.contains(&leg),
        }
    }
}

/// The names of all actions, the forms of their arguments, and the names of their legs.
pub(crate) fn known_actions()
-> impl Iterator<Item = (&'static str, &'static str, Vec<&'static str>)> {
    KNOWN.iter().map(|(name, argument, legs)| {
        let legs = Leg::ALL.into_iter().filter(|leg| legs.contains(*leg));
        (*name, *argument, legs.map(Leg::as_str).collect())
    })
}

/// The names of all actions, their arguments, and their legs.
pub(super) const KNOWN: &[(&str, &str, Legs)] = {
    use Leg::{ArcChallenge, Attest, Graph, Issue, Keys, Metadata, ServiceFabricTls, Token, Vault};
    use Legs::{Everywhere, Handshakes, Only, Requests, TokensAnd};
    &[
        ("status", ":CODE[,HEADER=VALUE]…[,body=TEXT]", Requests),
        ("delay", ":MILLISECONDS", Everywhere),
        ("hang", "", Everywhere),
        ("close", "", Everywhere),
        ("reset", "", Everywhere),
        ("not-http", "", Requests),
        ("garbage", "", Requests),
        ("html", "", Requests),
        ("redirect", "[:URL]", Requests),
        ("oversized", "[:BYTES]", Requests),
        ("truncated", "", Requests),
        ("missing-field", ":NAME", Requests),
        ("set-field", ":NAME=JSON", Requests),
        ("server-header", ":TEXT", Requests),
        ("no-server-header", "", Requests),
        ("http-endpoint", "", Only(&[Metadata, Issue])),
        ("foreign-endpoint", "[:URL]", Only(&[Metadata, Issue])),
        (
            "certificate",
            ":garbage|other-key|expired|not-yet-valid|other-client|other-tenant|past-token-not-after|unreadable-token-not-after",
            Only(&[Issue]),
        ),
        ("aadsts", ":NUMBER", Only(&[Token])),
        ("invalid-client", "", Only(&[Token])),
        ("token-type", ":WORD", TokensAnd(&[])),
        ("no-cnf", "", Only(&[Token])),
        ("other-cnf", "", Only(&[Token])),
        ("other-client", "", TokensAnd(&[])),
        ("garbage-token", "", TokensAnd(&[Attest])),
        ("expired-token", "", TokensAnd(&[Attest])),
        ("foreign-key", "", TokensAnd(&[Attest, Keys])),
        ("other-tenant-key", "", TokensAnd(&[])),
        ("other-key", "", Only(&[Attest, Keys])),
        (
            "key-file",
            ":missing|oversized|link|other-name|other-directory",
            Only(&[ArcChallenge]),
        ),
        ("never-ask", "", Only(&[Vault, Graph])),
        ("claims-challenge", "[:JSON]", Only(&[Vault, Graph])),
        ("reject-certificate", "[:ALERT]", Handshakes),
        ("revoke-certificate", "[:NUMBER]", Only(&[Token])),
        ("revoke-certificate", "[:ALERT]", Handshakes),
        (
            "server-certificate",
            ":untrusted|expired|other-name",
            Handshakes,
        ),
        ("ca-signed-certificate", "", Only(&[ServiceFabricTls])),
    ]
};

/// The legs that issue access tokens.
const TOKENS: &[Leg] = {
    use Leg::{AppService, Arc, CloudShell, ImdsToken, MachineLearning, ServiceFabric, Token};
    &[
        Token,
        ImdsToken,
        AppService,
        ServiceFabric,
        Arc,
        MachineLearning,
        CloudShell,
    ]
};

/// The TLS alerts that reject a certificate. The first is the default of `reject-certificate`.
pub(super) const ALERTS: &[&str] = &[
    "bad_certificate",
    "certificate_revoked",
    "certificate_expired",
    "certificate_unknown",
    "unknown_ca",
    "unsupported_certificate",
    "handshake_failure",
    "access_denied",
    "certificate_required",
];

/// Alerts that can be sent only in the first handshake of a connection, in which Entra and Graph request the certificate.
pub(super) const FIRST_HANDSHAKE_ALERTS: &[&str] = &["access_denied", "certificate_required"];
