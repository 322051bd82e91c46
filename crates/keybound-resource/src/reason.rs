use std::fmt;

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reason {
    /// There is no `Authorization` header.
    TokenMissing,
    /// There is more than one `Authorization` header.
    AuthorizationRepeated,
    /// The `Authorization` header is not one scheme, one space and one token.
    AuthorizationMalformed,
    /// The scheme is not accepted.
    SchemeUnsupported,
    /// The token is longer than [`MAX_TOKEN`](crate::MAX_TOKEN).
    TokenTooLong,
    /// The token is not a JWT in compact form whose header and claims are JSON objects without duplicate members.
    TokenMalformed,
    /// The token is not signed with RS256.
    AlgorithmUnsupported,
    /// The token's header has a type or an extension that is not supported.
    HeaderUnsupported,
    /// The client presented no certificate.
    CertificateMissing,
    /// The client's certificate is malformed.
    CertificateMalformed,
    /// A proxy's header with the client's certificate occurs twice.
    CertificateRepeated,
    /// The client's certificate has expired.
    CertificateExpired,
    /// The client's certificate is not valid yet.
    CertificateNotYetValid,
    /// The key of the client's certificate is too weak.
    CertificateKeyWeak,
    /// The names in the certificate are not those of the token's client and tenant.
    CertificateNames,
    /// The certificate's issuer is not trusted.
    CertificateUntrusted,
    /// The token is not bound to a certificate.
    NotBound,
    /// The token is bound to another certificate.
    BindingMismatch,
    /// The token's issuer is not accepted.
    IssuerMismatch,
    /// The token's tenant is not accepted.
    TenantMismatch,
    /// The issuer has no key with the token's key id.
    KeyUnknown,
    /// The key belongs to another issuer.
    KeyIssuerMismatch,
    /// There are no keys of the issuer, or they are too old.
    KeysUnavailable,
    /// The signature is invalid.
    SignatureInvalid,
    /// The token is for another resource.
    AudienceMismatch,
    /// A claim that identifies the caller, or a date, is missing, malformed or contradicts another one.
    ClaimsMalformed,
    /// The token has expired.
    TokenExpired,
    /// The token is not valid yet.
    TokenNotYetValid,
    /// The token was issued too long ago.
    TokenTooOld,
    /// The token's client is not allowed.
    ClientNotAllowed,
    /// The token was issued to a user, and applications only are allowed.
    NotAppOnly,
    /// The token lacks a role.
    RoleMissing,
    /// The token of a user lacks a scope.
    ScopeMissing,
    /// The client needs a token with newer claims.
    InsufficientClaims,
    /// Access was revoked, and the client does not support claims challenges.
    AccessRevoked,
}

