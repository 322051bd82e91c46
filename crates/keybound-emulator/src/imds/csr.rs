//! Checks CSRs as IMDS does, byte for byte.
mod der;
#[cfg(test)]
mod tests;

use crate::signing_key::verifies_ps256;
use der::{
    BIT_STRING, CONTEXT_0, Element, IA5_STRING, INTEGER, OID, PRINTABLE_STRING, Reader, SEQUENCE,
    SET, UTF8_STRING, only, positive, whole_bytes,
};
use openssl::pkey::PKey;
use serde_json::Value;

/// The expected contents of the CSR of an identity on this host.
#[derive(Clone, Debug)]
pub(crate) struct Expected<'a> {
    pub client_id: &'a str,
    pub tenant_id: &'a str,
    /// The cuId as compact JSON, without empty members.
    pub cu_id: &'a str,
    /// Also accepts the form of the Python implementation.
    pub lenient: bool,
}

/// A valid CSR.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CheckedCsr<'a> {
    /// The subject, DER.
    pub subject: &'a [u8],
    /// SubjectPublicKeyInfo, DER.
    pub public_key: &'a [u8],
    /// Modulus and exponent, big-endian, without leading zeros.
    pub modulus: &'a [u8],
    pub exponent: &'a [u8],
}

/// Checks a CSR (PKCS#10, DER): RFC 2986 in the only form that IMDS accepts.
///
/// # Errors
/// The first problem.
pub(crate) fn check<'a>(
    der: &'a [u8],
    expected: &Expected<'_>,
) -> Result<CheckedCsr<'a>, &'static str> {
    let request = only(der, SEQUENCE).ok_or("CSR: not one DER SEQUENCE, or bytes follow it")?;
    let mut parts = Reader::new(request.content);
    let (Some(info), Some(algorithm), Some(signature), true) = (
        parts.expect(SEQUENCE),
        parts.expect(SEQUENCE),
        parts.expect(BIT_STRING),
        parts.is_empty(),
    ) else {
        return Err("CSR: not of info, signature algorithm and signature");
    };
    let info_parts = read_info(&info)?;
    check_subject(info_parts.subject.content, expected)?;
    let (modulus, exponent) = read_key(info_parts.public_key.content)?;
    check_attributes(info_parts.attributes.content, expected)?;
    check_algorithm(algorithm.raw, expected.lenient)?;
    let signature = whole_bytes(&signature).ok_or("CSR: the signature is not of whole bytes")?;
    let key = PKey::public_key_from_der(info_parts.public_key.raw);
    if !key.is_ok_and(|key| verifies_ps256(&key, info.raw, signature)) {
        return Err(
            "CSR: the signature is invalid for the key of the CSR (RSASSA-PSS, SHA-256, salt of 32 bytes)",
        );
    }
    Ok(CheckedCsr {
        subject: info_parts.subject.raw,
        public_key: info_parts.public_key.raw,
        modulus,
        exponent,
    })
}

struct Info<'a> {
    subject: Element<'a>,
    public_key: Element<'a>,
    attributes: Element<'a>,
}

fn read_info<'a>(info: &Element<'a>) -> Result<Info<'a>, &'static str> {
    let mut parts = Reader::new(info.content);
    let version = parts.expect(INTEGER);
    if version.is_none_or(|version| version.content != [0]) {
        return Err("CSR: the version is not 0");
    }
    let (Some(subject), Some(public_key)) = (parts.expect(SEQUENCE), parts.expect(SEQUENCE)) else {
        return Err("CSR: no subject and public key after the version");
    };
    match (parts.expect(CONTEXT_0), parts.is_empty()) {
        (Some(attributes), true) => Ok(Info {
            subject,
            public_key,
            attributes,
        }),
        (Some(_), false) => Err("CSR: something follows the attributes"),
        (None, _) => Err("CSR: no attributes, the machine's id (cuId) is missing"),
    }
}

