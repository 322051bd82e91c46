//! The certificate signing request (PKCS#10, RFC 2986) in the form that IMDS accepts: subject DC = tenant (IA5String), then
//! CN = client (PrintableString); one attribute with the compute unit id; RSASSA-PSS with SHA-256 identifiers without
//! parameters.
use crate::oid::{COMMON_NAME, DOMAIN_COMPONENT};
use crate::{CuId, Error, ErrorKind, Guid, Result, Stage};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use der::asn1::{
    Any, AnyRef, BitString, Ia5String, ObjectIdentifier, PrintableString, SetOfVec, Utf8StringRef,
};
use der::{Decode as _, Encode as _, Sequence};
use sha2::{Digest as _, Sha256};
use x509_cert::attr::{Attribute, AttributeTypeAndValue};
use x509_cert::name::{RdnSequence, RelativeDistinguishedName};
use x509_cert::spki::SubjectPublicKeyInfoRef;

/// AlgorithmIdentifier of RSASSA-PSS with SHA-256, MGF1-SHA-256 and a salt of 32 bytes: SHA-256 without parameters
/// (IMDS rejects NULL there) and without the trailer field.
pub const PSS_ALGORITHM: [u8; 63] = [
    0x30, 0x3d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0a, 0x30, 0x30, 0xa0,
    0x0d, 0x30, 0x0b, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0xa1, 0x1a,
    0x30, 0x18, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x08, 0x30, 0x0b, 0x06,
    0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0xa2, 0x03, 0x02, 0x01, 0x20,
];

/// The attribute with the compute unit id as compact JSON.
pub const CU_ID_ATTRIBUTE: ObjectIdentifier =
    ObjectIdentifier::new_unwrap("1.3.6.1.4.1.311.90.2.10");

/// A certificate signing request without its signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnsignedCsr {
    info: Vec<u8>,
}

impl UnsignedCsr {
    /// Creates the request for a public key (SubjectPublicKeyInfo in DER, RSA-2048).
    ///
    /// # Errors
    /// [`ErrorKind::KeyFailed`] if the key is not RSA of exactly 2048 bits.
    pub fn new(
        client_id: &Guid,
        tenant_id: &Guid,
        cu_id: &CuId,
        public_key: &[u8],
    ) -> Result<Self> {
        check_rsa_2048(public_key)?;
        let info =
            request_info(client_id, tenant_id, cu_id, public_key).map_err(encoding_failed)?;
        Ok(Self { info })
    }

    /// The bytes to be signed.
    pub fn to_be_signed(&self) -> &[u8] {
        &self.info
    }

    /// SHA-256 of the bytes to be signed.
    pub fn digest(&self) -> [u8; 32] {
        Sha256::digest(&self.info).into()
    }

    /// Adds the signature (RSASSA-PSS, SHA-256, salt of 32 bytes). Verify it first: IMDS rejects an invalid one with status
    /// 400 and no reason.
    ///
    /// # Errors
    /// [`ErrorKind::KeyFailed`] if the signature does not have the length of RSA-2048.
    pub fn finish(&self, signature: &[u8]) -> Result<Csr> {
        if signature.len() != SIGNATURE_LENGTH {
            return Err(key_failed(
                "the signature of the signing request is not 256 bytes long",
            ));
        }
        let encode = || -> der::Result<Vec<u8>> {
            SignedRequest {
                info: AnyRef::from_der(&self.info)?,
                algorithm: AnyRef::from_der(&PSS_ALGORITHM)?,
                signature: BitString::from_bytes(signature)?,
            }
            .to_der()
        };
        let der = encode().map_err(encoding_failed)?;
        Ok(Csr { der })
    }
}

/// A signed certificate signing request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Csr {
    der: Vec<u8>,
}

impl Csr {
    /// The DER.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// The form for `issuecredential`: standard base64 on one line, without PEM boundaries.
    pub fn to_wire(&self) -> String {
        STANDARD.encode(&self.der)
    }
}

#[derive(Sequence)]
struct SignedRequest<'a> {
    info: AnyRef<'a>,
    algorithm: AnyRef<'a>,
    signature: BitString,
}

#[derive(Sequence)]
struct RequestInfo<'a> {
    version: u8,
    subject: RdnSequence,
    public_key: AnyRef<'a>,
    #[asn1(context_specific = "0", tag_mode = "IMPLICIT")]
    attributes: SetOfVec<Attribute>,
}

fn request_info(
    client_id: &Guid,
    tenant_id: &Guid,
    cu_id: &CuId,
    public_key: &[u8],
) -> der::Result<Vec<u8>> {
    let mut subject = RdnSequence::default();
    subject.push(name_part(
        DOMAIN_COMPONENT,
        Any::encode_from(&Ia5String::new(tenant_id.as_str())?)?,
    )?);
    subject.push(name_part(
        COMMON_NAME,
        Any::encode_from(&PrintableString::new(client_id.as_str())?)?,
    )?);
    let mut values = SetOfVec::new();
    values.insert(Any::encode_from(&Utf8StringRef::new(&cu_id.to_json())?)?)?;
    let mut attributes = SetOfVec::new();
    attributes.insert(Attribute {
        oid: CU_ID_ATTRIBUTE,
        values,
    })?;
    RequestInfo {
        version: 0,
        subject,
        public_key: AnyRef::from_der(public_key)?,
        attributes,
    }
    .to_der()
}

fn name_part(oid: ObjectIdentifier, value: Any) -> der::Result<RelativeDistinguishedName> {
    let mut part = RelativeDistinguishedName::default();
    part.insert(AttributeTypeAndValue { oid, value })?;
    Ok(part)
}

fn encoding_failed(error: der::Error) -> Error {
    key_failed("the signing request could not be encoded").with_source(error)
}

fn key_failed(message: &'static str) -> Error {
    Error::new(ErrorKind::KeyFailed, Stage::Key, message)
}

/// Checks that a SubjectPublicKeyInfo is rsaEncryption with NULL and a modulus of exactly 2048 bits.
fn check_rsa_2048(public_key: &[u8]) -> Result<()> {
    let wrong_type = || key_failed("the binding key is not RSA of exactly 2048 bits");
    let spki = SubjectPublicKeyInfoRef::from_der(public_key)
        .map_err(|error| wrong_type().with_source(error))?;
    let null = spki.algorithm.parameters == Some(AnyRef::NULL);
    let key = spki
        .subject_public_key
        .as_bytes()
        .and_then(|bytes| RsaPublicKey::from_der(bytes).ok());
    let fits = key.is_some_and(|key| {
        let modulus = key.modulus.as_bytes();
        modulus.len() == MODULUS_LENGTH && modulus.first().is_some_and(|byte| *byte >= 0x80)
    });
    if spki.algorithm.oid == RSA_ENCRYPTION && null && fits {
        Ok(())
    } else {
        Err(wrong_type())
    }
}

#[derive(Sequence)]
struct RsaPublicKey<'a> {
    modulus: der::asn1::UintRef<'a>,
    exponent: der::asn1::UintRef<'a>,
}

/// Length for RSA-2048 in bytes; the highest bit of the modulus is set.
const MODULUS_LENGTH: usize = 256;
const SIGNATURE_LENGTH: usize = MODULUS_LENGTH;
const RSA_ENCRYPTION: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
