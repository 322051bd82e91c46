macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $transient:literal, $next:literal;)*) => {
        /// The kind of an error: one for each different reaction of a caller. [`code`](Self::code) is its stable name.
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

            /// Whether a later retry of the same call usually helps.
            pub fn is_transient(self) -> bool {
                match self { $(Self::$name => $transient,)* }
            }

            /// The next step, in one sentence.
            pub fn next_step(self) -> &'static str {
                match self { $(Self::$name => $next,)* }
            }
        }
    };
}

kinds! {
    /// The request is invalid (a malformed id, resource or header).
    InvalidRequest = "invalid_request", false, "correct the request; nothing was sent";
    /// The host's IMDS does not support v2.
    ImdsV2Unavailable = "imds_v2_unavailable", false, "this host has IMDS v1 only: use a Trusted Launch VM with Secure Boot and vTPM in a region where managed identity v2 is on; there is no fallback to an unbound token";
    /// Managed identity v2 is switched off for this process by `MSAL_MI_DISABLE_IMDS_V2`.
    ImdsV2Disabled = "imds_v2_disabled", false, "unset MSAL_MI_DISABLE_IMDS_V2 and restart the program; while it is true or 1, no request of managed identity v2 is sent, and there is no fallback to an unbound token";
    /// A token that requires IMDS v2 was requested, and this host has another managed identity source.
    SourceUnsupported = "source_unsupported", false, "only IMDS v2 issues certificates for tokens: request a plain bearer token explicitly if that is acceptable to you, or run on a virtual machine; there is no fallback to an unbound token";
    /// The source does not accept an identity that is selected by an id of this kind.
    IdentityUnsupported = "identity_unsupported", false, "select the identity by an id that this source accepts (docs/sources.md); nothing was sent, as the source would have issued a token for another identity";
    /// The challenge of the agent of Azure Arc is malformed, or its file is not acceptable or cannot be read.
    ArcChallengeFailed = "arc_challenge_failed", false, "run the program as root or as a member of the group himds (on Windows: Administrators, or Hybrid agent extension applications); otherwise check which service responds at the agent's address";
    /// No assertion: its file cannot be read, or the caller's function failed.
    AssertionUnavailable = "assertion_unavailable", false, "read the cause: check the path and the permissions of the file with the assertion (AZURE_FEDERATED_TOKEN_FILE), or the function that returns it";
    /// The assertion cannot be used: it has expired, is malformed, or is not bound to a certificate as required.
    AssertionInvalid = "assertion_invalid", false, "nothing was sent: find out who issues the assertion and refreshes it; if it is not bound to a certificate, request a token from an unbound assertion explicitly if that is acceptable to you";
    /// Entra does not accept the assertion for this app registration (AADSTS70021, 70025, 700024 and others).
    AssertionRejected = "assertion_rejected", false, "compare the federated credential of the app registration with the assertion: issuer, subject and audience must be equal, in case too; check that the client id and the tenant are those of the app registration";
    /// The service at the address of IMDS is not IMDS.
    NotImds = "not_imds", false, "check that nothing intercepts the IMDS address, and the configured address (AZURE_POD_IDENTITY_AUTHORITY_HOST)";
    /// No connection to the service.
    Unreachable = "unreachable", true, "check that the address is right and that routes, firewall and proxy let the connection through";
    /// The service is failing or throttling.
    ServiceUnavailable = "service_unavailable", true, "try again later; the service is failing or throttling";
    /// The service rejected the request.
    Refused = "refused", false, "read the service's error and correct what it names";
    /// The response violates the protocol.
    InvalidResponse = "invalid_response", false, "check which service responds at this address; it may be a proxy or another service";
    /// The response is larger than allowed.
    ResponseTooLarge = "response_too_large", false, "check which service responds at this address; the response was not read to its end";
    /// The response is a redirect, which is never followed.
    RedirectNotAllowed = "redirect_not_allowed", false, "set the final address; redirects are never followed with credentials";
    /// The deadline passed.
    DeadlineExceeded = "deadline_exceeded", true, "set a longer timeout, or find out why this step takes so long";
    /// No key provider offers a key.
    KeyUnavailable = "key_unavailable", false, "this host offers no such key; lower the minimum key strength only if a weaker key is acceptable to you";
    /// The best key of the host is weaker than the minimum key strength.
    KeyTooWeak = "key_too_weak", false, "run on a host with a stronger key (KeyGuard: Trusted Launch, Secure Boot, vTPM), or lower the minimum key strength if that is acceptable to you";
    /// This host has no virtualization-based security for keys, or its KeyGuard key is not isolated by it.
    KeyIsolationUnavailable = "key_isolation_unavailable", false, "read the cause: a KeyGuard key needs a Trusted Launch VM with Secure Boot and vTPM on, and virtualization-based security running (msinfo32 shows it); lower the minimum key strength only if a weaker key is acceptable to you";
    /// The key could not sign.
    KeyFailed = "key_failed", false, "read the cause, which names a remedy if one is known; otherwise check the key store of this host";
    /// Attestation is required, and no attestation provider can attest the key.
    AttestationUnavailable = "attestation_unavailable", false, "provide an attestation provider (on Windows: AttestationClientLib.dll), or request a token without attestation if the service allows it";
    /// The attestation library of this host cannot be used: its signature is not accepted, or it cannot be loaded.
    AttestationLibraryUnusable = "attestation_library_unusable", false, "read the cause: it names the library that was found and why it is not used (docs/attestation.md)";
    /// The attestation failed or returned no token.
    AttestationFailed = "attestation_failed", false, "read the cause; check that the attestation endpoint is reachable and the key is a KeyGuard key";
    /// A simulated key is not allowed here.
    SimulatedNotAllowed = "simulated_not_allowed", false, "use simulated keys only with the emulator: IMDS on loopback, and its CA as an explicit trust anchor";
    /// An endpoint that IMDS supplied is not allowed.
    EndpointNotAllowed = "endpoint_not_allowed", false, "credentials are not sent to the endpoint that IMDS supplied; check the allow-list of hosts and which service responds as IMDS";
    /// The issued certificate is malformed.
    CertificateMalformed = "certificate_malformed", false, "the issued certificate cannot be read; report it to the service with the request id";
    /// The issued certificate is for another key.
    CertificateKeyMismatch = "certificate_key_mismatch", false, "check which service responds as IMDS: it must certify the key of the request";
    /// The issued certificate is not valid now.
    CertificateNotValid = "certificate_not_valid", false, "check the clock of this host; then report it to the service with the request id";
    /// The issued certificate's key usages do not allow it to authenticate a TLS client.
    CertificateUnusable = "certificate_unusable", false, "check which service responds as IMDS: a binding certificate allows digitalSignature and clientAuth; otherwise report it to the service with the request id";
    /// The source has no such identity on this host (IMDS v2: `identity_not_found`).
    IdentityNotFound = "identity_not_found", false, "assign the identity to this host (az vm identity assign), or correct its client, object or resource id; without an id, the system-assigned identity must be on";
    /// The response is for another identity than the requested one.
    IdentityMismatch = "identity_mismatch", false, "check the requested id, then which services respond as IMDS and as the token endpoint";
    /// The client certificate was rejected in the handshake, or by Entra.
    ClientCertificateRejected = "client_certificate_rejected", true, "retry: after a rejection by Entra, the next attempt uses a new certificate; if it is rejected again, or by a resource, read the peer's error and check which CAs it trusts";
    /// The peer's certificate could not be verified.
    ServerCertificateInvalid = "server_certificate_invalid", false, "check the name and the trust store; add a private CA to the trust anchors";
    /// TLS failed for another reason.
    TlsFailed = "tls_failed", false, "check that the port expects TLS, the TLS versions on both sides, and the host's TLS settings";
    /// The token is of another type than requested.
    TokenTypeMismatch = "token_type_mismatch", false, "the token was discarded; report it to the service with the request id, or request the other type explicitly if that is acceptable to you";
    /// The token is not bound to a certificate.
    TokenNotBound = "token_not_bound", false, "the token was discarded; report it to the service with the request id";
    /// The token is bound to another certificate.
    BindingMismatch = "binding_mismatch", false, "use a token only with the client of its own binding; a token from Entra was discarded: report it to the service with the request id";
    /// The resource does not accept bound tokens (AADSTS392196).
    BoundTokensNotAccepted = "bound_tokens_not_accepted", false, "this resource does not accept bound tokens: request a bearer token explicitly if that is acceptable to you";
    /// The tenant is not eligible for attested bound tokens (AADSTS3921996).
    TenantNotEligible = "tenant_not_eligible", false, "this tenant is not (yet) on the service's list for attested bound tokens: ask Microsoft to have it added, or request a bearer token explicitly if that is acceptable to you";
    /// The resource rejected the request and never requested the certificate on this connection.
    ClientCertificateNotRequested = "client_certificate_not_requested", false, "the server must request the client certificate: limit this host to TLS 1.2, check that its configuration requests the certificate, and that the token is for this resource";
    /// The body is larger than the server can buffer during its request for the certificate.
    BodyTooLargeForRenegotiation = "body_too_large_for_renegotiation", false, "send a bodyless request on the connection first, then the large body";
    /// The host does not support the operation (OpenSSL's configuration, FIPS mode; on Windows the limits of SChannel).
    HostUnsupported = "host_unsupported", false, "see the cause; docs/troubleshooting.md names the settings";
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn codes_are_the_names_of_the_kinds() {
        for kind in ErrorKind::ALL {
            let mut snake_case = String::new();
            for letter in format!("{kind:?}").chars() {
                if letter.is_uppercase() && !snake_case.is_empty() {
                    snake_case.push('_');
                }
                snake_case.push(letter.to_ascii_lowercase());
            }
            assert_eq!(snake_case, kind.code());
        }
    }

    #[test]
    fn every_kind_has_its_own_next_step() {
        let mut steps = HashSet::new();
        for kind in ErrorKind::ALL {
            let step = kind.next_step();
            assert!(step.contains(' '), "{}: {step}", kind.code());
            assert!(steps.insert(step), "{}: {step}", kind.code());
        }
    }

    #[test]
    fn texts_begin_in_lower_case_and_have_no_full_stop() {
        for kind in ErrorKind::ALL {
            for text in [kind.code(), kind.next_step()] {
                assert!(!text.ends_with('.'), "{text}");
                assert!(!text.starts_with(char::is_uppercase), "{text}");
            }
        }
    }
}
