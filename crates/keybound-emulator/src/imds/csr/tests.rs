//! Valid CSRs, and each kind of invalid one.
// The programs openssl and python3 are used on Unix only.
#[cfg(unix)]
mod oracles;

use super::der::{
    BIT_STRING, CONTEXT_0, IA5_STRING, INTEGER, OID, PRINTABLE_STRING, SEQUENCE, SET, UTF8_STRING,
};
use super::*;
use keybound_core::csr::UnsignedCsr;
use keybound_core::{CuId, Guid};
use keybound_keys::memory::MemoryKey;
use keybound_keys::{BindingKey, SignatureScheme};
use openssl::rsa::Rsa;
use std::sync::LazyLock;

const CLIENT: &str = "11111111-1111-4111-8111-11111111111a";
const TENANT: &str = "22222222-2222-4222-8222-22222222222b";
const CU_ID: &str = r#"{"vmId":"v","vmssId":"s"}"#;

fn expected(lenient: bool) -> Expected<'static> {
    Expected {
        client_id: CLIENT,
        tenant_id: TENANT,
        cu_id: CU_ID,
        lenient,
    }
}

static KEY: LazyLock<MemoryKey> = LazyLock::new(|| MemoryKey::generate().unwrap());

/// The parts of a CSR, each of which a test can replace.
#[derive(Clone)]
struct Draft {
    version: Vec<u8>,
    subject: Vec<u8>,
    public_key: Vec<u8>,
    attributes: Vec<u8>,
    algorithm: Vec<u8>,
    after_info: Vec<u8>,
}

impl Draft {
    /// A valid CSR.
    fn valid() -> Self {
        let domain = name(DOMAIN_COMPONENT, IA5_STRING, TENANT);
        let common = name(COMMON_NAME, PRINTABLE_STRING, CLIENT);
        Self {
            version: tlv(INTEGER, &[0]),
            subject: tlv(SEQUENCE, &[domain, common].concat()),
            public_key: KEY.public_key_der().to_vec(),
            attributes: tlv(CONTEXT_0, &cu_id(UTF8_STRING, CU_ID)),
            algorithm: PSS.to_vec(),
            after_info: vec![],
        }
    }

    fn info(&self) -> Vec<u8> {
        let parts = [
            &self.version,
            &self.subject,
            &self.public_key,
            &self.attributes,
            &self.after_info,
        ];
        tlv(SEQUENCE, &parts.map(Vec::as_slice).concat())
    }

    /// The CSR with a valid signature.
    fn signed(&self) -> Vec<u8> {
        let digest = openssl::sha::sha256(&self.info());
        self.with_signature(&KEY.sign(SignatureScheme::PssSha256, &digest).unwrap())
    }

    fn with_signature(&self, signature: &[u8]) -> Vec<u8> {
        let signature = tlv(BIT_STRING, &[&[0], signature].concat());
        tlv(
            SEQUENCE,
            &[self.info(), self.algorithm.clone(), signature].concat(),
        )
    }

    fn subject(parts: &[Vec<u8>]) -> Self {
        Self {
            subject: tlv(SEQUENCE, &parts.concat()),
            ..Self::valid()
        }
    }

    fn attributes(content: &[u8]) -> Self {
        Self {
            attributes: tlv(CONTEXT_0, content),
            ..Self::valid()
        }
    }
}

fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len();
    let mut bytes = match length {
        0..0x80 => vec![tag, length as u8],
        0x80..0x100 => vec![tag, 0x81, length as u8],
        _ => vec![tag, 0x82, (length >> 8) as u8, length as u8],
    };
    bytes.extend_from_slice(content);
    bytes
}

fn name(oid: &[u8], tag: u8, text: &str) -> Vec<u8> {
    let attribute = [tlv(OID, oid), tlv(tag, text.as_bytes())].concat();
    tlv(SET, &tlv(SEQUENCE, &attribute))
}

fn cu_id(tag: u8, json: &str) -> Vec<u8> {
    attribute(CU_ID_OID, &tlv(tag, json.as_bytes()))
}