impl Reason {
    /// All reasons.
    pub const ALL: &'static [Self] = &[
        Self::TokenMissing,
        Self::AuthorizationRepeated,
        Self::AuthorizationMalformed,
        Self::SchemeUnsupported,
        Self::TokenTooLong,
        Self::TokenMalformed,
        Self::AlgorithmUnsupported,
        Self::HeaderUnsupported,
        Self::CertificateMissing,
        Self::CertificateMalformed,
        Self::CertificateRepeated,
        Self::CertificateExpired,
        Self::CertificateNotYetValid,
        Self::CertificateKeyWeak,
        Self::CertificateNames,
        Self::CertificateUntrusted,
        Self::NotBound,
        Self::BindingMismatch,
        Self::IssuerMismatch,
        Self::TenantMismatch,
        Self::KeyUnknown,
        Self::KeyIssuerMismatch,
        Self::KeysUnavailable,
        Self::SignatureInvalid,
        Self::AudienceMismatch,
        Self::ClaimsMalformed,
        Self::TokenExpired,
        Self::TokenNotYetValid,
        Self::TokenTooOld,
        Self::ClientNotAllowed,
        Self::NotAppOnly,
        Self::RoleMissing,
        Self::ScopeMissing,
        Self::InsufficientClaims,
        Self::AccessRevoked,
    ];

    /// The code, for logs and metrics, such as `binding_mismatch`.
    pub fn code(self) -> &'static str {
        self.row().0
    }

    /// The HTTP status of the response (RFC 6750 section 3.1, RFC 8705 section 3).
    pub fn status(self) -> u16 {
        self.row().1
    }

    /// The text of the challenge. It contains no part of the request.
    pub fn description(self) -> &'static str {
        self.row().2
    }

    /// The `error` of the challenge (RFC 6750 section 3.1). `None` for a request without usable credentials, and without keys.
    pub fn error(self) -> Option<&'static str> {
        match self {
            Self::TokenMissing | Self::SchemeUnsupported | Self::KeysUnavailable => None,
            Self::InsufficientClaims => Some("insufficient_claims"),
            _ => Some(match self.status() {
                400 => "invalid_request",
                403 => "insufficient_scope",
                _ => "invalid_token",
            }),
        }
    }

    /// Code, status and description.
    #[rustfmt::skip]
    fn row(self) -> (&'static str, u16, &'static str) {
        match self {
            Self::TokenMissing => ("token_missing", 401, "an access token is required"),
            Self::AuthorizationRepeated => ("authorization_repeated", 400, "the request has several Authorization headers"),
            Self::AuthorizationMalformed => ("authorization_malformed", 400, "the Authorization header is malformed"),
            Self::SchemeUnsupported => ("scheme_unsupported", 401, "the authentication scheme is not supported"),
            Self::TokenTooLong => ("token_too_long", 401, "the token is too long"),
            Self::TokenMalformed => ("token_malformed", 401, "the token is malformed"),
            Self::AlgorithmUnsupported => ("algorithm_unsupported", 401, "the token is not signed with RS256"),
            Self::HeaderUnsupported => ("header_unsupported", 401, "the token's header is not supported"),
            Self::CertificateMissing => ("certificate_missing", 401, "the client presented no certificate"),
            Self::CertificateMalformed => ("certificate_malformed", 401, "the client certificate is malformed"),
            Self::CertificateRepeated => ("certificate_repeated", 400, "the request has several client certificates"),
            Self::CertificateExpired => ("certificate_expired", 401, "the client certificate has expired"),
            Self::CertificateNotYetValid => ("certificate_not_yet_valid", 401, "the client certificate is not valid yet"),
            Self::CertificateKeyWeak => ("certificate_key_weak", 401, "the key of the client certificate is too weak"),
            Self::CertificateNames => ("certificate_names", 401, "the client certificate names another identity than the token"),
            Self::CertificateUntrusted => ("certificate_untrusted", 401, "the issuer of the client certificate is not trusted"),
            Self::NotBound => ("not_bound", 401, "the token is not bound to a certificate"),
            Self::BindingMismatch => ("binding_mismatch", 401, "the token is bound to another certificate"),
            Self::IssuerMismatch => ("issuer_mismatch", 401, "the token's issuer is not accepted"),
            Self::TenantMismatch => ("tenant_mismatch", 401, "the token's tenant is not accepted"),
            Self::KeyUnknown => ("key_unknown", 401, "the token's key is unknown"),
            Self::KeyIssuerMismatch => ("key_issuer_mismatch", 401, "the token's key belongs to another issuer"),
            Self::KeysUnavailable => ("keys_unavailable", 503, "the issuer's keys are not available"),
            Self::SignatureInvalid => ("signature_invalid", 401, "the token's signature is invalid"),
            Self::AudienceMismatch => ("audience_mismatch", 401, "the token is for another resource"),
            Self::ClaimsMalformed => ("claims_malformed", 401, "a claim of the token is missing or malformed"),
            Self::TokenExpired => ("token_expired", 401, "the token has expired"),
            Self::TokenNotYetValid => ("token_not_yet_valid", 401, "the token is not valid yet"),
            Self::TokenTooOld => ("token_too_old", 401, "the token was issued too long ago"),
            Self::ClientNotAllowed => ("client_not_allowed", 403, "the client is not allowed"),
            Self::NotAppOnly => ("not_app_only", 403, "only applications are allowed"),
            Self::RoleMissing => ("role_missing", 403, "the token lacks a required role"),
            Self::ScopeMissing => ("scope_missing", 403, "the token lacks a required scope"),
            Self::InsufficientClaims => ("insufficient_claims", 401, "the token lacks required claims"),
            Self::AccessRevoked => ("access_revoked", 401, "access was revoked"),
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.description())
    }
}
