use super::*;
use openssl::pkey::PKey;
use openssl::rsa::Rsa;

/// The blob of a public key, as CNG exports it.
pub(crate) fn blob_of(public_key: &[u8]) -> Vec<u8> {
    let key = PKey::public_key_from_der(public_key).unwrap();
    let rsa = key.rsa().unwrap();
    let (modulus, exponent) = (rsa.n().to_vec(), rsa.e().to_vec());
    let lengths = [
        MAGIC,
        modulus.len() as u32 * 8,
        exponent.len() as u32,
        modulus.len() as u32,
        0,
        0,
    ];
    let mut blob: Vec<u8> = lengths
        .iter()
        .flat_map(|number| number.to_le_bytes())
        .collect();
    blob.extend(exponent);
    blob.extend(modulus);
    blob
}

fn public_key(bits: u32) -> Vec<u8> {
    let key = PKey::from_rsa(Rsa::generate(bits).unwrap()).unwrap();
    key.public_key_to_der().unwrap()
}

#[test]
fn converts_a_blob_to_the_encoding_of_openssl() {
    let public = public_key(2048);
    assert_eq!(public_key_info(&blob_of(&public)), Some(public));
}

#[test]
fn converts_the_encoding_of_openssl_to_a_blob() {
    let public = public_key(2048);
    assert_eq!(public_blob(&public), Some(blob_of(&public)));
}

#[test]
fn rejects_other_key_lengths() {
    for bits in [1024, 3072] {
        let public = public_key(bits);
        assert_eq!(public_key_info(&blob_of(&public)), None);
        assert_eq!(public_blob(&public), None);
    }
}

#[test]
fn rejects_non_canonical_encodings() {
    let public = public_key(2048);
    for length in 0..public.len() {
        assert_eq!(public_blob(&public[..length]), None, "{length}");
    }
    assert_eq!(public_blob(&[&public[..], &[0]].concat()), None);
    let modulus = BEFORE_MODULUS..BEFORE_MODULUS + MODULUS;
    for position in (0..public.len()).filter(|position| !modulus.contains(position)) {
        let mut changed = public.clone();
        changed[position] ^= 0x81;
        let blob = public_blob(&changed);
        assert!(
            blob.is_none_or(|blob| public_key_info(&blob) == Some(changed)),
            "{position}"
        );
    }
}

#[test]
fn checks_every_length() {
    let blob = blob_of(&public_key(2048));
    for length in 0..blob.len() {
        assert_eq!(public_key_info(&blob[..length]), None, "{length}");
    }
    assert_eq!(public_key_info(&[&blob[..], &[0]].concat()), None);
    for position in 0..HEADER {
        let mut changed = blob.clone();
        changed[position] ^= 0x80;
        assert_eq!(public_key_info(&changed), None, "{position}");
    }
    for (from, to) in [(HEADER, 0), (HEADER + 2, 0), (HEADER + 3, 0x7f)] {
        let mut changed = blob.clone();
        changed[from] = to;
        assert_eq!(public_key_info(&changed), None, "{from}");
    }
    let mut even = blob;
    *even.last_mut().unwrap() &= 0xfe;
    assert_eq!(public_key_info(&even), None);
}

#[test]
fn encodes_exponents_up_to_64_bits() {
    let modulus = [0x81; MODULUS];
    for exponent in [&[3][..], &[0x81], &[1, 0, 1], &[0xff, 1, 1, 1, 1, 1, 1, 1]] {
        let info = encode(&modulus, exponent);
        let key = PKey::public_key_from_der(&info).unwrap();
        assert_eq!(key.rsa().unwrap().e().to_vec(), exponent);
        let blob = blob_of(&info);
        assert_eq!(public_blob(&info).as_ref(), Some(&blob));
        assert_eq!(public_key_info(&blob), Some(info));
    }
    for exponent in [&[1, 1, 1, 1, 1, 1, 1, 1, 1][..], &[1], &[1, 0]] {
        let info = encode(&modulus, exponent);
        assert_eq!(public_blob(&info), None);
        assert_eq!(public_key_info(&blob_of(&info)), None);
    }
}
