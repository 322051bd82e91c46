use super::super::certificate::{CertificateError, WindowsCertificate};
use super::super::fake_ncrypt::FakeNcrypt;
use super::super::msal_certificate_cache::{CertificateStore as _, Entry, KeyPlace};
use super::super::native::counted;
use super::super::ncrypt_api::NcryptApi;
use super::super::provider::CngProvider;
use super::super::testing::certificate;
use super::stores::{OwnStore, own};
use crate::{BindingKey as _, KeyProvider as _, KeyStrength, self_test};
use keybound_core::Certificate;
use std::sync::Arc;

/// A host with a key, and a store with a certificate for it.
struct Host {
    windows: Arc<FakeNcrypt>,
    store: OwnStore,
    certificate: Certificate,
}

impl Host {
    fn new(name: &str) -> Self {
        let windows = FakeNcrypt::new();
        let api: Arc<dyn NcryptApi> = Arc::new(Arc::clone(&windows));
        let key = CngProvider::keyguard_over(api, None).open().unwrap();
        let certificate = certificate(key.public_key_der(), "client", "issuer", 30_000);
        let host = Self {
            windows,
            store: OwnStore::new(name),
            certificate,
        };
        host.put(&host.certificate, Some(place("KeyGuardRSAKey", false)));
        host
    }

    fn put(&self, certificate: &Certificate, key: Option<KeyPlace>) {
        let entry = Entry {
            der: certificate.der().to_vec(),
            friendly_name: "x".to_owned(),
            key,
        };
        self.store.certificate_store().add(&entry).unwrap();
    }

    fn find(&self) -> Result<WindowsCertificate, CertificateError> {
        let api: Arc<dyn NcryptApi> = Arc::new(Arc::clone(&self.windows));
        WindowsCertificate::find(api, &self.store.0, |found| *found == self.certificate)
    }
}

fn place(name: &str, legacy: bool) -> KeyPlace {
    KeyPlace {
        provider: "Microsoft Software Key Storage Provider".to_owned(),
        name: name.to_owned(),
        machine: false,
        legacy,
    }
}

#[test]
fn certificates_are_found_by_thumbprint_and_by_subject() {
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
    host.put(&later, None);
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
    let words = error.to_string();
    assert!(
        words.contains(&format!("CurrentUser\\{}", own("find"))),
        "{words}"
    );
    assert!(words.contains("of the account"), "{words}");
    for text in ["nobody", " ", ""] {
        let found = WindowsCertificate::by_subject(&host.store.0, text);
        assert!(
            matches!(found, Err(CertificateError::NotFound(_))),
            "{text:?}"
        );
    }
    assert_eq!(counted::open(), 0);
}

#[test]
fn public_properties_are_shown_and_nothing_private() {
    let host = Host::new("tell");
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
    assert_eq!(metadata.store_path, format!("CurrentUser\\{}", own("tell")));
    assert_eq!(metadata.key_name.as_deref(), Some("KeyGuardRSAKey"));
    assert!(metadata.has_private_key);
    assert_eq!(found.public_certificate_der(), host.certificate.der());
    assert!(
        found
            .public_certificate_pem()
            .starts_with("-----BEGIN CERTIFICATE-----")
    );
    let shown = format!("{found:?}");
    assert!(shown.len() < 400 && !shown.contains("PRIVATE"), "{shown}");

    let key = found.binding_key().unwrap();
    assert_eq!(key.strength(), KeyStrength::KeyGuard);
    assert_eq!(key.public_key_der(), host.certificate.public_key_der());
    self_test(&key).unwrap();
}

#[test]
fn a_legacy_key_is_a_clear_error() {
    let host = Host::new("legacy");
    host.put(&host.certificate, Some(place("KeyGuardRSAKey", true)));
    let error = host.find().unwrap_err();
    assert!(matches!(error, CertificateError::LegacyKey));
    let words = error.to_string();
    assert!(
        words.contains("CryptoAPI") && words.contains("-importpfx"),
        "{words}"
    );
    assert_eq!(counted::open(), 0);
}

#[test]
fn a_key_that_is_gone_or_another_one_is_an_error_and_leaves_nothing_open() {
    let host = Host::new("gone");
    let found = host.find().unwrap();
    let taken = host
        .windows
        .with(|world| std::mem::take(&mut world.containers));
    assert!(matches!(
        found.create_context(),
        Err(CertificateError::Key(_))
    ));
    let kept = super::super::fake_ncrypt::Kept::of_a_rival();
    host.windows
        .with(|world| world.containers.insert("KeyGuardRSAKey".into(), kept));
    assert!(matches!(
        found.create_context(),
        Err(CertificateError::KeyMismatch)
    ));
    host.windows.with(|world| world.containers = taken);
    assert_eq!(host.windows.open_now(), 0);
    drop(found);
    assert_eq!(counted::open(), 0);
}

/// Wine's contexts take no key of CNG: what is left open then shows.
#[test]
fn where_windows_does_not_take_the_key_nothing_is_left_open() {
    let host = Host::new("context");
    let found = host.find().unwrap();
    for _ in 0..100 {
        assert!(matches!(
            found.create_context(),
            Err(CertificateError::Context(_))
        ));
    }
    assert_eq!(host.windows.open_now(), 0);
    drop(found);
    assert_eq!(counted::open(), 0);
}

#[test]
fn closing_again_does_nothing_and_what_is_known_stays() {
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
    }
    assert_eq!(found.certificate(), &host.certificate);
}