fn attribute(oid: &[u8], values: &[u8]) -> Vec<u8> {
    tlv(SEQUENCE, &[tlv(OID, oid), tlv(SET, values)].concat())
}

fn problem(der: &[u8]) -> &'static str {
    check(der, &expected(false)).map(|_| ()).unwrap_err()
}

#[test]
fn accepts_the_csr_of_the_client() {
    let cu_id = CuId::new(Some("v".into()), Some("s".into())).unwrap();
    let (client, tenant) = (Guid::parse(CLIENT).unwrap(), Guid::parse(TENANT).unwrap());
    let csr = UnsignedCsr::new(&client, &tenant, &cu_id, KEY.public_key_der()).unwrap();
    let csr = csr
        .finish(&KEY.sign(SignatureScheme::PssSha256, &csr.digest()).unwrap())
        .unwrap();
    let checked = check(csr.der(), &expected(false)).unwrap();
    assert_eq!(checked.public_key, KEY.public_key_der());
    assert_eq!(
        (checked.modulus.len(), checked.exponent),
        (256, &[1, 0, 1][..])
    );
    assert!(check(csr.der(), &expected(true)).is_ok());
}

#[test]
fn accepts_the_csr_of_these_tests() {
    check(&Draft::valid().signed(), &expected(false)).unwrap();
}

#[test]
fn rejects_invalid_framing() {
    let valid = Draft::valid().signed();
    let shape = "CSR: not of info, signature algorithm and signature";
    let frame = "CSR: not one DER SEQUENCE, or bytes follow it";
    assert_eq!(problem(&[]), frame);
    assert_eq!(problem(&[&valid[..], &[0]].concat()), frame);
    assert_eq!(problem(&valid[..valid.len() - 1]), frame);
    assert_eq!(problem(&tlv(SET, b"")), frame);
    assert_eq!(problem(&tlv(SEQUENCE, b"")), shape);
    let content = only(&valid, SEQUENCE).unwrap().content;
    assert_eq!(
        problem(&tlv(SEQUENCE, &[content, &tlv(INTEGER, &[1])].concat())),
        shape
    );
    // A length that is not in its shortest form: BER, not DER.
    let length = (valid.len() - 4) as u16;
    let loose = [&[SEQUENCE, 0x83, 0], &length.to_be_bytes()[..], &valid[4..]].concat();
    assert_eq!(problem(&loose), frame);
    for length in 0..valid.len() {
        assert!(check(&valid[..length], &expected(true)).is_err());
    }
}

#[test]
fn checks_version_and_structure() {
    for version in [tlv(INTEGER, &[1]), tlv(INTEGER, &[0, 0]), tlv(OID, &[0])] {
        assert_eq!(
            problem(
                &Draft {
                    version,
                    ..Draft::valid()
                }
                .signed()
            ),
            "CSR: the version is not 0"
        );
    }
    let without = Draft {
        attributes: vec![],
        ..Draft::valid()
    };
    assert_eq!(
        problem(&without.signed()),
        "CSR: no attributes, the machine's id (cuId) is missing"
    );
    let more = Draft {
        after_info: tlv(INTEGER, &[1]),
        ..Draft::valid()
    };
    assert_eq!(
        problem(&more.signed()),
        "CSR: something follows the attributes"
    );
    let wrong = Draft {
        subject: vec![],
        ..Draft::valid()
    };
    assert_eq!(
        problem(&wrong.signed()),
        "CSR: no subject and public key after the version"
    );
}