/// Subject: DC = tenant as IA5String, then CN = client as PrintableString.
fn check_subject(subject: &[u8], expected: &Expected<'_>) -> Result<(), &'static str> {
    let parts = read_subject(subject)
        .ok_or("CSR: the subject is not of two names with one attribute each")?;
    let domain = NamePart {
        oid: DOMAIN_COMPONENT,
        tag: IA5_STRING,
        text: expected.tenant_id.as_bytes(),
    };
    let common = NamePart {
        oid: COMMON_NAME,
        tag: PRINTABLE_STRING,
        text: expected.client_id.as_bytes(),
    };
    if parts == [domain, common] {
        return Ok(());
    }
    let python = NamePart {
        tag: UTF8_STRING,
        ..common
    };
    if expected.lenient && parts == [python, domain] {
        return Ok(());
    }
    Err(subject_problem(&parts, &domain, &common))
}

fn subject_problem(
    parts: &[NamePart<'_>; 2],
    domain: &NamePart<'_>,
    common: &NamePart<'_>,
) -> &'static str {
    match parts {
        [first, second] if first.oid == common.oid && second.oid == domain.oid => {
            "CSR: the subject is in the wrong order: expected DC, then CN"
        }
        [first, second] if first.oid != domain.oid || second.oid != common.oid => {
            "CSR: the subject is not of DC and CN"
        }
        [first, _] if first.text != domain.text => "CSR: DC of the subject is not the tenant id",
        [_, second] if second.text != common.text => "CSR: CN of the subject is not the client id",
        [first, _] if first.tag != domain.tag => "CSR: DC of the subject is not an IA5String",
        _ => "CSR: CN of the subject is not a PrintableString",
    }
}

#[derive(Clone, Copy, PartialEq)]
struct NamePart<'a> {
    oid: &'a [u8],
    tag: u8,
    text: &'a [u8],
}

fn read_subject(subject: &[u8]) -> Option<[NamePart<'_>; 2]> {
    let mut names = Reader::new(subject);
    let parts = [
        name_part(names.expect(SET)?)?,
        name_part(names.expect(SET)?)?,
    ];
    names.is_empty().then_some(parts)
}

fn name_part(name: Element<'_>) -> Option<NamePart<'_>> {
    let mut attribute = Reader::new(only(name.content, SEQUENCE)?.content);
    let (oid, value) = (attribute.expect(OID)?, attribute.next()?);
    attribute.is_empty().then_some(NamePart {
        oid: oid.content,
        tag: value.tag,
        text: value.content,
    })
}

/// rsaEncryption with NULL, 2048 bits. Returns modulus and exponent.
fn read_key(public_key: &[u8]) -> Result<(&[u8], &[u8]), &'static str> {
    let mut parts = Reader::new(public_key);
    let algorithm = parts.expect(SEQUENCE);
    if algorithm.is_none_or(|algorithm| algorithm.raw != RSA_ENCRYPTION) {
        return Err("CSR: the key is not rsaEncryption with NULL parameters");
    }
    let numbers = || {
        let key = parts.expect(BIT_STRING).filter(|_| parts.is_empty())?;
        let mut numbers = Reader::new(only(whole_bytes(&key)?, SEQUENCE)?.content);
        let modulus = positive(&numbers.expect(INTEGER)?)?;
        let exponent = positive(&numbers.expect(INTEGER)?)?;
        numbers.is_empty().then_some((modulus, exponent))
    };
    let (modulus, exponent) = { numbers }().ok_or("CSR: the RSA key is malformed")?;
    if modulus.len() != 256 || modulus[0] & 0x80 == 0 {
        return Err("CSR: the RSA key is not of exactly 2048 bits");
    }
    Ok((modulus, exponent))
}

