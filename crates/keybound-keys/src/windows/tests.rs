//! Keys of CNG on a fake host.
use super::certificate_store::CertificateEntry;
use super::key_prov_info::KeyProvInfo;
use super::provider::CngProvider;
use super::status::Status;
use super::testing::certificates::{ISSUER, certificate};
use super::testing::fake_windows::{FakeContainer, FakeWindows};
use super::windows_api::{Lock, OVERWRITE, PER_BOOT, VIRTUAL_ISOLATION, WindowsApi};
use crate::{
    BindingKey, KeyError, KeyErrorKind, KeyProvider as _, KeyStrength, ProviderChain,
    SignatureScheme, self_test,
};
use std::error::Error as _;
use std::sync::Arc;

fn api(windows: &Arc<FakeWindows>) -> Arc<dyn WindowsApi> {
    Arc::new(Arc::clone(windows))
}

fn keyguard(windows: &Arc<FakeWindows>) -> Result<Arc<dyn BindingKey>, KeyError> {
    CngProvider::keyguard(api(windows), None).open()
}

fn calls(windows: &Arc<FakeWindows>) -> Vec<String> {
    windows.with(|state| std::mem::take(&mut state.calls))
}

/// Adds a certificate for a public key, which names the container of the KeyGuard key.
fn add_certificate(windows: &FakeWindows, public_key: &[u8]) {
    let provider = "Microsoft Software Key Storage Provider";
    let entry = CertificateEntry {
        der: certificate(public_key, "x", ISSUER, 30).der().to_vec(),
        friendly_name: String::new(),
        key: Some(KeyProvInfo::cng(provider, "KeyGuardRSAKey")),
    };
    windows.with(|state| state.certificates.push(entry));
}

/// The number of certificates in the store.
fn certificates(windows: &FakeWindows) -> usize {
    windows.with(|state| state.certificates.len())
}

/// A host with a key, and its public key.
fn host_with_a_key() -> (Arc<FakeWindows>, Vec<u8>) {
    let windows = FakeWindows::new();
    let public_key = keyguard(&windows).unwrap().public_key_der().to_vec();
    calls(&windows);
    (windows, public_key)
}

#[test]
fn creates_a_key_at_first_and_opens_it_later() {
    let windows = FakeWindows::new();
    let first = keyguard(&windows).unwrap();
    let flags = format!("create {:x}", VIRTUAL_ISOLATION | PER_BOOT);
    let finalize = "finalize {Length: 2048, ExportPolicy: 0, KeyUsage: 3}";
    // An earlier key of this name may have left certificates.
    assert_eq!(calls(&windows), ["open", &flags, finalize, "certificates"]);
    assert_eq!(first.strength(), KeyStrength::KeyGuard);
    assert_eq!(first.persistent_name(), Some("KeyGuardRSAKey"));
    self_test(&*first).unwrap();

    let second = keyguard(&windows).unwrap();
    assert_eq!(calls(&windows), ["open"]);
    assert_eq!(second.public_key_der(), first.public_key_der());
    assert_eq!(second.id(), first.id());
}

#[test]
fn creates_a_key_on_every_not_found_status() {
    for status in [0x8009_0016, 0x8009_000D, 0x8009_0011, 0x8009_003A] {
        let windows = FakeWindows::new();
        windows.with(|state| state.open_fails = Some(Status(status)));
        self_test(&*keyguard(&windows).unwrap()).unwrap();
    }
}

#[test]
fn creates_no_key_on_other_statuses() {
    let windows = FakeWindows::new();
    windows.with(|state| state.open_fails = Some(Status::PERMISSION));
    assert_eq!(keyguard(&windows).unwrap_err().kind(), KeyErrorKind::Failed);
    assert_eq!(calls(&windows), ["open"]);
}

#[test]
fn replaces_a_lost_key_after_a_reboot() {
    let (windows, old) = host_with_a_key();
    add_certificate(&windows, &old);
    windows.reboot(Status(0x8009_0005));
    let key = keyguard(&windows).unwrap();
    assert_ne!(key.public_key_der(), old);
    self_test(&*key).unwrap();
    assert_eq!(certificates(&windows), 0);
    let calls = calls(&windows);
    let overwrite = format!("create {:x}", VIRTUAL_ISOLATION | PER_BOOT | OVERWRITE);
    // The key does not sign. Under the mutex it is opened again, created, opened and compared; then its certificates are read.
    let order: Vec<_> = calls
        .iter()
        .map(|call| call.split(' ').next().unwrap())
        .collect();
    assert_eq!(
        order,
        [
            "open",
            "lock",
            "open",
            "create",
            "finalize",
            "open",
            "certificates"
        ]
    );
    assert!(calls.contains(&overwrite), "{calls:?}");
    assert!(
        calls[1].starts_with("lock Account(\"KEYBOUND_KEY_"),
        "{calls:?}"
    );
}

