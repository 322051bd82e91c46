#![allow(unsafe_code, reason = "takes the ownership of a context")]
use super::super::handle::{Key, Provider};
use super::super::key::CngKey;
use super::super::key_prov_info::KeyProvInfo;
use super::super::native::{self, CertificateContext};
use super::super::provider::CngProvider;
use super::super::testing::certificates::certificate;
use super::super::windows_api::{Property, SIGN_AND_DECRYPT, WindowsApi};
use super::wine_shim::WineShim;
use crate::rsa_blob::public_key_info;
use crate::verify::by_openssl;
use crate::{
    BindingKey as _, KeyErrorKind, KeyProvider as _, KeyStrength, ProviderChain, SignatureScheme,
    self_test, verify,
};
use std::sync::Arc;

/// The name must be unique among the tests.
fn new_key(name: &str) -> Key {
    let api = native::api();
    let provider = Provider::open(&api, "Microsoft Software Key Storage Provider").unwrap();
    let key = provider.create_key(name, 0).unwrap();
    for (property, value) in [
        (Property::Length, 2048),
        (Property::ExportPolicy, 0),
        (Property::KeyUsage, SIGN_AND_DECRYPT),
    ] {
        key.set(property, value).unwrap();
    }
    key.finalize().unwrap();
    key
}

/// PKCS#1 is first: after PSS, a handle of Wine rejects it.
const SCHEMES: [SignatureScheme; 6] = [
    SignatureScheme::Pkcs1Sha256,
    SignatureScheme::Pkcs1Sha384,
    SignatureScheme::Pkcs1Sha512,
    SignatureScheme::PssSha256,
    SignatureScheme::PssSha384,
    SignatureScheme::PssSha512,
];

#[test]
fn openssl_and_cng_verify_signatures_of_cng_in_every_scheme() {
    let key = new_key("KeyboundTest-schemes");
    let public_key = public_key_info(&key.export_public().unwrap()).unwrap();
    for scheme in SCHEMES {
        let digest = vec![7; scheme.digest_len()];
        let signature = key.sign(scheme, &digest).unwrap();
        let other = vec![8; scheme.digest_len()];
        for verify in [by_openssl::verify, verify] {
            assert!(
                verify(&public_key, scheme, &digest, &signature),
                "{scheme:?}"
            );
            assert!(
                !verify(&public_key, scheme, &other, &signature),
                "{scheme:?}"
            );
        }
    }
}

#[test]
fn verifying_leaves_no_handle_open() {
    let key = new_key("KeyboundTest-public-key");
    let public_key = public_key_info(&key.export_public().unwrap()).unwrap();
    let signature = key.sign(SignatureScheme::PssSha256, &[7; 32]).unwrap();
    for scheme in SCHEMES {
        let digest = vec![7; scheme.digest_len()];
        let is_valid = verify(&public_key, scheme, &digest, &signature);
        assert_eq!(is_valid, scheme == SignatureScheme::PssSha256);
        assert!(!verify(&public_key[1..], scheme, &digest, &signature));
    }
    assert_eq!(native::counted::open(), 0);
}

#[test]
fn reads_properties_that_were_set() {
    let key = new_key("KeyboundTest-properties");
    assert_eq!(key.get(Property::Length).unwrap(), 2048u32.to_le_bytes());
    assert_eq!(key.get(Property::ExportPolicy).unwrap(), [0; 4]);
    assert_eq!(key.get(Property::KeyUsage).unwrap(), 3u32.to_le_bytes());
    assert!(key.get(Property::VirtualIsolation).is_err());
}

/// The providers are those of the platform: none of them requires OpenSSL.
#[test]
fn uses_a_software_key_without_vbs_and_tpm_where_the_minimum_allows_it() {
    let wine_shim = WineShim::without_tpm_and_vbs();
    let api: Arc<dyn WindowsApi> = Arc::new(Arc::clone(&wine_shim));
    let chain = ProviderChain::new(vec![
        Arc::new(CngProvider::keyguard(Arc::clone(&api), None)),
        Arc::new(CngProvider::platform(Arc::clone(&api))),
        Arc::new(CngProvider::software(api)),
    ]);
    for minimum in [KeyStrength::KeyGuard, KeyStrength::Hardware] {
        let error = chain.open(minimum).unwrap_err();
        let kind = error.kind();
        assert_eq!(kind, KeyErrorKind::IsolationUnavailable, "{minimum}");
    }
    let key = chain.open(KeyStrength::Software).unwrap();
    assert_eq!(key.strength(), KeyStrength::Software);
    assert_eq!(key.persistent_name(), Some("KeyboundSoftwareKey"));
    self_test(&*key).unwrap();
    drop(key);
    assert_eq!(wine_shim.open_handles(), 0);
}

#[test]
fn leaves_no_handle_open_in_a_thousand_opens_of_a_real_key() {
    let wine_shim = WineShim::new();
    let provider = CngProvider::keyguard(Arc::new(Arc::clone(&wine_shim)), None);
    let first = provider.open().unwrap();
    assert_eq!(first.strength(), KeyStrength::KeyGuard);
    for _ in 0..1000 {
        let key = provider.open().unwrap();
        assert_eq!(key.public_key_der(), first.public_key_der());
        // Two keys, each with its provider.
        assert_eq!(wine_shim.open_handles(), 4);
    }
    drop(first);
    assert_eq!(wine_shim.open_handles(), 0);
}

#[test]
fn a_context_for_tls_names_the_container_of_the_key() {
    let key = new_key("keybound-test-context-for-tls");
    let public_key = public_key_info(&key.export_public().unwrap()).unwrap();
    let certificate = certificate(&public_key, "client", "authority", 30_000);
    let provider = "Microsoft Software Key Storage Provider";
    let info = KeyProvInfo::cng(provider, "keybound-test-context-for-tls");
    let key = CngKey::new(key, public_key, KeyStrength::Software, info.clone());
    let native = key.native_certificate(&certificate).unwrap().unwrap();
    // SAFETY: the pointer is a context, whose reference is the caller's.
    let context = unsafe { CertificateContext::from_ptr(native.into_ptr().cast()) }.unwrap();
    assert_eq!(context.der(), certificate.der());
    assert_eq!(context.key_prov_info(), Some(info));
}