/// The only attribute: the cuId as a UTF8String of compact JSON.
fn check_attributes(attributes: &[u8], expected: &Expected<'_>) -> Result<(), &'static str> {
    let mut parts = Reader::new(attributes);
    let attribute = parts
        .expect(SEQUENCE)
        .ok_or("CSR: the machine's id (cuId) is missing from the attributes")?;
    if !parts.is_empty() {
        return Err("CSR: there are more attributes than the machine's id (cuId)");
    }
    let mut parts = Reader::new(attribute.content);
    if parts.expect(OID).is_none_or(|oid| oid.content != CU_ID_OID) {
        return Err("CSR: the attribute is not the machine's id (cuId, 1.3.6.1.4.1.311.90.2.10)");
    }
    let values = parts.expect(SET).filter(|_| parts.is_empty());
    let value = values.and_then(|values| only(values.content, UTF8_STRING));
    let Some(value) = value else {
        return Err("CSR: the machine's id (cuId) is not one UTF8String");
    };
    if value.content == expected.cu_id.as_bytes() {
        return Ok(());
    }
    Err(cu_id_problem(value.content, expected.cu_id))
}

fn cu_id_problem(given: &[u8], expected: &str) -> &'static str {
    let Ok(given) = serde_json::from_slice::<Value>(given) else {
        return "CSR: the machine's id (cuId) is not JSON";
    };
    let members = given.as_object();
    if members.is_some_and(|members| members.values().any(|value| value == "" || value.is_null())) {
        return "CSR: the machine's id (cuId) has an empty member";
    }
    match serde_json::from_str::<Value>(expected) {
        Ok(expected) if expected == given => {
            "CSR: the machine's id (cuId) is not compact JSON of vmId, then vmssId"
        }
        _ => "CSR: the machine's id (cuId) is not the one of this host",
    }
}

fn check_algorithm(algorithm: &[u8], lenient: bool) -> Result<(), &'static str> {
    if algorithm == PSS || (lenient && PSS_LENIENT.contains(&algorithm)) {
        return Ok(());
    }
    Err(
        "CSR: the signature algorithm is not RSASSA-PSS with SHA-256 identifiers without parameters, MGF1-SHA-256, salt 32 and no trailer field",
    )
}

/// 0.9.2342.19200300.100.1.25
const DOMAIN_COMPONENT: &[u8] = &[0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 0x01, 0x19];
/// 2.5.4.3
const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];
/// 1.3.6.1.4.1.311.90.2.10
const CU_ID_OID: &[u8] = &[0x2b, 0x06, 0x01, 0x04, 0x01, 0x82, 0x37, 0x5a, 0x02, 0x0a];

/// AlgorithmIdentifier of rsaEncryption (1.2.840.113549.1.1.1) with NULL.
const RSA_ENCRYPTION: &[u8] = &[
    0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00,
];

/// AlgorithmIdentifier of RSASSA-PSS, as seen on the wire of a live IMDS.
#[rustfmt::skip]
const PSS: &[u8] = &[
    0x30, 0x3d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0a, 0x30, 0x30,
    0xa0, 0x0d, 0x30, 0x0b, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01,
    0xa1, 0x1a, 0x30, 0x18, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x08,
    0x30, 0x0b, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01,
    0xa2, 0x03, 0x02, 0x01, 0x20,
];

/// The same with NULL parameters of SHA-256, without the trailer field, as libraries write it, and with it, as the Python
/// implementation does.
#[rustfmt::skip]
const PSS_LENIENT: &[&[u8]] = &[
    &[
        0x30, 0x41, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0a, 0x30, 0x34,
        0xa0, 0x0f, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00,
        0xa1, 0x1c, 0x30, 0x1a, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x08,
        0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00,
        0xa2, 0x03, 0x02, 0x01, 0x20,
    ],
    &[
        0x30, 0x46, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0a, 0x30, 0x39,
        0xa0, 0x0f, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00,
        0xa1, 0x1c, 0x30, 0x1a, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x08,
        0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00,
        0xa2, 0x03, 0x02, 0x01, 0x20, 0xa3, 0x03, 0x02, 0x01, 0x01,
    ],
];