#[test]
fn replaces_a_lost_key_without_properties() {
    let changes: [fn(&mut FakeContainer); 3] = [
        |container| container.group = Err(Status::VBS_CANNOT_DECRYPT),
        |container| container.exports = Err(Status::NO_KEY),
        |container| {
            container.group = Err(Status(0x8009_0005));
            container.exports = Err(Status(0x8009_0005));
        },
    ];
    for change in changes {
        let (windows, old) = host_with_a_key();
        windows.reboot(Status(0x8009_0005));
        windows.with(|state| state.containers.values_mut().for_each(change));
        let key = keyguard(&windows).unwrap();
        assert_ne!(key.public_key_der(), old);
        self_test(&*key).unwrap();
    }
}

#[test]
fn replaces_a_key_that_does_not_open() {
    let (windows, old) = host_with_a_key();
    windows.with(|state| {
        for container in state.containers.values_mut() {
            container.opens = Err(Status::VBS_CANNOT_DECRYPT);
        }
    });
    let key = keyguard(&windows).unwrap();
    assert_ne!(key.public_key_der(), old);
    assert!(calls(&windows).contains(&"certificates".to_owned()));
}

#[test]
fn uses_the_key_that_another_process_creates_during_the_wait() {
    let (windows, _) = host_with_a_key();
    windows.reboot(Status(0x8009_0005));
    let other = FakeContainer::of_another_process();
    let public_key = other.key.public_key_der().to_vec();
    windows.with(|state| state.created_while_waiting = Some(other));
    let key = keyguard(&windows).unwrap();
    assert_eq!(key.public_key_der(), public_key);
    assert!(
        !calls(&windows)
            .iter()
            .any(|call| call.starts_with("create"))
    );
}

#[test]
fn replaces_a_lost_key_without_the_mutex() {
    for fails in LOCK_FAILURES {
        let (windows, old) = host_with_a_key();
        windows.reboot(Status(0x8009_0005));
        windows.with(|state| state.lock_fails = Some(fails));
        let key = keyguard(&windows).unwrap();
        assert_ne!(key.public_key_der(), old);
        self_test(&*key).unwrap();
        assert_eq!(calls(&windows).last().unwrap(), "certificates");
    }
}

#[test]
fn without_the_mutex_does_not_overwrite_the_key_of_another_process() {
    for fails in LOCK_FAILURES {
        let (windows, _) = host_with_a_key();
        windows.reboot(Status(0x8009_0005));
        let other = FakeContainer::of_another_process();
        let public_key = other.key.public_key_der().to_vec();
        windows.with(|state| {
            state.lock_fails = Some(fails);
            state.created_while_waiting = Some(other);
        });
        assert_eq!(keyguard(&windows).unwrap().public_key_der(), public_key);
        let calls = calls(&windows);
        assert!(!calls.iter().any(|call| call.starts_with("create")));
    }
}

#[test]
fn without_the_mutex_uses_the_key_that_overwrote_its_own() {
    for fails in LOCK_FAILURES {
        let (windows, old) = host_with_a_key();
        windows.reboot(Status(0x8009_0005));
        let other = FakeContainer::of_another_process();
        let public_key = other.key.public_key_der().to_vec();
        windows.with(|state| {
            state.lock_fails = Some(fails);
            state.overwritten_by_another = Some(other);
        });
        add_certificate(&windows, &public_key);
        add_certificate(&windows, &old);
        assert_eq!(keyguard(&windows).unwrap().public_key_der(), public_key);
        assert_eq!(certificates(&windows), 1);
    }
}

#[test]
fn two_processes_that_create_a_key_use_the_first() {
    let windows = FakeWindows::new();
    let other = FakeContainer::of_another_process();
    let public_key = other.key.public_key_der().to_vec();
    windows.with(|state| state.created_by_another = Some(other));
    let key = keyguard(&windows).unwrap();
    assert_eq!(key.public_key_der(), public_key);
    assert_eq!(calls(&windows).last().unwrap(), "open");
    assert_eq!(keyguard(&windows).unwrap().public_key_der(), public_key);
}