#[test]
fn checks_order_types_and_values_of_the_subject() {
    let (dc, cn) = (DOMAIN_COMPONENT, COMMON_NAME);
    let (domain, common) = (
        name(dc, IA5_STRING, TENANT),
        name(cn, PRINTABLE_STRING, CLIENT),
    );
    let other = "33333333-3333-4333-8333-333333333333";
    let two = [tlv(
        SEQUENCE,
        &[tlv(OID, cn), tlv(PRINTABLE_STRING, b"a")].concat(),
    )]
    .concat()
    .repeat(2);
    for (parts, part) in [
        (vec![common.clone(), domain.clone()], "wrong order"),
        (
            vec![name(dc, UTF8_STRING, TENANT), common.clone()],
            "DC of the subject is not an IA5String",
        ),
        (
            vec![domain.clone(), name(cn, UTF8_STRING, CLIENT)],
            "CN of the subject is not a PrintableString",
        ),
        (
            vec![name(dc, IA5_STRING, other), common.clone()],
            "DC of the subject is not the tenant id",
        ),
        (
            vec![domain.clone(), name(cn, PRINTABLE_STRING, other)],
            "CN of the subject is not the client id",
        ),
        (
            vec![
                domain.clone(),
                name(cn, PRINTABLE_STRING, &CLIENT.to_uppercase()),
            ],
            "not the client id",
        ),
        (
            vec![
                domain.clone(),
                name(&[0x55, 4, 10], PRINTABLE_STRING, CLIENT),
            ],
            "not of DC and CN",
        ),
        (vec![domain.clone(), domain.clone()], "not of DC and CN"),
        (vec![domain.clone()], "not of two names"),
        (
            vec![domain.clone(), common.clone(), common.clone()],
            "not of two names",
        ),
        (vec![domain.clone(), tlv(SET, &two)], "not of two names"),
        (vec![domain.clone(), tlv(SET, b"")], "not of two names"),
    ] {
        let message = problem(&Draft::subject(&parts).signed());
        assert!(message.contains(part), "{part}: {message}");
    }
}

#[test]
fn accepts_only_rsa_keys_of_2048_bits_with_null_parameters() {
    let rsa = |bits| Rsa::generate(bits).unwrap().public_key_to_der().unwrap();
    let of = |public_key| {
        problem(
            &Draft {
                public_key,
                ..Draft::valid()
            }
            .signed(),
        )
    };
    let size = "CSR: the RSA key is not of exactly 2048 bits";
    assert_eq!(of(rsa(1024)), size);
    assert_eq!(of(rsa(2056)), size);
    assert_eq!(of(rsa(2047)), size);
    let bits = KEY.public_key_der()[19..].to_vec();
    let algorithm = |parameters: &[u8]| {
        tlv(
            SEQUENCE,
            &[
                tlv(OID, &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1]),
                parameters.to_vec(),
            ]
            .concat(),
        )
    };
    let rebuilt = |parameters: &[u8], bits: &[u8]| {
        tlv(SEQUENCE, &[algorithm(parameters), bits.to_vec()].concat())
    };
    assert_eq!(rebuilt(&[5, 0], &bits), KEY.public_key_der());
    assert_eq!(
        of(rebuilt(&[], &bits)),
        "CSR: the key is not rsaEncryption with NULL parameters"
    );
    let malformed = "CSR: the RSA key is malformed";
    assert_eq!(
        of(rebuilt(&[5, 0], &[bits.clone(), tlv(5, b"")].concat())),
        malformed
    );
    assert_eq!(
        of(rebuilt(&[5, 0], &tlv(BIT_STRING, &[1, 2, 3]))),
        malformed
    );
    assert_eq!(of(rebuilt(&[5, 0], &tlv(BIT_STRING, &[0]))), malformed);
}

