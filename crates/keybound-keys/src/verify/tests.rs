use super::*;
use crate::KeyStrength;
use crate::memory::{MemoryKey, set_scheme};
use openssl::ec::{EcGroup, EcKey};
use openssl::error::ErrorStack;
use openssl::md::Md;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::pkey_ctx::{PkeyCtx, PkeyCtxRef};
use openssl::rsa::{Padding, Rsa};
use openssl::sign::RsaPssSaltlen;
use std::sync::LazyLock;

/// The implementations of this platform, all with the same test cases.
const IMPLEMENTATIONS: &[(&str, Verify)] = &[
    ("OpenSSL", by_openssl::verify),
    #[cfg(windows)]
    ("CNG", crate::windows::bcrypt::verify),
];

const SCHEMES: [SignatureScheme; 6] = [
    SignatureScheme::Pkcs1Sha256,
    SignatureScheme::Pkcs1Sha384,
    SignatureScheme::Pkcs1Sha512,
    SignatureScheme::PssSha256,
    SignatureScheme::PssSha384,
    SignatureScheme::PssSha512,
];
const SCHEME: SignatureScheme = SignatureScheme::PssSha256;

/// An input of `verify`. OpenSSL created the signature in every case.
struct Case {
    name: String,
    public_key: Vec<u8>,
    scheme: SignatureScheme,
    digest: Vec<u8>,
    signature: Vec<u8>,
}

impl Case {
    fn valid(scheme: SignatureScheme) -> Self {
        let digest = vec![7; scheme.digest_len()];
        Self {
            name: format!("{scheme:?}"),
            public_key: KEY.public_key_to_der().unwrap(),
            scheme,
            signature: sign(&KEY, scheme, &digest, |_| Ok(())),
            digest,
        }
    }

    /// PSS with SHA-256, signed with other parameters.
    fn signed_with(name: &str, change: Change) -> Self {
        let case = Self::valid(SCHEME).named(name);
        Self {
            signature: sign(&KEY, SCHEME, &case.digest, change),
            ..case
        }
    }

    /// PSS with SHA-256, signed by a key of another length.
    fn of_rsa(bits: u32) -> Self {
        let key = PKey::from_rsa(Rsa::generate(bits).unwrap()).unwrap();
        let case = Self::valid(SCHEME).named(&format!("RSA-{bits}"));
        Self {
            signature: sign(&key, SCHEME, &case.digest, |_| Ok(())),
            public_key: key.public_key_to_der().unwrap(),
            ..case
        }
    }

    fn named(mut self, name: &str) -> Self {
        name.clone_into(&mut self.name);
        self
    }

    fn with_scheme(self, scheme: SignatureScheme) -> Self {
        let name = format!("{} as {scheme:?}", self.name);
        let digest = vec![7; scheme.digest_len()];
        Self {
            name,
            scheme,
            digest,
            ..self
        }
    }

    fn with_key(self, name: &str, public_key: &[u8]) -> Self {
        let public_key = public_key.to_vec();
        Self { public_key, ..self }.named(name)
    }

    fn with_digest(self, digest: &[u8]) -> Self {
        let name = format!("a digest of {} bytes for {:?}", digest.len(), self.scheme);
        let digest = digest.to_vec();
        Self { digest, ..self }.named(&name)
    }

    fn with_signature(self, name: &str, signature: &[u8]) -> Self {
        let name = format!("{name} for {:?}", self.scheme);
        let signature = signature.to_vec();
        Self { signature, ..self }.named(&name)
    }
}

type Change = fn(&mut PkeyCtxRef<Private>) -> Result<(), ErrorStack>;

fn sign(key: &PKey<Private>, scheme: SignatureScheme, digest: &[u8], change: Change) -> Vec<u8> {
    let mut context = PkeyCtx::new(key).unwrap();
    context.sign_init().unwrap();
    set_scheme(&mut context, scheme).unwrap();
    change(&mut context).unwrap();
    let mut signature = Vec::new();
    context.sign_to_vec(digest, &mut signature).unwrap();
    signature
}

static KEY: LazyLock<PKey<Private>> =
    LazyLock::new(|| PKey::from_rsa(Rsa::generate(2048).unwrap()).unwrap());

/// Checks the results of all implementations, and that none leaves an error in OpenSSL's queue, where the next call would find it.
#[track_caller]
fn assert_all(is_valid: bool, cases: impl IntoIterator<Item = Case>) {
    for case in cases {
        for (name, implementation) in IMPLEMENTATIONS {
            let result = check(
                *implementation,
                &case.public_key,
                case.scheme,
                &case.digest,
                &case.signature,
            );
            assert_eq!(result, is_valid, "{name}: {}", case.name);
            assert!(ErrorStack::get().errors().is_empty(), "{}", case.name);
        }
    }
}

#[test]
fn accepts_signatures_of_openssl_in_every_scheme() {
    assert_all(true, SCHEMES.map(Case::valid));
}

#[test]
fn rejects_signatures_of_another_scheme() {
    let of_another = |scheme| {
        let others = SCHEMES.into_iter().filter(move |other| *other != scheme);
        others.map(move |other| Case::valid(scheme).with_scheme(other))
    };
    assert_all(false, SCHEMES.into_iter().flat_map(of_another));
}

