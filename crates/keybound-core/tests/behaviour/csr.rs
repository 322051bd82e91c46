//! The signing request, byte for byte. The golden request is encoded by OpenSSL: `tests/golden/make.sh`.
use crate::support::{CLIENT, KEY, TENANT, client, tenant};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use keybound_core::csr::{PSS_ALGORITHM, UnsignedCsr};
use keybound_core::{CuId, ErrorKind, Stage};
use keybound_keys::{BindingKey as _, SignatureScheme, verify};
use openssl::ec::{EcGroup, EcKey};
use openssl::nid::Nid;
use openssl::pkey::PKey;
use openssl::rsa::Rsa;

const GOLDEN_KEY: &[u8] = include_bytes!("../golden/public_key.der");
const GOLDEN_REQUEST: &[u8] = include_bytes!("../golden/request.der");

fn cu_id(vm: Option<&str>, vmss: Option<&str>) -> CuId {
    CuId::new(vm.map(Into::into), vmss.map(Into::into)).unwrap()
}

fn unsigned(cu_id: &CuId, public_key: &[u8]) -> keybound_core::Result<UnsignedCsr> {
    UnsignedCsr::new(&client(), &tenant(), cu_id, public_key)
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack
        .windows(needle.len())
        .any(|window| window == needle)
}

fn hex(text: &str) -> Vec<u8> {
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
        .collect()
}

#[test]
fn encodes_golden_request() {
    let cu_id = cu_id(
        Some("33333333-3333-3333-3333-333333333333"),
        Some("44444444-4444-4444-4444-444444444444"),
    );
    let unsigned = unsigned(&cu_id, GOLDEN_KEY).unwrap();
    let signature = &GOLDEN_REQUEST[GOLDEN_REQUEST.len() - 256..];
    let csr = unsigned.finish(signature).unwrap();
    assert_eq!(csr.der(), GOLDEN_REQUEST);
    assert!(verify(
        GOLDEN_KEY,
        SignatureScheme::PssSha256,
        &unsigned.digest(),
        signature
    ));
}

#[test]
fn subject_is_tenant_then_client() {
    let unsigned = unsigned(&cu_id(Some("v"), None), GOLDEN_KEY).unwrap();
    let ia5_string = 0x16;
    let printable_string = 0x13;
    let subject = [
        &hex("30653134303206") as &[u8],
        &hex("0a0992268993f22c640119"),
        &[ia5_string, 36],
        TENANT.as_bytes(),
        &hex("312d302b0603550403"),
        &[printable_string, 36],
        CLIENT.as_bytes(),
    ]
    .concat();
    let after_version = &unsigned.to_be_signed()[7..];
    assert_eq!(after_version[..subject.len()], subject);
}

#[test]
fn algorithm_has_the_form_for_imds() {
    let expected = "303d06092a864886f70d01010a3030a00d300b0609608648016503040201a11a301806092a864886f70d010108300b06096086\
                    48016503040201a203020120";
    assert_eq!(PSS_ALGORITHM[..], hex(expected));
    let csr = unsigned(&cu_id(Some("v"), None), GOLDEN_KEY)
        .unwrap()
        .finish(&[7; 256])
        .unwrap();
    let tail = [&PSS_ALGORITHM[..], &hex("0382010100"), &[7; 256]].concat();
    assert!(csr.der().ends_with(&tail));
}

#[test]
fn attribute_omits_missing_ids() {
    for (vm, vmss, json) in [
        (Some("v"), None, r#"{"vmId":"v"}"#),
        (Some("v"), Some(""), r#"{"vmId":"v"}"#),
        (None, Some("s"), r#"{"vmssId":"s"}"#),
        (Some("v"), Some("s"), r#"{"vmId":"v","vmssId":"s"}"#),
    ] {
        let unsigned = unsigned(&cu_id(vm, vmss), GOLDEN_KEY).unwrap();
        let length = |overhead: usize| u8::try_from(json.len() + overhead).unwrap();
        let mut attribute = vec![0xa0, length(18), 0x30, length(16)];
        attribute.extend(hex("060a2b0601040182375a020a"));
        attribute.extend([0x31, length(2), 0x0c, length(0)]);
        attribute.extend(json.as_bytes());
        assert!(unsigned.to_be_signed().ends_with(&attribute), "{json}");
    }
}

#[test]
fn contains_public_key_unchanged() {
    let unsigned = unsigned(&cu_id(Some("v"), None), GOLDEN_KEY).unwrap();
    assert!(contains(unsigned.to_be_signed(), GOLDEN_KEY));
}

#[test]
fn wire_form_is_one_line_of_base64() {
    let csr = unsigned(&cu_id(Some("v"), None), GOLDEN_KEY)
        .unwrap()
        .finish(&[7; 256])
        .unwrap();
    let wire = csr.to_wire();
    assert!(!wire.contains(char::is_whitespace) && !wire.contains("BEGIN"));
    assert_eq!(STANDARD.decode(wire).unwrap(), csr.der());
}

#[test]
fn signature_of_binding_key_is_valid() {
    let unsigned = unsigned(&cu_id(Some("v"), None), KEY.public_key_der()).unwrap();
    let signature = KEY
        .sign(SignatureScheme::PssSha256, &unsigned.digest())
        .unwrap();
    let csr = unsigned.finish(&signature).unwrap();
    let request = openssl::x509::X509Req::from_der(csr.der()).unwrap();
    assert!(request.verify(&request.public_key().unwrap()).unwrap());
}

#[test]
fn rejects_signature_of_another_length() {
    let unsigned = unsigned(&cu_id(Some("v"), None), GOLDEN_KEY).unwrap();
    for length in [0, 32, 255, 257, 512] {
        let error = unsigned.finish(&vec![7; length]).unwrap_err();
        assert_eq!(
            (error.kind(), error.stage()),
            (ErrorKind::KeyFailed, Stage::Key)
        );
    }
}

#[test]
fn rejects_keys_other_than_rsa_2048() {
    let rsa = |bits| {
        PKey::from_rsa(Rsa::generate(bits).unwrap())
            .unwrap()
            .public_key_to_der()
            .unwrap()
    };
    let curve = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
    let elliptic = PKey::from_ec_key(EcKey::generate(&curve).unwrap()).unwrap();
    let without_null = {
        // The same key, its algorithm without parameters: two bytes fewer, in three lengths.
        let mut key = GOLDEN_KEY.to_vec();
        key.drain(17..19);
        key[3] -= 2;
        key[5] -= 2;
        key
    };
    let trailing = [GOLDEN_KEY, &[0]].concat();
    for key in [
        rsa(1024),
        rsa(2047),
        rsa(2056),
        elliptic.public_key_to_der().unwrap(),
        without_null,
        trailing,
        GOLDEN_KEY[..200].to_vec(),
        Vec::new(),
        b"garbage".to_vec(),
    ] {
        let error = unsigned(&cu_id(Some("v"), None), &key).unwrap_err();
        assert_eq!(
            (error.kind(), error.stage()),
            (ErrorKind::KeyFailed, Stage::Key)
        );
    }
}
