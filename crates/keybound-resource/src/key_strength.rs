use der::asn1::{AnyRef, BitStringRef, ObjectIdentifier, UintRef};
use der::{Decode as _, Sequence};

/// Whether a public key (SubjectPublicKeyInfo in DER) is weaker than RSA-2048 and P-256. `None` if it is malformed, or of a type that TLS
/// does not use for clients.
///
/// Type and size decide. To build a key of OpenSSL for each certificate costs more than all other checks of a request together, and adds
/// nothing: TLS has verified a signature with the key, which no key with a modulus or a point that is none can have.
pub(crate) fn has_weak_key(public_key: &[u8]) -> Option<bool> {
    let info = PublicKeyInfo::from_der(public_key).ok()?;
    let Algorithm { oid, parameters } = info.algorithm;
    let key = info.key.as_bytes()?;
    match oid {
        RSA | RSA_PSS => has_weak_rsa_key(key),
        EC => has_weak_point(key, parameters?),
        ED25519 => is_plain(key, 32, parameters),
        ED448 => is_plain(key, 57, parameters),
        _ => None,
    }
}

/// SubjectPublicKeyInfo (RFC 5280 section 4.1).
#[derive(Sequence)]
struct PublicKeyInfo<'a> {
    algorithm: Algorithm<'a>,
    key: BitStringRef<'a>,
}

/// AlgorithmIdentifier (RFC 5280 section 4.1.1.2).
#[derive(Sequence)]
struct Algorithm<'a> {
    oid: ObjectIdentifier,
    parameters: Option<AnyRef<'a>>,
}

/// RSAPublicKey (RFC 8017 appendix A.1.1).
#[derive(Sequence)]
struct RsaKey<'a> {
    modulus: UintRef<'a>,
    exponent: UintRef<'a>,
}

/// An even number, or the exponent 1, is that of no key.
fn has_weak_rsa_key(key: &[u8]) -> Option<bool> {
    let key = RsaKey::from_der(key).ok()?;
    let (modulus, exponent) = (key.modulus.as_bytes(), key.exponent.as_bytes());
    let is_odd = |number: &[u8]| number.last().is_some_and(|byte| byte & 1 == 1);
    if !is_odd(modulus) || !is_odd(exponent) || exponent == [1] {
        return None;
    }
    let unused = modulus.first()?.leading_zeros() as usize;
    Some(modulus.len() * 8 - unused < MIN_RSA_BITS)
}

/// Of a curve that TLS uses. All others are weak: their parameters may be the client's own.
fn has_weak_point(point: &[u8], parameters: AnyRef<'_>) -> Option<bool> {
    let curve = parameters.decode_as::<ObjectIdentifier>().ok();
    let known = CURVES.iter().find(|(oid, _)| Some(*oid) == curve);
    let Some((_, length)) = known else {
        return Some(true);
    };
    let has_length = match point.first()? {
        2 | 3 => point.len() == 1 + length,
        4 => point.len() == 1 + 2 * length,
        _ => false,
    };
    has_length.then_some(false)
}

fn is_plain(key: &[u8], length: usize, parameters: Option<AnyRef<'_>>) -> Option<bool> {
    (key.len() == length && parameters.is_none()).then_some(false)
}