#[test]
fn a_replaced_key_is_not_current_and_still_signs() {
    let (windows, _) = host_with_a_key();
    let key = keyguard(&windows).unwrap();
    assert!(key.is_current());
    let opened = windows.open_handles();
    // A temporary failure does not show a replacement.
    windows.with(|state| state.open_fails = Some(Status::PERMISSION));
    assert!(key.is_current());
    windows.with(|state| state.open_fails = None);
    let other = FakeContainer::of_another_process();
    windows.with(|state| state.containers.insert("KeyGuardRSAKey".into(), other));
    assert!(!key.is_current());
    windows.with(|state| state.containers.clear());
    assert!(!key.is_current());
    self_test(&*key).unwrap();
    assert_eq!(windows.open_handles(), opened);
}

#[test]
fn without_vbs_the_error_names_the_settings_to_enable() {
    let windows = FakeWindows::new();
    windows.with(|state| state.create_fails = Some(Status(0x8089_0014)));
    let error = keyguard(&windows).unwrap_err();
    assert_eq!(error.kind(), KeyErrorKind::IsolationUnavailable);
    for word in ["Trusted Launch", "Secure Boot", "vTPM", "msinfo32"] {
        assert!(error.to_string().contains(word), "{error}");
    }
    assert_eq!(error.source().unwrap().to_string(), "status 0x80890014");

    let (windows, _) = host_with_a_key();
    windows.with(|state| state.open_fails = Some(Status::VBS_UNAVAILABLE));
    let kind = keyguard(&windows).unwrap_err().kind();
    assert_eq!(kind, KeyErrorKind::IsolationUnavailable);
}

#[test]
fn without_vbs_uses_a_weaker_key_only_where_the_minimum_allows_it() {
    let windows = FakeWindows::new();
    windows.with(|state| state.isolates = false);
    let chain = ProviderChain::new(vec![
        Arc::new(CngProvider::keyguard(api(&windows), None)),
        Arc::new(CngProvider::platform(api(&windows))),
        Arc::new(CngProvider::software(api(&windows))),
    ]);
    let error = chain.open(KeyStrength::KeyGuard).unwrap_err();
    assert_eq!(error.kind(), KeyErrorKind::IsolationUnavailable);
    let key = chain.open(KeyStrength::Software).unwrap();
    assert_eq!(key.strength(), KeyStrength::Hardware);
    windows.with(|state| state.provider_fails = Some(Status::KEYSET_NOT_DEFINED));
    let kind = chain.open(KeyStrength::Hardware).unwrap_err().kind();
    assert_eq!(kind, KeyErrorKind::TooWeak);
}

#[test]
fn deletes_a_new_key_that_is_not_isolated() {
    let windows = FakeWindows::new();
    windows.with(|state| state.isolates = false);
    let kind = keyguard(&windows).unwrap_err().kind();
    assert_eq!(kind, KeyErrorKind::IsolationUnavailable);
    assert_eq!(calls(&windows).last().unwrap(), "delete");
    assert!(windows.with(|state| state.containers.is_empty()));
}

#[test]
fn an_existing_key_without_isolation_is_neither_used_nor_changed() {
    let reported = [vec![], vec![0, 0, 0, 0], vec![0, 1, 0, 0]].map(Ok);
    for isolation in [&reported[..], &[Err(Status::NOT_SUPPORTED)]].concat() {
        let (windows, _) = host_with_a_key();
        windows.with(|state| {
            for container in state.containers.values_mut() {
                container.isolation.clone_from(&isolation);
            }
        });
        let error = keyguard(&windows).unwrap_err();
        assert_eq!(error.kind(), KeyErrorKind::NotIsolated, "{isolation:?}");
        assert!(error.to_string().contains(DELETE_COMMAND), "{error}");
        assert_eq!(calls(&windows), ["open"]);
    }
}

#[test]
fn key_never_exported_by_other_programs() {
    let (windows, _) = host_with_a_key();
    windows.with(|state| {
        for container in state.containers.values_mut() {
            container.export_policy = Ok(2);
        }
    });
    let error = keyguard(&windows).unwrap_err();
    assert_eq!(error.kind(), KeyErrorKind::Failed);
    assert!(error.to_string().contains("exported"), "{error}");
    assert!(error.to_string().contains(DELETE_COMMAND), "{error}");
    assert_eq!(calls(&windows), ["open"]);
}

#[test]
fn a_temporary_failure_to_read_isolation_is_no_absence() {
    let (windows, _) = host_with_a_key();
    windows.with(|state| {
        for container in state.containers.values_mut() {
            container.isolation = Err(Status::NOT_ENOUGH_MEMORY);
        }
    });
    let error = keyguard(&windows).unwrap_err();
    assert_eq!(error.kind(), KeyErrorKind::Failed);
    assert_eq!(calls(&windows), ["open"]);
}

