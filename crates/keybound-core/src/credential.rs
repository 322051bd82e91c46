use crate::csr::Csr;
use crate::json::read_response;
use crate::{
    AttestationToken, Certificate, EndpointPolicy, Error, ErrorKind, Guid, MAX_CERTIFICATE,
    ManagedIdentity, MtlsEndpoint, PlatformMetadata, Result, Stage,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::SystemTime;
use zeroize::Zeroizing;

/// The body of an `issuecredential` request. `Debug` hides the attestation token.
pub struct IssueRequest<'a> {
    csr: &'a Csr,
    attestation: Option<&'a AttestationToken>,
}

impl<'a> IssueRequest<'a> {
    /// A request with or without an attestation token.
    pub fn new(csr: &'a Csr, attestation: Option<&'a AttestationToken>) -> Self {
        Self { csr, attestation }
    }

    /// The JSON body. It contains a secret if there is an attestation token.
    pub fn to_json(&self) -> Zeroizing<Vec<u8>> {
        let wire = WireRequest {
            csr: self.csr.to_wire(),
            attestation_token: self.attestation.map(AttestationToken::expose),
        };
        // The capacity suffices: a buffer that grows would leave copies that are not zeroed. Base64 and JWTs need no
        // escapes.
        let length = wire.csr.len() + wire.attestation_token.map_or(0, str::len) + MAX_OVERHEAD;
        let mut body = Zeroizing::new(Vec::with_capacity(length));
        // Fails only for writers that fail and maps whose keys are not strings.
        serde_json::to_writer(&mut *body, &wire).expect("strings can be written as JSON");
        body
    }
}

impl fmt::Debug for IssueRequest<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IssueRequest")
            .field("attested", &self.attestation.is_some())
            .finish_non_exhaustive()
    }
}

/// An issued certificate and its mTLS endpoint, validated against the key, the requested identity and the clock.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct IssuedCredential {
    /// The client id for the token request.
    pub client_id: Guid,
    /// The tenant id for the token request.
    pub tenant_id: Guid,
    /// The certificate.
    pub certificate: Certificate,
    /// `identity_type` of the response (`SystemAssigned`, `UserAssigned`).
    pub identity_type: String,
    /// The endpoint for token requests.
    pub endpoint: MtlsEndpoint,
}

impl IssuedCredential {
    /// Creates it from stored values, with all checks of [`parse`](Self::parse) except those of the form.
    ///
    /// # Errors
    /// As [`parse`](Self::parse).
    #[expect(
        clippy::too_many_arguments,
        reason = "members, and values that they are checked against"
    )]
    pub fn restore(
        client_id: Guid,
        tenant_id: Guid,
        certificate: Certificate,
        identity_type: String,
        endpoint: MtlsEndpoint,
        public_key: &[u8],
        requested: &ManagedIdentity,
        now: SystemTime,
    ) -> Result<Self> {
        if !requested.accepts_client_id(&client_id) {
            return Err(mismatch(
                "the issued credential is for another client id than the requested one",
            ));
        }
        let identity_type = check_identity_type(identity_type)?;
        certificate.check_key(public_key)?;
        certificate.check_names(&client_id, &tenant_id)?;
        certificate.check_validity(now)?;
        certificate.check_usages()?;
        Ok(Self {
            client_id,
            tenant_id,
            certificate,
            identity_type,
            endpoint,
        })
    }

    /// Parses and validates the body of the response: for the certificate see the checks of [`Certificate`].
    ///
    /// # Errors
    /// [`ErrorKind::ResponseTooLarge`], [`ErrorKind::InvalidResponse`],
    /// [`ErrorKind::CertificateMalformed`], [`ErrorKind::CertificateKeyMismatch`], [`ErrorKind::CertificateNotValid`],
    /// [`ErrorKind::CertificateUnusable`], [`ErrorKind::IdentityMismatch`] or [`ErrorKind::EndpointNotAllowed`].
    pub fn parse(
        body: &[u8],
        public_key: &[u8],
        requested: &ManagedIdentity,
        policy: &EndpointPolicy,
        now: SystemTime,
    ) -> Result<Self> {
        let wire: WireResponse = read_response(body, Stage::Credential, "the issued credential")?;
        let guid = |text: &str, what| Guid::from_response(text, Stage::Credential, what);
        let client_id = guid(&wire.client_id, "client_id of the issued credential")?;
        let tenant_id = guid(&wire.tenant_id, "tenant_id of the issued credential")?;
        let endpoint = MtlsEndpoint::new(
            &wire.mtls_authentication_endpoint,
            wire.token_endpoint.as_deref(),
            &tenant_id,
            policy,
        )?;
        let certificate = Certificate::from_der(&decode(&wire.certificate)?)?;
        Self::restore(
            client_id,
            tenant_id,
            certificate,
            wire.identity_type,
            endpoint,
            public_key,
            requested,
            now,
        )
    }

    /// Checks that it is for the client and tenant of the platform metadata, those of the signing request.
    ///
    /// # Errors
    /// [`ErrorKind::IdentityMismatch`].
    pub fn check_metadata(&self, metadata: &PlatformMetadata) -> Result<()> {
        if self.client_id == metadata.client_id && self.tenant_id == metadata.tenant_id {
            return Ok(());
        }
        Err(mismatch(
            "the issued credential is for another client or tenant than the platform metadata",
        ))
    }
}

fn mismatch(message: &'static str) -> Error {
    Error::new(ErrorKind::IdentityMismatch, Stage::Credential, message)
}

fn check_identity_type(text: String) -> Result<String> {
    if text.is_empty() || text.len() > 64 || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(Error::invalid_response(
            Stage::Credential,
            "identity_type of the issued credential is malformed",
        ));
    }
    Ok(text)
}

/// Decodes base64 with white space, which some services insert. PEM is not a form of the protocol.
fn decode(certificate: &str) -> Result<Vec<u8>> {
    let malformed =
        |message| Error::new(ErrorKind::CertificateMalformed, Stage::Credential, message);
    if certificate.trim_start().starts_with("-----") {
        return Err(malformed(
            "the issued certificate is PEM, not base64 of DER",
        ));
    }
    let base64: String = certificate.split_ascii_whitespace().collect();
    if base64.len() > MAX_CERTIFICATE.div_ceil(3) * 4 {
        return Err(malformed("the issued certificate is longer than 16 KiB"));
    }
    STANDARD
        .decode(base64)
        .map_err(|error| malformed("the issued certificate is not base64").with_source(error))
}

#[derive(Serialize)]
struct WireRequest<'a> {
    csr: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    attestation_token: Option<&'a str>,
}

#[derive(Deserialize)]
struct WireResponse {
    client_id: String,
    tenant_id: String,
    certificate: String,
    identity_type: String,
    mtls_authentication_endpoint: String,
    token_endpoint: Option<String>,
}

/// More than the names and punctuation around the two members.
const MAX_OVERHEAD: usize = 64;
