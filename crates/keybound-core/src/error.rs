use crate::ServiceError;
use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

/// The cause behind an error.
pub type BoxError = Box<dyn std::error::Error + Send + Sync + 'static>;
/// A result with Keybound's error.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, at which step, and what can be done about it.
///
/// `Display` says what failed, without the cause: that is [`source()`](std::error::Error::source). No secret is ever
/// part of either.
///
/// Cloning is cheap: callers that shared one attempt share its failure.
#[derive(Clone)]
pub struct Error(Arc<Inner>);

#[derive(Clone)]
struct Inner {
    kind: ErrorKind,
    stage: Stage,
    message: Cow<'static, str>,
    status: Option<u16>,
    service: Option<ServiceError>,
    retryable: bool,
    deadline_reached: bool,
    next_step: Option<&'static str>,
    source: Option<Arc<dyn std::error::Error + Send + Sync + 'static>>,
}

impl Error {
    /// An error of a kind at a stage. The message is lower-case, without a full stop.
    pub fn new(kind: ErrorKind, stage: Stage, message: impl Into<Cow<'static, str>>) -> Self {
        Self(Arc::new(Inner {
            kind,
            stage,
            message: message.into(),
            status: None,
            service: None,
            retryable: kind.is_transient(),
            deadline_reached: false,
            next_step: None,
            source: None,
        }))
    }

    /// The caller asked for something that cannot be meant.
    pub fn invalid_request(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::InvalidRequest, Stage::Request, message)
    }

    /// The service's answer is not what the protocol says.
    pub fn invalid_response(stage: Stage, message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::InvalidResponse, stage, message)
    }

    /// Adds the HTTP status that the service answered.
    #[must_use]
    pub fn with_status(mut self, status: u16) -> Self {
        self.inner().status = Some(status);
        self
    }

    /// Adds the service's own words.
    #[must_use]
    pub fn with_service(mut self, service: Option<ServiceError>) -> Self {
        self.inner().service = service;
        self
    }

    /// Overrides whether asking again later can help.
    #[must_use]
    pub fn with_retryable(mut self, retryable: bool) -> Self {
        self.inner().retryable = retryable;
        self
    }

    /// Marks that the caller's deadline cut the attempts short.
    #[must_use]
    pub fn with_deadline_reached(mut self) -> Self {
        self.inner().deadline_reached = true;
        self
    }

    /// Says more closely what to do next than the kind does: lower-case, without a full stop.
    #[must_use]
    pub fn with_next_step(mut self, next_step: &'static str) -> Self {
        self.inner().next_step = Some(next_step);
        self
    }

    /// Adds the cause.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<BoxError>) -> Self {
        self.inner().source = Some(source.into().into());
        self
    }

    fn inner(&mut self) -> &mut Inner {
        Arc::make_mut(&mut self.0)
    }

    /// What kind of failure it is: one kind for each thing that a caller can do differently.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The step that failed.
    pub fn stage(&self) -> Stage {
        self.0.stage
    }

    /// The HTTP status, where a service answered one.
    pub fn status(&self) -> Option<u16> {
        self.0.status
    }

    /// The service's own words, where it gave any.
    pub fn service(&self) -> Option<&ServiceError> {
        self.0.service.as_ref()
    }

    /// Whether asking again later, unchanged, can help. It does not say that nothing has been done: a request to a resource
    /// whose answer did not come (kinds `InvalidResponse` and `DeadlineReached` at stage resource) may have been acted on, so
    /// repeat a POST or PATCH only where twice does no harm.
    pub fn is_retryable(&self) -> bool {
        self.0.retryable
    }

    /// Whether the caller's deadline cut the attempts short; the rest of the error is then the last answer.
    pub fn deadline_reached(&self) -> bool {
        self.0.deadline_reached || self.0.kind == ErrorKind::DeadlineReached
    }

    /// What to do next, in one sentence.
    pub fn next_step(&self) -> &'static str {
        let has_no_words = self.0.kind == ErrorKind::Refused && self.0.service.is_none();
        self.0.next_step.unwrap_or(if has_no_words {
            "the service gave no reason in a form that can be read: check the request, the permissions of the identity, and \
             what answers at this address"
        } else {
            self.0.kind.next_step()
        })
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)?;
        if let Some(status) = self.0.status {
            write!(f, " (HTTP {status})")?;
        }
        if let Some(service) = &self.0.service {
            if let Some(error) = &service.error {
                write!(f, ": {error}")?;
            }
            if let Some(description) = &service.description {
                write!(f, ": {description}")?;
            }
        }
        if self.0.deadline_reached {
            f.write_str(" (deadline reached before the retries ended)")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("kind", &self.0.kind)
            .field("stage", &self.0.stage)
            .field("message", &self.0.message)
            .field("status", &self.0.status)
            .field("service", &self.0.service)
            .field("retryable", &self.0.retryable)
            .field("deadline_reached", &self.0.deadline_reached)
            .field("source", &self.0.source)
            .finish()
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_ref().map(|source| &**source as _)
    }
}