#[test]
fn rejects_a_key_without_a_readable_export_policy() {
    for status in [
        Status::NOT_SUPPORTED,
        Status::NOT_FOUND,
        Status::NOT_ENOUGH_MEMORY,
    ] {
        let (windows, _) = host_with_a_key();
        windows.with(|state| {
            for container in state.containers.values_mut() {
                container.export_policy = Err(status);
            }
        });
        let error = keyguard(&windows).unwrap_err();
        assert_eq!(error.kind(), KeyErrorKind::Failed, "{status:?}");
        assert_eq!(error.source().unwrap().to_string(), status.to_string());
        assert_eq!(calls(&windows), ["open"]);
    }
}

#[test]
fn deletes_a_new_key_without_a_readable_export_policy() {
    let windows = FakeWindows::new();
    windows.with(|state| state.policy_fails = Some(Status::NOT_SUPPORTED));
    assert_eq!(keyguard(&windows).unwrap_err().kind(), KeyErrorKind::Failed);
    assert_eq!(calls(&windows).last().unwrap(), "delete");
    assert!(windows.with(|state| state.containers.is_empty()));
}

#[test]
fn does_not_overwrite_a_key_whose_public_key_cannot_be_exported() {
    let (windows, _) = host_with_a_key();
    windows.with(|state| state.export_fails = Some(Status::NOT_SUPPORTED));
    assert_eq!(keyguard(&windows).unwrap_err().kind(), KeyErrorKind::Failed);
    assert_eq!(calls(&windows), ["open"]);
}

#[test]
fn does_not_overwrite_keys_that_fail_temporarily_or_are_of_another_kind() {
    let change = |change: fn(&mut FakeContainer)| {
        let (windows, _) = host_with_a_key();
        windows.with(|state| state.containers.values_mut().for_each(change));
        let error = keyguard(&windows).unwrap_err();
        assert_eq!(calls(&windows), ["open"]);
        error.kind()
    };
    let busy = change(|container| container.signs = Err(Status::NOT_ENOUGH_MEMORY));
    assert_eq!(busy, KeyErrorKind::Failed);
    for status in [
        0x8009_0010,
        0x8009_0022,
        0x8009_0024,
        0x8007_06BA,
        0x8007_06BB,
        0x8007_06BE,
        0x8007_06BF,
        0x8028_0921,
        0x8028_0922,
        0x8007_0005,
        0x8009_0020,
        0x8009_002D,
        0x8009_0039,
        0x8029_0401,
    ] {
        let (windows, _) = host_with_a_key();
        windows.reboot(Status(status));
        let error = keyguard(&windows).unwrap_err();
        assert_eq!(error.kind(), KeyErrorKind::Failed, "{status:x}");
        assert_eq!(calls(&windows), ["open"], "{status:x}");
    }
    let device = change(|container| container.signs = Err(Status::DEVICE_NOT_READY));
    assert_eq!(device, KeyErrorKind::Failed);
    let elliptic = change(|container| {
        container.signs = Err(Status(0x8009_0027));
        container.group = Ok("ECDSA");
    });
    assert_eq!(elliptic, KeyErrorKind::Failed);
    let longer = change(|container| {
        container.signs = Err(Status(0x8009_0027));
        container.exports = Ok(3072);
    });
    assert_eq!(longer, KeyErrorKind::Failed);
}

#[test]
fn replaces_only_per_boot_keys_on_an_unknown_status() {
    let unknown = Status(0x8009_0027);
    let (windows, old) = host_with_a_key();
    windows.reboot(unknown);
    assert_ne!(keyguard(&windows).unwrap().public_key_der(), old);
    for provider in [CngProvider::platform, CngProvider::software] {
        let windows = FakeWindows::new();
        let old = provider(api(&windows)).open().unwrap();
        calls(&windows);
        windows.reboot(unknown);
        let error = provider(api(&windows)).open().unwrap_err();
        assert_eq!(error.kind(), KeyErrorKind::Failed);
        assert_eq!(calls(&windows), ["open"]);
        windows.reboot(Status::BAD_DATA);
        let new = provider(api(&windows)).open().unwrap();
        assert_ne!(new.public_key_der(), old.public_key_der());
    }
}

#[test]
fn no_weaker_key_where_an_existing_stronger_one_fails() {
    for status in [
        Status::VBS_UNAVAILABLE,
        Status::DEVICE_NOT_READY,
        Status::TPM_SERVICE_NOT_RUNNING,
    ] {
        let (windows, _) = host_with_a_key();
        windows.reboot(status);
        let chain = ProviderChain::new(vec![
            Arc::new(CngProvider::keyguard(api(&windows), None)),
            Arc::new(CngProvider::software(api(&windows))),
        ]);
        let error = chain.open(KeyStrength::Software).unwrap_err();
        assert_eq!(error.kind(), KeyErrorKind::Failed, "{status}");
    }
}

