//! Trusted roots of Windows, and a key in CryptoAPI.
use crate::support::pki::{Authority, Leaf};
use keybound_core::Certificate;
use keybound_keys::windows::NativeCertificate;
use keybound_keys::{BindingKey, KeyError, KeyErrorKind, KeyStrength, SignatureScheme};
use openssl::ecdsa::EcdsaSig;
use openssl::pkcs12::Pkcs12;
use openssl::pkey::{PKey, Private};
use openssl::rsa::Rsa;
use openssl::x509::X509;
use std::sync::{Arc, LazyLock, OnceLock};
use windows::Win32::Security::Cryptography::{
    CERT_OPEN_STORE_FLAGS, CERT_QUERY_ENCODING_TYPE, CERT_STORE_ADD_REPLACE_EXISTING,
    CERT_STORE_PROV_SYSTEM_W, CERT_SYSTEM_STORE_CURRENT_USER, CRYPT_INTEGER_BLOB,
    CRYPT_USER_KEYSET, CertAddEncodedCertificateToStore, CertCloseStore,
    CertDeleteCertificateFromStore, CertDuplicateCertificateContext, CertEnumCertificatesInStore,
    CertOpenStore, HCERTSTORE, PFXImportCertStore, X509_ASN_ENCODING,
};
use windows::Win32::System::LibraryLoader::{GetModuleHandleW, GetProcAddress};
use windows::core::{s, w};

/// An authority that Windows trusts while these tests run, the same for all: Windows reads its roots once.
pub fn trusted() -> &'static Authority {
    static TRUSTED: LazyLock<Authority> = LazyLock::new(|| {
        let authority = wine_compatible_authority("keybound test authority");
        remove_old_roots();
        let der = authority.certificate().to_der().unwrap();
        with_roots(|roots| {
            // SAFETY: the store is open, the bytes are valid.
            unsafe {
                CertAddEncodedCertificateToStore(
                    Some(roots),
                    X509_ASN_ENCODING,
                    &der,
                    CERT_STORE_ADD_REPLACE_EXISTING,
                    None,
                )
            }
            .unwrap();
        });
        authority
    });
    &TRUSTED
}

/// Removes the roots of earlier runs.
fn remove_old_roots() {
    with_roots(|roots| {
        let mut old = vec![];
        let mut last = None;
        loop {
            // SAFETY: the store is open; the next call frees each context.
            let context = unsafe { CertEnumCertificatesInStore(roots, last) };
            if context.is_null() {
                break;
            }
            last = Some(context.cast_const());
            // SAFETY: the context is alive, and so are the bytes that it points to.
            let der = unsafe {
                let context = &*context;
                std::slice::from_raw_parts(context.pbCertEncoded, context.cbCertEncoded as usize)
            };
            if is_test_authority(der) {
                // SAFETY: the context is alive.
                old.push(unsafe { CertDuplicateCertificateContext(last) });
            }
        }
        for context in old {
            // SAFETY: the call takes ownership of the reference created above.
            let _ = unsafe { CertDeleteCertificateFromStore(context) };
        }
    });
}

fn is_test_authority(der: &[u8]) -> bool {
    let name = b"keybound test authority";
    der.windows(name.len()).any(|window| window == name)
}

fn with_roots(work: impl FnOnce(HCERTSTORE)) {
    let flags = CERT_OPEN_STORE_FLAGS(CERT_SYSTEM_STORE_CURRENT_USER);
    let name = w!("Root");
    // SAFETY: this provider expects a name in UTF-16.
    let store = unsafe {
        CertOpenStore(
            CERT_STORE_PROV_SYSTEM_W,
            CERT_QUERY_ENCODING_TYPE::default(),
            None,
            flags,
            Some(name.as_ptr().cast()),
        )
    }
    .unwrap();
    work(store);
    // SAFETY: it was opened above and is closed once.
    unsafe { CertCloseStore(Some(store), 0) }.unwrap();
}

/// An authority whose signature Wine verifies.
pub fn wine_compatible_authority(name: &str) -> Authority {
    until_wine_compatible(|| Authority::new(name), |created| created.certificate())
}