/// The step of the flow at which an error arose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Stage {
    /// Before anything was done: the request itself.
    Request,
    /// IMDS `getplatformmetadata`.
    Metadata,
    /// The binding key.
    Key,
    /// The attestation of the key.
    Attestation,
    /// IMDS `issuecredential` and the certificate it answers.
    Credential,
    /// Entra's token endpoint and the token it answers.
    Token,
    /// The call of the resource.
    Resource,
}

impl Stage {
    /// The word used in results: `metadata`, `key`, …
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Metadata => "metadata",
            Self::Key => "key",
            Self::Attestation => "attestation",
            Self::Credential => "credential",
            Self::Token => "token",
            Self::Resource => "resource",
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $transient:literal, $next:literal;)*) => {
        /// One kind for each thing that a caller can do differently. [`code`](Self::code) is its stable name.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum ErrorKind { $($(#[$doc])* $name,)* }

        impl ErrorKind {
            /// Every kind, for documentation and tests.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The stable name in results and documentation.
            pub fn code(self) -> &'static str {
                match self { $(Self::$name => $code,)* }
            }

            /// Whether asking again later, unchanged, usually helps.
            pub fn is_transient(self) -> bool {
                match self { $(Self::$name => $transient,)* }
            }

            /// What to do next, in one sentence.
            pub fn next_step(self) -> &'static str {
                match self { $(Self::$name => $next,)* }
            }
        }
    };
}