#[test]
fn opens_a_separate_key_for_each_name() {
    let windows = FakeWindows::new();
    let named = CngProvider::keyguard(api(&windows), Some("Mine")).open();
    assert_eq!(named.unwrap().persistent_name(), Some("Mine"));
    assert_eq!(windows.with(|state| state.containers.len()), 1);
    keyguard(&windows).unwrap();
    assert_eq!(windows.with(|state| state.containers.len()), 2);
    let malformed = CngProvider::keyguard(api(&windows), Some("a\nb")).open();
    assert_eq!(malformed.unwrap_err().kind(), KeyErrorKind::Failed);
}

#[test]
fn rejects_reserved_names_for_the_keyguard_key() {
    let windows = FakeWindows::new();
    for name in ["KeyboundPlatformKey", "keyboundSOFTWAREkey"] {
        let result = CngProvider::keyguard(api(&windows), Some(name)).open();
        let error = result.unwrap_err();
        // Not an absence: a weaker key would be in that container.
        assert_eq!(error.kind(), KeyErrorKind::Failed);
        let message = error.to_string();
        assert!(message.contains(name) && message.contains("MSAL_MSI_V2_KEY_NAME"));
    }
    assert_eq!(windows.open_handles(), 0);
    assert!(calls(&windows).is_empty());
}

#[test]
fn leaves_no_handle_open_in_a_thousand_opens_with_failures() {
    let (windows, _) = host_with_a_key();
    let changes: [fn(&mut FakeContainer); 6] = [
        |_| {},
        |container| container.opens = Err(Status::PERMISSION),
        |container| container.isolation = Ok(vec![0]),
        |container| container.export_policy = Ok(1),
        |container| container.signs = Err(Status::NOT_ENOUGH_MEMORY),
        |container| container.group = Ok("DSA"),
    ];
    let original = windows.with(|state| state.containers["KeyGuardRSAKey"].clone());
    for round in 0..1000 {
        windows.with(|state| {
            let mut container = original.clone();
            changes[round % changes.len()](&mut container);
            state.containers.insert("KeyGuardRSAKey".into(), container);
        });
        drop(keyguard(&windows));
        assert_eq!(windows.open_handles(), 0, "round {round}");
    }
    for fails in [Status::NO_KEYGUARD, Status::EXISTS, Status::PERMISSION] {
        windows.with(|state| {
            state.containers.clear();
            state.create_fails = Some(fails);
        });
        keyguard(&windows).unwrap_err();
        assert_eq!(windows.open_handles(), 0);
    }
    windows.with(|state| {
        state.create_fails = None;
        state.containers.insert("KeyGuardRSAKey".into(), original);
    });
    windows.reboot(Status::NO_KEY);
    keyguard(&windows).unwrap();
    assert_eq!(windows.open_handles(), 0);
    assert!(windows.with(|state| state.opened) > 1800);
}

#[test]
fn a_borrowed_handle_keeps_the_key_open() {
    let windows = FakeWindows::new();
    let key = keyguard(&windows).unwrap();
    let borrowed = key.cng_handle().unwrap();
    drop(key);
    // The key and its provider.
    assert_eq!(windows.open_handles(), 2);
    assert_ne!(borrowed.raw(), 0);
    drop(borrowed);
    assert_eq!(windows.open_handles(), 0);
}

#[test]
fn signs_digests_of_the_right_length_and_formats_no_secret() {
    let windows = FakeWindows::new();
    let key = keyguard(&windows).unwrap();
    for scheme in [SignatureScheme::PssSha256, SignatureScheme::Pkcs1Sha512] {
        let signature = key.sign(scheme, &vec![7; scheme.digest_len()]).unwrap();
        assert_eq!(signature.len(), 256);
        assert!(key.sign(scheme, &[7; 20]).is_err());
    }
    windows.reboot(Status::NO_KEY);
    let formatted = format!("{key:?} {:?}", key.cng_handle());
    assert!(
        formatted.len() < 250 && formatted.contains("cng:"),
        "{formatted}"
    );
}

/// Another process of this account holds the mutex, or another account has an object of its name.
const LOCK_FAILURES: [fn() -> Lock; 2] = [|| Lock::Busy, || Lock::Unusable];
const DELETE_COMMAND: &str =
    r#"`certutil -user -csp "Microsoft Software Key Storage Provider" -delkey "KeyGuardRSAKey"`"#;