/// A server's certificate whose signature Wine verifies.
pub fn wine_compatible(make: impl Fn() -> Leaf) -> Leaf {
    until_wine_compatible(make, |created| &created.certificate)
}

/// Wine rejects ECDSA signatures in which a number begins with a zero byte.
fn until_wine_compatible<T>(make: impl Fn() -> T, certificate: impl Fn(&T) -> &X509) -> T {
    loop {
        let created = make();
        let signature = EcdsaSig::from_der(certificate(&created).signature().as_slice()).unwrap();
        if [signature.r(), signature.s()].map(|number| number.num_bytes()) == [32, 32] {
            return created;
        }
    }
}

/// Whether this is Wine, whose SChannel supports less.
pub fn under_wine() -> bool {
    // SAFETY: the names are constants; the address is not called.
    unsafe {
        let library = GetModuleHandleW(w!("ntdll.dll")).unwrap();
        GetProcAddress(library, s!("wine_get_version")).is_some()
    }
}

/// A key of CryptoAPI, which Wine's SChannel requires. It signs for SChannel only.
#[derive(Debug)]
pub struct LegacyKey {
    key: PKey<Private>,
    public: Vec<u8>,
    /// With its only certificate.
    context: OnceLock<NativeCertificate>,
}

impl LegacyKey {
    /// The same for all tests: generating one takes time.
    pub fn shared() -> Arc<dyn BindingKey> {
        static KEY: LazyLock<Arc<LegacyKey>> = LazyLock::new(|| {
            let key = PKey::from_rsa(full_length_key()).unwrap();
            let public = key.public_key_to_der().unwrap();
            Arc::new(LegacyKey {
                key,
                public,
                context: OnceLock::new(),
            })
        });
        Arc::clone(&KEY) as _
    }
}

/// A key in which no number begins with a zero byte: with others, Wine's signatures are invalid.
fn full_length_key() -> Rsa<Private> {
    loop {
        let key = Rsa::generate(2048).unwrap();
        let halves = [key.dmp1(), key.dmq1(), key.iqmp()];
        let full = key.d().num_bytes() == 256
            && halves.iter().all(|half| half.unwrap().num_bytes() == 128);
        if full {
            return key;
        }
    }
}

impl BindingKey for LegacyKey {
    fn public_key_der(&self) -> &[u8] {
        &self.public
    }

    fn sign(&self, _: SignatureScheme, _: &[u8]) -> Result<Vec<u8>, KeyError> {
        Err(KeyError::new(
            KeyErrorKind::Failed,
            "signs for SChannel only",
        ))
    }

    fn strength(&self) -> KeyStrength {
        KeyStrength::Software
    }

    fn id(&self) -> &str {
        "legacy"
    }

    fn native_certificate(
        &self,
        certificate: &Certificate,
    ) -> Option<Result<NativeCertificate, KeyError>> {
        // A second import would remove the key of the first.
        let context = self.context.get_or_init(|| self.import(certificate));
        Some(Ok(context.clone()))
    }
}

impl LegacyKey {
    fn import(&self, certificate: &Certificate) -> NativeCertificate {
        let certificate = X509::from_der(certificate.der()).unwrap();
        let mut pfx = Pkcs12::builder()
            .pkey(&self.key)
            .cert(&certificate)
            .build2("x")
            .unwrap()
            .to_der()
            .unwrap();
        let blob = CRYPT_INTEGER_BLOB {
            cbData: u32::try_from(pfx.len()).unwrap(),
            pbData: pfx.as_mut_ptr(),
        };
        // SAFETY: the blob is valid. The store is open until it is closed; the context has its own reference.
        let context = unsafe {
            let store = PFXImportCertStore(&raw const blob, w!("x"), CRYPT_USER_KEYSET).unwrap();
            let found = CertEnumCertificatesInStore(store, None);
            assert!(!found.is_null());
            let context = CertDuplicateCertificateContext(Some(found));
            CertCloseStore(Some(store), 0).unwrap();
            NativeCertificate::from_ptr(context.cast_const().cast())
        };
        context.unwrap()
    }
}
