use super::super::certificate::WindowsCertificate;
use super::super::certificate_error::CertificateError;
use super::super::certificate_store::CertificateEntry;
use super::super::key_prov_info::KeyProvInfo;
use super::super::native::{self, counted};
use super::super::provider::CngProvider;
use super::super::testing::certificates::certificate;
use super::super::testing::fake_windows::{FakeContainer, FakeWindows};
use super::super::windows_api::WindowsApi;
use super::stores::{TestStore, unique};
use crate::{BindingKey as _, KeyProvider as _, KeyStrength, self_test};
use keybound_core::Certificate;
use std::sync::Arc;

/// A host with a key, and a store with a certificate for it.
struct Host {
    windows: Arc<FakeWindows>,
    store: TestStore,
    certificate: Certificate,
}

impl Host {
    fn new(name: &str) -> Self {
        let windows = FakeWindows::new();
        let api: Arc<dyn WindowsApi> = Arc::new(Arc::clone(&windows));
        let key = CngProvider::keyguard(api, None).open().unwrap();
        let certificate = certificate(key.public_key_der(), "client", "issuer", 30_000);
        let host = Self {
            windows,
            store: TestStore::new(name),
            certificate,
        };
        host.add(&host.certificate, Some(prov_info(false)));
        host
    }

    fn add(&self, certificate: &Certificate, key: Option<KeyProvInfo>) {
        let entry = CertificateEntry {
            der: certificate.der().to_vec(),
            friendly_name: "x".to_owned(),
            key,
        };
        native::api()
            .add_certificate(&self.store.0, &entry)
            .unwrap();
    }

    fn find(&self) -> Result<WindowsCertificate, CertificateError> {
        let api: Arc<dyn WindowsApi> = Arc::new(Arc::clone(&self.windows));
        WindowsCertificate::find(api, &self.store.0, |found| *found == self.certificate)
    }
}

fn prov_info(legacy: bool) -> KeyProvInfo {
    let provider = "Microsoft Software Key Storage Provider";
    KeyProvInfo {
        legacy,
        ..KeyProvInfo::cng(provider, "KeyGuardRSAKey")
    }
}

#[test]
fn finds_certificates_by_thumbprint_and_by_subject() {
    let host = Host::new("find");
    let prints = host.certificate.thumbprints();
    let spaced = prints
        .sha1
        .to_lowercase()
        .as_bytes()
        .chunks(2)
        .fold(String::new(), |text, pair| {
            text + std::str::from_utf8(pair).unwrap() + " "
        });
    for thumbprint in [&prints.sha1, &prints.sha256, &spaced] {
        let found = WindowsCertificate::by_thumbprint(&host.store.0, thumbprint).unwrap();
        assert_eq!(found.certificate(), &host.certificate);
    }
    let public_key = host.certificate.public_key_der();
    let later = certificate(public_key, "client", "issuer", 30_001);
    host.add(&later, None);
    let found = WindowsCertificate::by_subject(&host.store.0, "cn=CLIENT").unwrap();
    assert_eq!(found.certificate(), &later);
    assert!(!found.has_private_key());
    assert!(matches!(
        found.create_context(),
        Err(CertificateError::NoPrivateKey)
    ));
    drop(found);

    let by_thumbprint = |text: &str| WindowsCertificate::by_thumbprint(&host.store.0, text);
    for text in ["", "12", &"x".repeat(40)] {
        let error = by_thumbprint(text).unwrap_err();
        assert!(matches!(error, CertificateError::MalformedThumbprint));
    }
    let error = by_thumbprint(&"0".repeat(40)).unwrap_err();
    assert!(matches!(error, CertificateError::NotFound(_)));
    let message = error.to_string();
    assert!(
        message.contains(&format!("CurrentUser\\{}", unique("find"))),
        "{message}"
    );
    assert!(message.contains("of the account"), "{message}");
    for text in ["another", " ", ""] {
        let found = WindowsCertificate::by_subject(&host.store.0, text);
        assert!(
            matches!(found, Err(CertificateError::NotFound(_))),
            "{text:?}"
        );
    }
    assert_eq!(counted::open(), 0);
}

