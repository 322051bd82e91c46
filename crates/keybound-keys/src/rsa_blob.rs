//! Conversion of RSA-2048 public keys between the format of CNG and SubjectPublicKeyInfo.

/// Converts a `BCRYPT_RSAKEY_BLOB` with a public key (`RSAPUBLICBLOB`) to SubjectPublicKeyInfo in DER. `None` unless it is
/// exactly a public RSA-2048 key: the magic, every length, no trailing bytes, a modulus of 2048 bits, an odd exponent.
///
/// Layout: <https://learn.microsoft.com/windows/win32/api/bcrypt/ns-bcrypt-bcrypt_rsakey_blob>.
pub(crate) fn public_key_info(blob: &[u8]) -> Option<Vec<u8>> {
    let (header, rest) = blob.split_at_checked(HEADER)?;
    let field = |index: usize| {
        let bytes = header.get(index * 4..index * 4 + 4)?;
        Some(u32::from_le_bytes(bytes.try_into().ok()?))
    };
    let exponent_length = usize::try_from(field(2)?).ok()?;
    let fixed = [(0, MAGIC), (1, BITS), (3, MODULUS as u32), (4, 0), (5, 0)];
    let is_rsa_2048 = fixed
        .iter()
        .all(|(index, value)| field(*index) == Some(*value));
    if !is_rsa_2048 || rest.len() != exponent_length.checked_add(MODULUS)? {
        return None;
    }
    let (exponent, modulus) = rest.split_at_checked(exponent_length)?;
    let is_valid = (1..=MAX_EXPONENT).contains(&exponent.len())
        && exponent.first().is_some_and(|first| *first != 0)
        && exponent.last().is_some_and(|last| last % 2 == 1)
        && exponent != [1]
        && modulus.first().is_some_and(|first| *first >= 0x80)
        && modulus.last().is_some_and(|last| last % 2 == 1);
    is_valid.then(|| encode(modulus, exponent))
}

/// The key length in the header of a public RSA key's blob, in bits. `None` for other blobs.
#[cfg(any(windows, test))]
pub(crate) fn bits(blob: &[u8]) -> Option<u32> {
    let (magic, rest) = blob.split_first_chunk()?;
    let (bits, _) = rest.split_first_chunk()?;
    (u32::from_le_bytes(*magic) == MAGIC).then(|| u32::from_le_bytes(*bits))
}

/// Converts SubjectPublicKeyInfo of an RSA-2048 key to a `BCRYPT_RSAKEY_BLOB`. `None` unless the input is, byte for byte, the
/// output of [`public_key_info`].
pub(crate) fn public_blob(info: &[u8]) -> Option<Vec<u8>> {
    let (modulus, rest) = info.get(BEFORE_MODULUS..)?.split_at_checked(MODULUS)?;
    let exponent = rest.get(BEFORE_EXPONENT..)?;
    let exponent = exponent.strip_prefix(&[0]).unwrap_or(exponent);
    let header = [
        MAGIC,
        BITS,
        u32::try_from(exponent.len()).ok()?,
        MODULUS as u32,
        0,
        0,
    ];
    let mut blob = Vec::with_capacity(HEADER + exponent.len() + MODULUS);
    blob.extend(header.iter().flat_map(|field| field.to_le_bytes()));
    blob.extend_from_slice(exponent);
    blob.extend_from_slice(modulus);
    (public_key_info(&blob)? == info).then_some(blob)
}

fn encode(modulus: &[u8], exponent: &[u8]) -> Vec<u8> {
    let key = der(SEQUENCE, &[integer(modulus), integer(exponent)].concat());
    let bits = der(BIT_STRING, &[&[0][..], &key].concat());
    der(SEQUENCE, &[&RSA_ENCRYPTION[..], &bits].concat())
}

/// An INTEGER with a positive value.
fn integer(bytes: &[u8]) -> Vec<u8> {
    let high = bytes.first().is_some_and(|first| *first >= 0x80);
    let sign: &[u8] = if high { &[0] } else { &[] };
    der(INTEGER, &[sign, bytes].concat())
}

/// An element with at most 65535 bytes of content.
fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    let [high, low] = (content.len() as u16).to_be_bytes();
    let mut out = match content.len() {
        0..=0x7f => vec![tag, low],
        0x80..=0xff => vec![tag, 0x81, low],
        _ => vec![tag, 0x82, high, low],
    };
    out.extend_from_slice(content);
    out
}

const HEADER: usize = 24;
/// `BCRYPT_RSAPUBLIC_MAGIC`, "RSA1".
const MAGIC: u32 = 0x3141_5352;
const BITS: u32 = 2048;
const MODULUS: usize = 256;
/// 64 bits, the maximum of .NET and OpenSSL.
const MAX_EXPONENT: usize = 8;
/// Four headers of four bytes (of the outer SEQUENCE, BIT STRING, key and modulus), the algorithm, the count of unused bits, the
/// sign of the modulus.
const BEFORE_MODULUS: usize = 4 * 4 + RSA_ENCRYPTION.len() + 2;
/// Tag and length.
const BEFORE_EXPONENT: usize = 2;
const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const SEQUENCE: u8 = 0x30;
/// AlgorithmIdentifier of rsaEncryption with NULL (RFC 8017).
const RSA_ENCRYPTION: [u8; 15] = [
    0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00,
];

#[cfg(test)]
pub(crate) mod tests;