#[test]
fn accepts_only_the_exact_cu_id_attribute() {
    let id = cu_id(UTF8_STRING, CU_ID);
    for (attributes, part) in [
        (vec![], "missing from the attributes"),
        ([id.clone(), id.clone()].concat(), "more attributes"),
        (
            attribute(&[0x2a, 3], &tlv(UTF8_STRING, CU_ID.as_bytes())),
            "is not the machine's id",
        ),
        (cu_id(PRINTABLE_STRING, CU_ID), "not one UTF8String"),
        (attribute(CU_ID_OID, b""), "not one UTF8String"),
        (
            attribute(
                CU_ID_OID,
                &[tlv(UTF8_STRING, CU_ID.as_bytes()), tlv(5, b"")].concat(),
            ),
            "not one UTF8String",
        ),
        (
            cu_id(UTF8_STRING, r#"{"vmId": "v", "vmssId": "s"}"#),
            "not compact JSON",
        ),
        (
            cu_id(UTF8_STRING, r#"{"vmssId":"s","vmId":"v"}"#),
            "not compact JSON",
        ),
        (
            cu_id(UTF8_STRING, r#"{"vmId":"v","vmssId":""}"#),
            "has an empty member",
        ),
        (
            cu_id(UTF8_STRING, r#"{"vmId":"v","vmssId":null}"#),
            "has an empty member",
        ),
        (
            cu_id(UTF8_STRING, r#"{"vmId":"v"}"#),
            "not the one of this host",
        ),
        (cu_id(UTF8_STRING, "v"), "not JSON"),
    ] {
        let message = problem(&Draft::attributes(&attributes).signed());
        assert!(message.contains(part), "{part}: {message}");
    }
}

#[test]
fn compares_the_signature_algorithm_byte_for_byte() {
    let pkcs1 = tlv(
        SEQUENCE,
        &[
            tlv(OID, &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 11]),
            vec![5, 0],
        ]
        .concat(),
    );
    let mut salt_20 = PSS.to_vec();
    *salt_20.last_mut().unwrap() = 20;
    for algorithm in [
        pkcs1,
        salt_20,
        PSS_LENIENT[0].to_vec(),
        PSS_LENIENT[1].to_vec(),
    ] {
        let problem = problem(
            &Draft {
                algorithm,
                ..Draft::valid()
            }
            .signed(),
        );
        assert!(problem.contains("signature algorithm"), "{problem}");
    }
}

#[test]
fn verifies_the_signature_with_the_key_of_the_csr() {
    let draft = Draft::valid();
    let part = "the signature is invalid";
    let digest = openssl::sha::sha256(&draft.info());
    let other_key = MemoryKey::generate()
        .unwrap()
        .sign(SignatureScheme::PssSha256, &digest)
        .unwrap();
    assert!(problem(&draft.with_signature(&other_key)).contains(part));
    let other_digest = KEY.sign(SignatureScheme::PssSha256, &[7; 32]).unwrap();
    assert!(problem(&draft.with_signature(&other_digest)).contains(part));
    let pkcs1 = KEY.sign(SignatureScheme::Pkcs1Sha256, &digest).unwrap();
    assert!(problem(&draft.with_signature(&pkcs1)).contains(part));
    assert!(problem(&draft.with_signature(b"")).contains(part));
    let valid = KEY.sign(SignatureScheme::PssSha256, &digest).unwrap();
    let bits = tlv(BIT_STRING, &[&[1], &valid[..]].concat());
    let request = tlv(SEQUENCE, &[draft.info(), PSS.to_vec(), bits].concat());
    assert!(problem(&request).contains("whole bytes"));
    assert!(
        openssl::error::ErrorStack::get().errors().is_empty(),
        "the error queue is not empty"
    );
}

#[test]
fn accepts_the_python_form_only_if_lenient() {
    let python = [
        name(COMMON_NAME, UTF8_STRING, CLIENT),
        name(DOMAIN_COMPONENT, IA5_STRING, TENANT),
    ];
    for algorithm in PSS_LENIENT {
        let request = Draft {
            algorithm: algorithm.to_vec(),
            ..Draft::subject(&python)
        }
        .signed();
        check(&request, &expected(true)).unwrap();
        assert!(problem(&request).contains("wrong order"));
    }
    // Nothing else is accepted.
    let other = [
        python[0].clone(),
        name(DOMAIN_COMPONENT, IA5_STRING, CLIENT),
    ];
    assert!(check(&Draft::subject(&other).signed(), &expected(true)).is_err());
    let printable = [
        name(COMMON_NAME, PRINTABLE_STRING, CLIENT),
        python[1].clone(),
    ];
    assert!(check(&Draft::subject(&printable).signed(), &expected(true)).is_err());
}