kinds! {
    /// The caller asked for something that cannot be meant (a malformed id, resource, header).
    InvalidRequest = "invalid_request", false, "correct the request; nothing was sent";
    /// The host's IMDS does not speak v2.
    ImdsV2Unavailable = "imds_v2_unavailable", false, "this host has IMDS v1 only: use a Trusted Launch VM with Secure Boot and vTPM in a region where managed identity v2 is on; there is no fallback to an unbound token";
    /// Managed identity v2 is switched off for this process by `MSAL_MI_DISABLE_IMDS_V2`.
    ImdsV2Disabled = "imds_v2_disabled", false, "unset MSAL_MI_DISABLE_IMDS_V2 and restart the program; while it is true or 1, no request of managed identity v2 is sent, and there is no fallback to an unbound token";
    /// Whatever answered at the address of IMDS is not IMDS.
    NotImds = "not_imds", false, "check that nothing intercepts the IMDS address, and the configured address (AZURE_POD_IDENTITY_AUTHORITY_HOST)";
    /// No connection to the service.
    Unreachable = "unreachable", true, "check that the address is right and that routes, firewall and proxy let the connection through";
    /// The service, or the way to it, failed for now.
    ServiceUnavailable = "service_unavailable", true, "try again later; the service is failing or throttling";
    /// The service understood and said no.
    Refused = "refused", false, "read the service's own words and correct what they name";
    /// The service's answer breaks the protocol.
    InvalidResponse = "invalid_response", false, "check what answers at this address; a proxy or another service may stand in between";
    /// The answer is larger than any right one.
    ResponseTooLarge = "response_too_large", false, "check what answers at this address; the answer was not read to its end";
    /// The service answered with a redirect, which is never followed.
    RedirectRefused = "redirect_refused", false, "set the final address; redirects are never followed with credentials";
    /// The deadline passed.
    DeadlineReached = "deadline_reached", true, "set a longer timeout, or find out why this step does not end";
    /// No provider offers a key here.
    KeyUnavailable = "key_unavailable", false, "this host offers no such key; lower the minimum key strength only if a weaker key is acceptable to you";
    /// The best key of the host is weaker than the minimum key strength.
    KeyTooWeak = "key_too_weak", false, "run on a host with a stronger key (KeyGuard: Trusted Launch, Secure Boot, vTPM), or lower the minimum key strength if that is acceptable to you";
    /// This host has no virtualization-based security for keys, or its KeyGuard key is not isolated by it.
    KeyIsolationUnavailable = "key_isolation_unavailable", false, "read the cause: a KeyGuard key needs a Trusted Launch VM with Secure Boot and vTPM on, and virtualization-based security running (msinfo32 shows it); lower the minimum key strength only if a weaker key is acceptable to you";
    /// The key could not sign.
    KeyFailed = "key_failed", false, "read the cause, which says what helps where that is known; else check the key store of this host";
    /// Attestation is required, and no attestation provider can attest the key.
    AttestationUnavailable = "attestation_unavailable", false, "provide an attestation provider (on Windows: AttestationClientLib.dll), or request a token without attestation where the service allows it";
    /// The attestation library of this host was found and is not used: not signed as it must be, or not loadable.
    AttestationLibraryUnusable = "attestation_library_unusable", false, "read the cause: it names the library that was found and why it is not used (docs/attestation.md)";
    /// The attestation failed or yielded no token.
    AttestationFailed = "attestation_failed", false, "read the cause; check that the attestation endpoint is reachable and the key is a KeyGuard key";
    /// A simulated key was used where it must not be.
    SimulatedRefused = "simulated_refused", false, "use simulated keys only with the emulator: IMDS on loopback, and its CA as an explicit trust anchor";
    /// An endpoint that IMDS supplied is not allowed.
    EndpointRefused = "endpoint_refused", false, "the endpoint that IMDS supplied is not one to send credentials to; check the allow-list of hosts and what answers as IMDS";
    /// The issued certificate is malformed.
    CertificateMalformed = "certificate_malformed", false, "the issued certificate cannot be read; report it to the service with the request id";
    /// The issued certificate is for another key.
    CertificateKeyMismatch = "certificate_key_mismatch", false, "check what answers as IMDS: it must certify the key that asked";
    /// The issued certificate is not valid now.
    CertificateNotValid = "certificate_not_valid", false, "check the clock of this host; then report it to the service with the request id";
    /// The issued certificate's key usages do not allow it to authenticate a TLS client.
    CertificateUnusable = "certificate_unusable", false, "check what answers as IMDS: a binding certificate allows digitalSignature and clientAuth; else report it to the service with the request id";
    /// IMDS knows no such identity on this host (v2: `identity_not_found`).
    IdentityNotFound = "identity_not_found", false, "assign the identity to this host (az vm identity assign), or correct its client, object or resource id; without an id, the system-assigned identity must be on";
    /// Who was asked for, and who was answered, differ.
    IdentityMismatch = "identity_mismatch", false, "check the id asked for, then what answers as IMDS and as the token endpoint";
    /// Our certificate was refused in the handshake, or by Entra.
    ClientCertificateRejected = "client_certificate_rejected", true, "ask again: where Entra refused the certificate, the next attempt has a fresh one issued; if it stays refused, or a resource refused it, read the peer's words and see whom it trusts";
    /// The peer's certificate could not be verified.
    ServerCertificateInvalid = "server_certificate_invalid", false, "check the name and the trust store; add a private CA to the trust anchors";
    /// TLS failed for another reason.
    TlsFailed = "tls_failed", false, "check that TLS is spoken at this port, the TLS versions on both sides, and the host's TLS settings";
    /// The token is of another type than asked for.
    TokenTypeMismatch = "token_type_mismatch", false, "the token was dropped, not used; report it to the service with the request id, or ask for the other type by name where that is acceptable to you";
    /// The token is not bound to a certificate.
    TokenNotBound = "token_not_bound", false, "the token was dropped, not used; report it to the service with the request id";
    /// The token is bound to another certificate.
    BindingMismatch = "binding_mismatch", false, "use a token only with the client of its own binding; one that Entra answered so was dropped: report it to the service with the request id";
    /// The resource takes no bound tokens (AADSTS392196).
    ResourceTakesNoBoundTokens = "resource_takes_no_bound_tokens", false, "this resource takes no bound tokens: request a bearer token explicitly if that is acceptable to you";
    /// The tenant is not eligible for attested bound tokens (AADSTS3921996).
    TenantNotEligible = "tenant_not_eligible", false, "this tenant is not (yet) on the service's list for attested bound tokens: ask Microsoft to have it added, or request a bearer token explicitly if that is acceptable to you";
    /// The resource refused, and never asked for the certificate on this connection.
    ClientCertificateNotRequested = "client_certificate_not_requested", false, "the server must ask for the client certificate: limit this host to TLS 1.2 (VersionPolicy::with_host), check that its configuration requests the certificate, and that the token is for this resource";
    /// The body is larger than the server can hold across its request for the certificate.
    BodyTooLargeForRenegotiation = "body_too_large_for_renegotiation", false, "send a bodyless request on the connection first, then the large body";
    /// The environment of the host does not allow the work (OpenSSL's configuration, FIPS mode; on Windows what SChannel cannot do).
    HostUnsupported = "host_unsupported", false, "see the cause; docs/troubleshooting.md names the settings";
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;
    use std::error::Error as _;

    #[test]
    fn codes_are_unique_and_every_kind_names_a_next_step() {
        let codes: HashSet<_> = ErrorKind::ALL.iter().map(|kind| kind.code()).collect();
        assert_eq!(codes.len(), ErrorKind::ALL.len());
        for kind in ErrorKind::ALL {
            assert!(kind.next_step().len() > 20, "{}", kind.code());
        }
    }

    #[test]
    fn flags_are_said_and_default_to_those_of_the_kind() {
        let error = Error::new(
            ErrorKind::ServiceUnavailable,
            Stage::Metadata,
            "imds failed",
        );
        assert!(error.is_retryable() && !error.deadline_reached());
        let error = error.with_retryable(false).with_deadline_reached();
        assert!(!error.is_retryable() && error.deadline_reached());
        assert_eq!(
            error.to_string(),
            "imds failed (deadline reached before the retries ended)"
        );
        let closer = Error::new(ErrorKind::KeyFailed, Stage::Key, "x").with_next_step("do that");
        assert_eq!(closer.next_step(), "do that");
        let late = Error::new(ErrorKind::DeadlineReached, Stage::Token, "x");
        assert!(late.deadline_reached() && late.is_retryable());
        assert_eq!(Error::invalid_request("x").stage(), Stage::Request);
        assert_eq!(Error::imds_v2_unavailable().status(), Some(404));
        assert!(
            Error::imds_v2_unavailable()
                .next_step()
                .contains("Trusted Launch")
        );
    }

    #[test]
    fn only_words_that_came_are_to_be_read() {
        let refused = Error::new(ErrorKind::Refused, Stage::Metadata, "x").with_status(400);
        assert!(refused.next_step().contains("gave no reason"));
        let words = ServiceError::parse(br#"{"error":"invalid_scope"}"#);
        let said = refused.clone().with_service(words);
        assert_eq!(said.next_step(), ErrorKind::Refused.next_step());
        assert_eq!(refused.with_next_step("do that").next_step(), "do that");
    }

    #[test]
    fn messages_begin_small_and_end_without_a_full_stop() {
        for kind in ErrorKind::ALL {
            for text in [kind.code(), kind.next_step()] {
                assert!(!text.ends_with('.'), "{text}");
                assert!(!text.starts_with(char::is_uppercase), "{text}");
            }
        }
    }

    #[test]
    fn display_names_status_and_words_and_leaves_the_cause_to_source() {
        let error = Error::new(ErrorKind::Refused, Stage::Token, "token request refused")
            .with_status(400)
            .with_service(ServiceError::parse(
                br#"{"error":"invalid_scope","error_description":"x"}"#,
            ))
            .with_source(std::io::Error::other("cause"));
        assert_eq!(
            error.to_string(),
            "token request refused (HTTP 400): invalid_scope: x"
        );
        assert_eq!(error.source().unwrap().to_string(), "cause");
        assert_eq!(error.stage().as_str(), "token");
    }
}