#[test]
fn rejects_pss_with_another_salt_length_or_mask() {
    assert_all(
        false,
        [
            Case::signed_with("a salt of 20", |context| {
                context.set_rsa_pss_saltlen(RsaPssSaltlen::custom(20))
            }),
            Case::signed_with("no salt", |context| {
                context.set_rsa_pss_saltlen(RsaPssSaltlen::custom(0))
            }),
            Case::signed_with("a salt of 33", |context| {
                context.set_rsa_pss_saltlen(RsaPssSaltlen::custom(33))
            }),
            Case::signed_with("the longest salt", |context| {
                context.set_rsa_pss_saltlen(RsaPssSaltlen::MAXIMUM_LENGTH)
            }),
            Case::signed_with("a mask of SHA-384", |context| {
                context.set_rsa_mgf1_md(Md::sha384())
            }),
        ],
    );
}

#[test]
fn rejects_pkcs1_without_digest_info() {
    let case = Case::valid(SignatureScheme::Pkcs1Sha256).named("a bare digest");
    let mut context = PkeyCtx::new(&*KEY).unwrap();
    context.sign_init().unwrap();
    context.set_rsa_padding(Padding::PKCS1).unwrap();
    let mut signature = Vec::new();
    context.sign_to_vec(&case.digest, &mut signature).unwrap();
    assert_all(false, [Case { signature, ..case }]);
}

#[test]
fn rejects_other_digests_and_digest_lengths() {
    for scheme in SCHEMES {
        let digest_len = scheme.digest_len();
        for length in [0, 1, 20, 31, 32, 33, 48, 64, 128, 256] {
            let byte = if length == digest_len { 8 } else { 7 };
            let case = Case::valid(scheme).with_digest(&vec![byte; length]);
            assert_all(false, [case]);
        }
    }
}

#[test]
fn rejects_changed_signatures_and_other_lengths() {
    for scheme in SCHEMES {
        let signature = Case::valid(scheme).signature;
        let changed = [0, 100, 255].map(|position| {
            let mut changed = signature.clone();
            changed[position] ^= 1;
            Case::valid(scheme).with_signature("a changed signature", &changed)
        });
        assert_all(false, changed);
        let longer = [&signature[..], &[0]].concat();
        let later = [&[0][..], &signature].concat();
        let wrong = [
            &signature[1..],
            &signature[..255],
            &longer,
            &later,
            &[0; 256],
            &[0xff; 256],
            &[0; 1000],
            &[],
        ];
        assert_all(
            false,
            wrong.map(|wrong| Case::valid(scheme).with_signature("a wrong signature", wrong)),
        );
    }
}

#[test]
fn rejects_keys_other_than_rsa_2048_in_der() {
    assert_all(false, [1024, 2047, 2056, 3072].map(Case::of_rsa));
    let curve = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
    let elliptic = PKey::from_ec_key(EcKey::generate(&curve).unwrap()).unwrap();
    let public = KEY.public_key_to_der().unwrap();
    let other = PKey::from_rsa(Rsa::generate(2048).unwrap()).unwrap();
    let bare = KEY.rsa().unwrap().public_key_to_der_pkcs1().unwrap();
    // The last arc of the algorithm: rsaEncryption becomes RSASSA-PSS.
    let mut pss = public.clone();
    pss[16] = 10;
    assert_all(
        false,
        [
            ("another key", &other.public_key_to_der().unwrap()[..]),
            ("an elliptic key", &elliptic.public_key_to_der().unwrap()),
            ("PKCS#1", &bare),
            ("PEM", &KEY.public_key_to_pem().unwrap()),
            ("RSASSA-PSS", &pss),
            ("a private key", &KEY.private_key_to_der().unwrap()),
            ("a cut key", &public[..200]),
            ("a key and more", &[&public[..], &[0]].concat()),
            ("garbage", b"garbage"),
            ("nothing", &[]),
        ]
        .map(|(name, key)| Case::valid(SCHEME).with_key(name, key)),
    );
}

/// A key whose signatures are another key's, as after its container was overwritten.
#[derive(Debug)]
struct Mismatched(MemoryKey, MemoryKey);

impl BindingKey for Mismatched {
    fn public_key_der(&self) -> &[u8] {
        self.0.public_key_der()
    }
    fn sign(&self, scheme: SignatureScheme, digest: &[u8]) -> Result<Vec<u8>, KeyError> {
        self.1.sign(scheme, digest)
    }
    fn strength(&self) -> KeyStrength {
        self.0.strength()
    }
    fn id(&self) -> &str {
        self.0.id()
    }
}

#[test]
fn self_test_rejects_signatures_of_another_key() {
    let key = MemoryKey::generate().unwrap();
    self_test(&key).unwrap();
    let mismatched = Mismatched(key, MemoryKey::generate().unwrap());
    let error = self_test(&mismatched).unwrap_err();
    assert_eq!(error.kind(), KeyErrorKind::Failed);
    assert!(ErrorStack::get().errors().is_empty());
}