const MIN_RSA_BITS: usize = 2048;
const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const RSA_PSS: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.10");
const EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");
const ED448: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.113");
/// With the length of a coordinate in bytes: the curves of NIST (RFC 8446 section 4.2.7) and Brainpool (RFC 7027).
const CURVES: [(ObjectIdentifier, usize); 7] = [
    (ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7"), 32),
    (ObjectIdentifier::new_unwrap("1.3.132.0.34"), 48),
    (ObjectIdentifier::new_unwrap("1.3.132.0.35"), 66),
    (ObjectIdentifier::new_unwrap("1.3.36.3.3.2.8.1.1.7"), 32),
    (ObjectIdentifier::new_unwrap("1.3.36.3.3.2.8.1.1.9"), 40),
    (ObjectIdentifier::new_unwrap("1.3.36.3.3.2.8.1.1.11"), 48),
    (ObjectIdentifier::new_unwrap("1.3.36.3.3.2.8.1.1.13"), 64),
];

#[cfg(test)]
mod tests {
    use super::*;
    use openssl::bn::BigNum;
    use openssl::ec::{Asn1Flag, EcGroup, EcKey};
    use openssl::nid::Nid;
    use openssl::pkey::{HasPublic, Id, PKey, PKeyRef};
    use openssl::rsa::Rsa;

    #[test]
    fn agrees_with_openssl_about_usual_keys() {
        let mut keys = Vec::new();
        for bits in [512, 1024, 2047, 2048, 2049, 3072, 4096, 8192] {
            keys.push(der(&rsa(bits, 65537)));
        }
        keys.push(der(&rsa(2048, 3)));
        for curve in [
            Nid::SECP224R1,
            Nid::X9_62_PRIME256V1,
            Nid::SECP384R1,
            Nid::SECP521R1,
            Nid::BRAINPOOL_P256R1,
            Nid::BRAINPOOL_P320R1,
            Nid::BRAINPOOL_P384R1,
            Nid::BRAINPOOL_P512R1,
        ] {
            keys.push(der(&ec(curve, Asn1Flag::NAMED_CURVE)));
        }
        keys.push(der(&PKey::generate_ed25519().unwrap()));
        keys.push(der(&PKey::generate_ed448().unwrap()));
        keys.push(der(&PKey::generate_x25519().unwrap()));
        for key in keys {
            let found = has_weak_key(&key);
            assert_eq!(found, by_openssl(&key), "{}", key.escape_ascii());
            for end in 0..key.len() {
                assert_eq!(has_weak_key(&key[..end]), None);
            }
            assert_eq!(has_weak_key(&[&key[..], &[0]].concat()), None);
        }
    }

    #[test]
    fn refuses_other_keys() {
        let even = BigNum::from_slice(&[0xf0; 256]).unwrap();
        let modulus = rsa(2048, 3).rsa().unwrap().n().to_owned().unwrap();
        let public = |n: BigNum, e: u32| {
            let key = Rsa::from_public_components(n, BigNum::from_u32(e).unwrap()).unwrap();
            der(&PKey::from_rsa(key).unwrap())
        };
        assert_eq!(has_weak_key(&public(even, 65537)), None);
        assert_eq!(has_weak_key(&public(modulus.to_owned().unwrap(), 1)), None);
        assert_eq!(has_weak_key(&public(modulus, 65536)), None);
        for (curve, flag) in [
            (Nid::X9_62_PRIME256V1, Asn1Flag::EXPLICIT_CURVE),
            (Nid::SECP256K1, Asn1Flag::NAMED_CURVE),
        ] {
            assert_eq!(has_weak_key(&der(&ec(curve, flag))), Some(true));
        }
    }

    /// That of a key of OpenSSL.
    fn by_openssl(public_key: &[u8]) -> Option<bool> {
        let key = PKey::public_key_from_der(public_key).ok()?;
        match key.id() {
            Id::RSA => Some(key.bits() < 2048),
            Id::EC => Some(key.bits() < 256 || key.ec_key().ok()?.group().curve_name().is_none()),
            Id::ED25519 | Id::ED448 => Some(false),
            _ => None,
        }
    }

    /// A number of this length in place of a product of primes, which takes long to find.
    fn rsa(bits: i32, exponent: u32) -> PKey<openssl::pkey::Public> {
        let mut modulus = BigNum::new().unwrap();
        modulus.set_bit(bits - 1).unwrap();
        modulus.set_bit(0).unwrap();
        let exponent = BigNum::from_u32(exponent).unwrap();
        PKey::from_rsa(Rsa::from_public_components(modulus, exponent).unwrap()).unwrap()
    }

    fn ec(curve: Nid, flag: Asn1Flag) -> PKey<openssl::pkey::Private> {
        let mut group = EcGroup::from_curve_name(curve).unwrap();
        group.set_asn1_flag(flag);
        PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap()
    }

    fn der<T: HasPublic>(key: &PKeyRef<T>) -> Vec<u8> {
        key.public_key_to_der().unwrap()
    }
}
