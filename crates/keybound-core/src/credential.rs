use crate::csr::Csr;
use crate::{
    AttestationToken, Certificate, EndpointPolicy, Error, Guid, ManagedIdentity, MtlsEndpoint,
    Result, Stage,
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
        Zeroizing::new(serde_json::to_vec(&wire).expect("two strings always make JSON"))
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
    /// Reads the answer's body and checks all of it: see [`Certificate`] for the checks on the certificate.
    ///
    /// # Errors
    /// By what is wrong: [`InvalidAnswer`](crate::ErrorKind::InvalidAnswer),
    /// [`CertificateMalformed`](crate::ErrorKind::CertificateMalformed),
    /// [`CertificateKeyMismatch`](crate::ErrorKind::CertificateKeyMismatch),
    /// [`CertificateNotValid`](crate::ErrorKind::CertificateNotValid),
    /// [`IdentityMismatch`](crate::ErrorKind::IdentityMismatch) or
    /// [`EndpointRefused`](crate::ErrorKind::EndpointRefused).
    pub fn parse(
        body: &[u8],
        public_key: &[u8],
        asked: &ManagedIdentity,
        policy: &EndpointPolicy,
        now: SystemTime,
    ) -> Result<Self> {
        let wire: WireAnswer = serde_json::from_slice(body).map_err(|error| {
            Error::invalid_answer(
                Stage::Credential,
                "the issued credential is not the JSON expected",
            )
            .with_source(error)
        })?;
        let guid = |text: &str, message| {
            Guid::parse(text).ok_or_else(|| Error::invalid_answer(Stage::Credential, message))
        };
        let client_id = guid(
            &wire.client_id,
            "client_id of the issued credential is not a GUID",
        )?;
        let tenant_id = guid(
            &wire.tenant_id,
            "tenant_id of the issued credential is not a GUID",
        )?;
        check_asked(asked, &client_id)?;
        let identity_type = bounded_text(wire.identity_type)?;
        let endpoint = MtlsEndpoint::new(
            &wire.mtls_authentication_endpoint,
            wire.token_endpoint.as_deref(),
            &tenant_id,
            policy,
        )?;
        let certificate = Certificate::from_der(&decode(&wire.certificate)?)?;
        certificate.check_key(public_key)?;
        certificate.check_names(&client_id, &tenant_id)?;
        certificate.check_validity(now)?;
        Ok(Self {
            client_id,
            tenant_id,
            certificate,
            identity_type,
            endpoint,
        })
    }
}

fn check_asked(asked: &ManagedIdentity, client_id: &Guid) -> Result<()> {
    match asked.asked_client_id() {
        Some(asked) if asked != *client_id => Err(Error::new(
            crate::ErrorKind::IdentityMismatch,
            Stage::Credential,
            "the issued credential is for another client id than the one asked for",
        )),
        _ => Ok(()),
    }
}

fn bounded_text(text: String) -> Result<String> {
    if text.is_empty() || text.len() > 64 || text.chars().any(char::is_control) {
        return Err(Error::invalid_answer(
            Stage::Credential,
            "identity_type of the issued credential is malformed",
        ));
    }
    Ok(text)
}

fn decode(certificate: &str) -> Result<Vec<u8>> {
    STANDARD.decode(certificate).map_err(|error| {
        Error::new(
            crate::ErrorKind::CertificateMalformed,
            Stage::Credential,
            "the issued certificate is not base64",
        )
        .with_source(error)
    })
}

#[derive(Serialize)]
struct WireRequest<'a> {
    csr: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    attestation_token: Option<&'a str>,
}

#[derive(Deserialize)]
struct WireAnswer {
    client_id: String,
    tenant_id: String,
    certificate: String,
    identity_type: String,
    mtls_authentication_endpoint: String,
    token_endpoint: Option<String>,
}