#[test]
fn reports_public_properties_and_no_secret() {
    let host = Host::new("properties");
    let found = host.find().unwrap();
    let metadata = found.metadata();
    assert_eq!(metadata.subject, "CN=client");
    assert_eq!(metadata.issuer, "CN=issuer");
    assert_eq!(metadata.thumbprint_sha1, found.thumbprint_sha1());
    assert_eq!(metadata.thumbprint_sha256, found.thumbprint_sha256());
    assert_eq!(
        metadata.x5t_s256,
        host.certificate.thumbprints().x5t_s256.as_str()
    );
    assert_eq!(
        metadata.store_path,
        format!("CurrentUser\\{}", unique("properties"))
    );
    assert_eq!(metadata.key_name.as_deref(), Some("KeyGuardRSAKey"));
    assert!(metadata.has_private_key);
    assert_eq!(found.public_certificate_der(), host.certificate.der());
    assert!(
        found
            .public_certificate_pem()
            .starts_with("-----BEGIN CERTIFICATE-----")
    );
    let formatted = format!("{found:?}");
    assert!(
        formatted.len() < 400 && !formatted.contains("PRIVATE"),
        "{formatted}"
    );

    let key = found.binding_key().unwrap();
    assert_eq!(key.strength(), KeyStrength::KeyGuard);
    assert_eq!(key.public_key_der(), host.certificate.public_key_der());
    self_test(&key).unwrap();

    let identity = found.client_identity().unwrap();
    assert_eq!(identity.certificate(), &host.certificate);
    assert_eq!(identity.key().strength(), KeyStrength::KeyGuard);
    self_test(identity.key().as_ref()).unwrap();
}

#[test]
fn rejects_legacy_keys() {
    let host = Host::new("legacy");
    host.add(&host.certificate, Some(prov_info(true)));
    let error = host.find().unwrap_err();
    assert!(matches!(error, CertificateError::LegacyKey));
    let message = error.to_string();
    assert!(
        message.contains("CryptoAPI") && message.contains("-importpfx"),
        "{message}"
    );
    assert_eq!(counted::open(), 0);
}

#[test]
fn rejects_missing_and_replaced_keys_and_leaves_no_handle_open() {
    let host = Host::new("missing");
    let found = host.find().unwrap();
    let removed = host
        .windows
        .with(|state| std::mem::take(&mut state.containers));
    assert!(matches!(
        found.create_context(),
        Err(CertificateError::Key(_))
    ));
    let container = FakeContainer::of_another_process();
    host.windows
        .with(|state| state.containers.insert("KeyGuardRSAKey".into(), container));
    assert!(matches!(
        found.create_context(),
        Err(CertificateError::KeyMismatch)
    ));
    assert!(matches!(
        found.client_identity(),
        Err(CertificateError::KeyMismatch)
    ));
    host.windows.with(|state| state.containers = removed);
    assert_eq!(host.windows.open_handles(), 0);
    drop(found);
    assert_eq!(counted::open(), 0);
}

/// Wine's contexts do not accept CNG keys.
#[test]
fn leaves_no_handle_open_where_windows_rejects_the_key() {
    let host = Host::new("context");
    let found = host.find().unwrap();
    for _ in 0..100 {
        assert!(matches!(
            found.create_context(),
            Err(CertificateError::Context(_))
        ));
    }
    assert_eq!(host.windows.open_handles(), 0);
    drop(found);
    assert_eq!(counted::open(), 0);
}

#[test]
fn closing_twice_has_no_effect_and_properties_remain_readable() {
    let host = Host::new("close");
    let mut found = host.find().unwrap();
    for _ in 0..2 {
        found.close();
        assert_eq!(counted::open(), 0);
        assert!(matches!(
            found.create_context(),
            Err(CertificateError::Closed)
        ));
        assert!(matches!(found.binding_key(), Err(CertificateError::Closed)));
        assert!(matches!(
            found.client_identity(),
            Err(CertificateError::Closed)
        ));
    }
    assert_eq!(found.certificate(), &host.certificate);
}
