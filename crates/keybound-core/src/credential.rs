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

/// The body of `issuecredential`. `Debug` hides the attestation token.
pub struct IssueRequest<'a> {
    csr: &'a Csr,
    attestation: Option<&'a AttestationToken>,
}

impl<'a> IssueRequest<'a> {
    /// A request with or without an attestation token.
    pub fn new(csr: &'a Csr, attestation: Option<&'a AttestationToken>) -> Self {
        Self { csr, attestation }
    }

    /// The JSON body; `attestation_token` is absent where there is none. It holds a secret where there is one.
    pub fn to_json(&self) -> Zeroizing<Vec<u8>> {
        let wire = WireRequest {
            csr: self.csr.to_wire(),
            attestation_token: self.attestation.map(AttestationToken::expose),
        };
        // With room for all of it: a buffer that grows leaves copies behind that nobody wipes. Nothing in base64 and
        // JWTs needs an escape.
        let length = wire.csr.len() + wire.attestation_token.map_or(0, str::len) + LONGEST_FRAME;
        let mut body = Zeroizing::new(Vec::with_capacity(length));
        // Fails for writers that fail and maps with odd keys; here is neither.
        serde_json::to_writer(&mut *body, &wire).expect("two strings always make JSON");
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

/// What IMDS issued: a certificate that has been checked against the key, the names, the clock and the identity asked
/// for, and the endpoint it is for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct IssuedCredential {
    /// The canonical client id for the token request.
    pub client_id: Guid,
    /// The canonical tenant for the token request.
    pub tenant_id: Guid,
    /// The certificate.
    pub certificate: Certificate,
    /// `identity_type`, as IMDS gave it (`SystemAssigned`, `UserAssigned`).
    pub identity_type: String,
    /// Where the token is asked for.
    pub endpoint: MtlsEndpoint,
}

impl IssuedCredential {
    /// Puts together what an earlier process was issued, and checks it as if it had just been answered.
    ///
    /// # Errors
    /// As [`parse`](Self::parse), but for what is malformed.
    #[expect(
        clippy::too_many_arguments,
        reason = "each is a member, or what a member is checked against"
    )]
    pub fn restore(
        client_id: Guid,
        tenant_id: Guid,
        certificate: Certificate,
        identity_type: String,
        endpoint: MtlsEndpoint,
        public_key: &[u8],
        asked: &ManagedIdentity,
        now: SystemTime,
    ) -> Result<Self> {
        if !asked.accepts_client_id(&client_id) {
            return Err(mismatch(
                "the issued credential is for another client id than the one asked for",
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

    /// Reads the answer's body and checks all of it: see [`Certificate`] for the checks on the certificate.
    ///
    /// # Errors
    /// By what is wrong: [`ErrorKind::ResponseTooLarge`], [`ErrorKind::InvalidResponse`],
    /// [`ErrorKind::CertificateMalformed`], [`ErrorKind::CertificateKeyMismatch`], [`ErrorKind::CertificateNotValid`],
    /// [`ErrorKind::CertificateUnusable`], [`ErrorKind::IdentityMismatch`] or [`ErrorKind::EndpointRefused`].
    pub fn parse(
        body: &[u8],
        public_key: &[u8],
        asked: &ManagedIdentity,
        policy: &EndpointPolicy,
        now: SystemTime,
    ) -> Result<Self> {
        let wire: WireResponse = read_response(body, Stage::Credential, "the issued credential")?;
        let guid = |text: &str, message| {
            Guid::parse(text).ok_or_else(|| Error::invalid_response(Stage::Credential, message))
        };
        let client_id = guid(
            &wire.client_id,
            "client_id of the issued credential is not a GUID",
        )?;
        let tenant_id = guid(
            &wire.tenant_id,
            "tenant_id of the issued credential is not a GUID",
        )?;
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
            asked,
            now,
        )
    }

    /// Checks that it is for the identity and the tenant that the platform metadata named: the signing request asked
    /// for these.
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

/// White space is no part of base64: a final newline and wrapped lines are seen. PEM armour is not the form that the
/// protocol has.
fn decode(certificate: &str) -> Result<Vec<u8>> {
    let wrong = |message| Error::new(ErrorKind::CertificateMalformed, Stage::Credential, message);
    if certificate.trim_start().starts_with("-----") {
        return Err(wrong("the issued certificate is PEM, not base64 of DER"));
    }
    let base64: String = certificate.split_ascii_whitespace().collect();
    if base64.len() > MAX_CERTIFICATE.div_ceil(3) * 4 {
        return Err(wrong("the issued certificate is longer than 16 KiB"));
    }
    STANDARD
        .decode(base64)
        .map_err(|error| wrong("the issued certificate is not base64").with_source(error))
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

/// More than the names and signs around the two members.
const LONGEST_FRAME: usize = 64;
