//! What becomes of keys on the good days of a host and on the bad ones.
use super::fake_ncrypt::{FakeNcrypt, Kept};
use super::ncrypt_api::{Lock, NcryptApi, OVERWRITE, PER_BOOT, VIRTUAL_ISOLATION};
use super::provider::CngProvider;
use super::status::Status;
use crate::{
    BindingKey, KeyError, KeyErrorKind, KeyProvider as _, KeyStrength, ProviderChain,
    SignatureScheme, self_test,
};
use std::error::Error as _;
use std::sync::Arc;

fn api(windows: &Arc<FakeNcrypt>) -> Arc<dyn NcryptApi> {
    Arc::new(Arc::clone(windows))
}

fn keyguard(windows: &Arc<FakeNcrypt>) -> Result<Arc<dyn BindingKey>, KeyError> {
    CngProvider::keyguard_over(api(windows), None).open()
}

fn calls(windows: &Arc<FakeNcrypt>) -> Vec<String> {
    windows.with(|world| std::mem::take(&mut world.calls))
}

/// A host on which a key has been made, and what its public half is.
fn host_with_a_key() -> (Arc<FakeNcrypt>, Vec<u8>) {
    let windows = FakeNcrypt::new();
    let public_key = keyguard(&windows).unwrap().public_key_der().to_vec();
    calls(&windows);
    (windows, public_key)
}

#[test]
fn at_first_boot_a_key_is_made_and_later_opened() {
    let windows = FakeNcrypt::new();
    let first = keyguard(&windows).unwrap();
    let flags = format!("create {:x}", VIRTUAL_ISOLATION | PER_BOOT);
    let made = "finalize {Length: 2048, ExportPolicy: 0, KeyUsage: 3}";
    // Certificates of a key that was there by this name once may still be there.
    assert_eq!(calls(&windows), ["open", &flags, made, "purge"]);
    assert_eq!(first.strength(), KeyStrength::KeyGuard);
    assert_eq!(first.persistent_name(), Some("KeyGuardRSAKey"));
    self_test(&*first).unwrap();

    let second = keyguard(&windows).unwrap();
    assert_eq!(calls(&windows), ["open"]);
    assert_eq!(second.public_key_der(), first.public_key_der());
    assert_eq!(second.id(), first.id());
}

#[test]
fn every_status_for_not_found_has_a_key_made() {
    for status in [0x8009_0016, 0x8009_000D, 0x8009_0011, 0x8009_003A] {
        let windows = FakeNcrypt::new();
        windows.with(|world| world.open_fails = Some(Status(status)));
        self_test(&*keyguard(&windows).unwrap()).unwrap();
    }
}

#[test]
fn any_other_status_has_none_made() {
    let windows = FakeNcrypt::new();
    windows.with(|world| world.open_fails = Some(Status::PERMISSION));
    assert_eq!(keyguard(&windows).unwrap_err().kind(), KeyErrorKind::Failed);
    assert_eq!(calls(&windows), ["open"]);
}

#[test]
fn after_a_reboot_the_name_opens_and_a_new_key_takes_its_place() {
    let (windows, old) = host_with_a_key();
    windows.reboot(Status(0x8009_0005));
    let key = keyguard(&windows).unwrap();
    assert_ne!(key.public_key_der(), old);
    self_test(&*key).unwrap();
    let calls = calls(&windows);
    let overwrite = format!("create {:x}", VIRTUAL_ISOLATION | PER_BOOT | OVERWRITE);
    // Opened, tried; under the mutex tried again, made, the certificates of the old one removed, opened and compared.
    let order: Vec<_> = calls
        .iter()
        .map(|call| call.split(' ').next().unwrap())
        .collect();
    assert_eq!(
        order,
        [
            "open", "lock", "open", "create", "finalize", "open", "purge"
        ]
    );
    assert!(calls.contains(&overwrite), "{calls:?}");
    assert!(
        calls[1].starts_with("lock OfAccount(\"KEYBOUND_KEY_"),
        "{calls:?}"
    );
    let (place, public_key) = windows.with(|world| world.purged.pop().unwrap());
    assert_eq!(place.name, "KeyGuardRSAKey");
    assert_eq!(place.provider, "Microsoft Software Key Storage Provider");
    assert_eq!(public_key, key.public_key_der());
}

#[test]
fn a_lost_key_that_tells_nothing_of_itself_is_replaced_too() {
    let untold: [fn(&mut Kept); 3] = [
        |kept| kept.group = Err(Status::VBS_CANNOT_DECRYPT),
        |kept| kept.exports = Err(Status::NO_KEY),
        |kept| {
            kept.group = Err(Status(0x8009_0005));
            kept.exports = Err(Status(0x8009_0005));
        },
    ];
    for forget in untold {
        let (windows, old) = host_with_a_key();
        windows.reboot(Status(0x8009_0005));
        windows.with(|world| world.containers.values_mut().for_each(forget));
        let key = keyguard(&windows).unwrap();
        assert_ne!(key.public_key_der(), old);
        self_test(&*key).unwrap();
    }
}

#[test]
fn a_name_that_no_longer_opens_is_taken_over_too() {
    let (windows, old) = host_with_a_key();
    windows.with(|world| {
        for kept in world.containers.values_mut() {
            kept.opens = Err(Status::VBS_CANNOT_DECRYPT);
        }
    });
    let key = keyguard(&windows).unwrap();
    assert_ne!(key.public_key_der(), old);
    assert!(calls(&windows).contains(&"purge".to_owned()));
}

#[test]
fn a_process_that_waited_for_another_uses_the_key_that_it_created() {
    let (windows, _) = host_with_a_key();
    windows.reboot(Status(0x8009_0005));
    let theirs = Kept::of_a_rival();
    let public_key = theirs.key.public_key_der().to_vec();
    windows.with(|world| world.while_waiting = Some(theirs));
    let key = keyguard(&windows).unwrap();
    assert_eq!(key.public_key_der(), public_key);
    assert!(
        !calls(&windows)
            .iter()
            .any(|call| call.starts_with("create"))
    );
}

#[test]
fn without_its_mutex_a_lost_key_is_replaced_all_the_same() {
    for fails in LOCK_FAILURES {
        let (windows, old) = host_with_a_key();
        windows.reboot(Status(0x8009_0005));
        windows.with(|world| world.lock_fails = Some(fails));
        let key = keyguard(&windows).unwrap();
        assert_ne!(key.public_key_der(), old);
        self_test(&*key).unwrap();
        assert_eq!(calls(&windows).last().unwrap(), "purge");
    }
}

#[test]
fn without_its_mutex_a_key_that_another_process_made_meanwhile_is_not_overwritten() {
    for fails in LOCK_FAILURES {
        let (windows, _) = host_with_a_key();
        windows.reboot(Status(0x8009_0005));
        let theirs = Kept::of_a_rival();
        let public_key = theirs.key.public_key_der().to_vec();
        windows.with(|world| {
            world.lock_fails = Some(fails);
            world.while_waiting = Some(theirs);
        });
        assert_eq!(keyguard(&windows).unwrap().public_key_der(), public_key);
        let calls = calls(&windows);
        assert!(!calls.iter().any(|call| call.starts_with("create")));
    }
}

#[test]
fn without_its_mutex_a_key_that_another_process_put_in_place_of_ours_is_used() {
    for fails in LOCK_FAILURES {
        let (windows, _) = host_with_a_key();
        windows.reboot(Status(0x8009_0005));
        let theirs = Kept::of_a_rival();
        let public_key = theirs.key.public_key_der().to_vec();
        windows.with(|world| {
            world.lock_fails = Some(fails);
            world.overwrites_ours = Some(theirs);
        });
        assert_eq!(keyguard(&windows).unwrap().public_key_der(), public_key);
        windows.with(|world| assert_eq!(world.purged.last().unwrap().1, public_key));
    }
}

#[test]
fn of_two_who_create_at_once_both_end_with_the_first_ones_key() {
    let windows = FakeNcrypt::new();
    let rival = Kept::of_a_rival();
    let theirs = rival.key.public_key_der().to_vec();
    windows.with(|world| world.rival = Some(rival));
    let key = keyguard(&windows).unwrap();
    assert_eq!(key.public_key_der(), theirs);
    assert_eq!(calls(&windows).last().unwrap(), "open");
    assert_eq!(keyguard(&windows).unwrap().public_key_der(), theirs);
}

#[test]
fn a_key_that_somebody_replaced_knows_and_still_signs() {
    let (windows, _) = host_with_a_key();
    let key = keyguard(&windows).unwrap();
    assert!(key.is_in_place());
    let opened = windows.open_now();
    // Nothing that only fails for now says so.
    windows.with(|world| world.open_fails = Some(Status::PERMISSION));
    assert!(key.is_in_place());
    windows.with(|world| world.open_fails = None);
    let rival = Kept::of_a_rival();
    windows.with(|world| world.containers.insert("KeyGuardRSAKey".into(), rival));
    assert!(!key.is_in_place());
    windows.with(|world| world.containers.clear());
    assert!(!key.is_in_place());
    self_test(&*key).unwrap();
    assert_eq!(windows.open_now(), opened);
}

#[test]
fn without_vbs_the_error_says_what_to_switch_on() {
    let windows = FakeNcrypt::new();
    windows.with(|world| world.create_fails = Some(Status(0x8089_0014)));
    let error = keyguard(&windows).unwrap_err();
    assert_eq!(error.kind(), KeyErrorKind::IsolationUnavailable);
    for word in ["Trusted Launch", "Secure Boot", "vTPM", "msinfo32"] {
        assert!(error.to_string().contains(word), "{error}");
    }
    assert_eq!(error.source().unwrap().to_string(), "status 0x80890014");

    let (windows, _) = host_with_a_key();
    windows.with(|world| world.open_fails = Some(Status::VBS_UNAVAILABLE));
    let kind = keyguard(&windows).unwrap_err().kind();
    assert_eq!(kind, KeyErrorKind::IsolationUnavailable);
}

#[test]
fn without_vbs_a_weaker_key_is_had_only_where_the_floor_allows_it() {
    let windows = FakeNcrypt::new();
    windows.with(|world| world.isolates = false);
    let chain = ProviderChain::new(vec![
        Arc::new(CngProvider::keyguard_over(api(&windows), None)),
        Arc::new(CngProvider::platform_over(api(&windows))),
        Arc::new(CngProvider::software_over(api(&windows))),
    ]);
    let error = chain.open(KeyStrength::KeyGuard).unwrap_err();
    assert_eq!(error.kind(), KeyErrorKind::IsolationUnavailable);
    let key = chain.open(KeyStrength::Software).unwrap();
    assert_eq!(key.strength(), KeyStrength::Hardware);
    windows.with(|world| world.provider_fails = Some(Status::KEYSET_NOT_DEFINED));
    let kind = chain.open(KeyStrength::Hardware).unwrap_err().kind();
    assert_eq!(kind, KeyErrorKind::TooWeak);
}

#[test]
fn a_key_that_was_made_and_is_not_isolated_is_not_left_behind() {
    let windows = FakeNcrypt::new();
    windows.with(|world| world.isolates = false);
    let kind = keyguard(&windows).unwrap_err().kind();
    assert_eq!(kind, KeyErrorKind::IsolationUnavailable);
    assert_eq!(calls(&windows).last().unwrap(), "delete");
    assert!(windows.with(|world| world.containers.is_empty()));
}

#[test]
fn a_key_that_is_there_and_not_isolated_is_neither_used_nor_touched() {
    let reported = [vec![], vec![0, 0, 0, 0], vec![0, 1, 0, 0]].map(Ok);
    for isolation in [&reported[..], &[Err(Status::NOT_SUPPORTED)]].concat() {
        let (windows, _) = host_with_a_key();
        windows.with(|world| {
            for kept in world.containers.values_mut() {
                kept.isolation.clone_from(&isolation);
            }
        });
        let error = keyguard(&windows).unwrap_err();
        assert_eq!(error.kind(), KeyErrorKind::NotIsolated, "{isolation:?}");
        assert!(error.to_string().contains(REMOVAL), "{error}");
        assert_eq!(calls(&windows), ["open"]);
    }
}

#[test]
fn key_never_exported_not_even_by_others() {
    let (windows, _) = host_with_a_key();
    windows.with(|world| {
        for kept in world.containers.values_mut() {
            kept.export_policy = Ok(2);
        }
    });
    let error = keyguard(&windows).unwrap_err();
    assert_eq!(error.kind(), KeyErrorKind::Failed);
    assert!(error.to_string().contains("exported"), "{error}");
    assert!(error.to_string().contains(REMOVAL), "{error}");
    assert_eq!(calls(&windows), ["open"]);
}

#[test]
fn that_isolation_cannot_be_read_for_now_is_no_absence() {
    let (windows, _) = host_with_a_key();
    windows.with(|world| {
        for kept in world.containers.values_mut() {
            kept.isolation = Err(Status::NOT_ENOUGH_MEMORY);
        }
    });
    let error = keyguard(&windows).unwrap_err();
    assert_eq!(error.kind(), KeyErrorKind::Failed);
    assert_eq!(calls(&windows), ["open"]);
}

#[test]
fn a_key_that_does_not_tell_whether_it_may_be_exported_is_not_used() {
    for status in [
        Status::NOT_SUPPORTED,
        Status::NOT_FOUND,
        Status::NOT_ENOUGH_MEMORY,
    ] {
        let (windows, _) = host_with_a_key();
        windows.with(|world| {
            for kept in world.containers.values_mut() {
                kept.export_policy = Err(status);
            }
        });
        let error = keyguard(&windows).unwrap_err();
        assert_eq!(error.kind(), KeyErrorKind::Failed, "{status:?}");
        assert_eq!(error.source().unwrap().to_string(), status.to_string());
        assert_eq!(calls(&windows), ["open"]);
    }
}

#[test]
fn a_new_key_that_does_not_tell_it_is_not_left_behind() {
    let windows = FakeNcrypt::new();
    windows.with(|world| world.policy_fails = Some(Status::NOT_SUPPORTED));
    assert_eq!(keyguard(&windows).unwrap_err().kind(), KeyErrorKind::Failed);
    assert_eq!(calls(&windows).last().unwrap(), "delete");
    assert!(windows.with(|world| world.containers.is_empty()));
}

#[test]
fn a_public_key_that_is_not_given_is_an_error_and_nothing_is_overwritten() {
    let (windows, _) = host_with_a_key();
    windows.with(|world| world.export_fails = Some(Status::NOT_SUPPORTED));
    assert_eq!(keyguard(&windows).unwrap_err().kind(), KeyErrorKind::Failed);
    assert_eq!(calls(&windows), ["open"]);
}

#[test]
fn what_only_fails_for_now_or_is_no_such_key_is_not_overwritten() {
    let change = |change: fn(&mut Kept)| {
        let (windows, _) = host_with_a_key();
        windows.with(|world| world.containers.values_mut().for_each(change));
        let error = keyguard(&windows).unwrap_err();
        assert_eq!(calls(&windows), ["open"]);
        error.kind()
    };
    let busy = change(|kept| kept.signs = Err(Status::NOT_ENOUGH_MEMORY));
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
    let device = change(|kept| kept.signs = Err(Status::DEVICE_NOT_READY));
    assert_eq!(device, KeyErrorKind::Failed);
    let elliptic = change(|kept| {
        kept.signs = Err(Status(0x8009_0027));
        kept.group = Ok("ECDSA");
    });
    assert_eq!(elliptic, KeyErrorKind::Failed);
    let longer = change(|kept| {
        kept.signs = Err(Status(0x8009_0027));
        kept.exports = Ok(3072);
    });
    assert_eq!(longer, KeyErrorKind::Failed);
}

#[test]
fn of_an_unknown_status_only_a_key_of_an_earlier_boot_is_replaced() {
    let unknown = Status(0x8009_0027);
    let (windows, old) = host_with_a_key();
    windows.reboot(unknown);
    assert_ne!(keyguard(&windows).unwrap().public_key_der(), old);
    for over in [CngProvider::platform_over, CngProvider::software_over] {
        let windows = FakeNcrypt::new();
        let old = over(api(&windows)).open().unwrap();
        calls(&windows);
        windows.reboot(unknown);
        let error = over(api(&windows)).open().unwrap_err();
        assert_eq!(error.kind(), KeyErrorKind::Failed);
        assert_eq!(calls(&windows), ["open"]);
        windows.reboot(Status::BAD_DATA);
        let new = over(api(&windows)).open().unwrap();
        assert_ne!(new.public_key_der(), old.public_key_der());
    }
}

#[test]
fn no_weaker_key_where_a_stronger_one_is_there_and_fails() {
    for status in [
        Status::VBS_UNAVAILABLE,
        Status::DEVICE_NOT_READY,
        Status::TPM_SERVICE_NOT_RUNNING,
    ] {
        let (windows, _) = host_with_a_key();
        windows.reboot(status);
        let chain = ProviderChain::new(vec![
            Arc::new(CngProvider::keyguard_over(api(&windows), None)),
            Arc::new(CngProvider::software_over(api(&windows))),
        ]);
        let error = chain.open(KeyStrength::Software).unwrap_err();
        assert_eq!(error.kind(), KeyErrorKind::Failed, "{status}");
    }
}

#[test]
fn a_key_of_another_name_is_another_key() {
    let windows = FakeNcrypt::new();
    let named = CngProvider::keyguard_over(api(&windows), Some("Mine")).open();
    assert_eq!(named.unwrap().persistent_name(), Some("Mine"));
    assert_eq!(windows.with(|world| world.containers.len()), 1);
    keyguard(&windows).unwrap();
    assert_eq!(windows.with(|world| world.containers.len()), 2);
    let malformed = CngProvider::keyguard_over(api(&windows), Some("a\nb")).open();
    assert_eq!(malformed.unwrap_err().kind(), KeyErrorKind::Failed);
}

#[test]
fn a_keyguard_key_takes_the_name_of_no_other_key() {
    let windows = FakeNcrypt::new();
    for name in ["KeyboundPlatformKey", "keyboundSOFTWAREkey"] {
        let refused = CngProvider::keyguard_over(api(&windows), Some(name)).open();
        let error = refused.unwrap_err();
        // Not an absence: a weaker key would be in that container.
        assert_eq!(error.kind(), KeyErrorKind::Failed);
        let words = error.to_string();
        assert!(words.contains(name) && words.contains("MSAL_MSI_V2_KEY_NAME"));
    }
    assert_eq!(windows.open_now(), 0);
    assert!(calls(&windows).is_empty());
}

#[test]
fn no_handle_is_left_open_in_a_thousand_acquisitions_whatever_goes_wrong() {
    let (windows, _) = host_with_a_key();
    let troubles: [fn(&mut Kept); 6] = [
        |_| {},
        |kept| kept.opens = Err(Status::PERMISSION),
        |kept| kept.isolation = Ok(vec![0]),
        |kept| kept.export_policy = Ok(1),
        |kept| kept.signs = Err(Status::NOT_ENOUGH_MEMORY),
        |kept| kept.group = Ok("DSA"),
    ];
    let whole = windows.with(|world| world.containers["KeyGuardRSAKey"].clone());
    for round in 0..1000 {
        windows.with(|world| {
            let mut kept = whole.clone();
            troubles[round % troubles.len()](&mut kept);
            world.containers.insert("KeyGuardRSAKey".into(), kept);
        });
        drop(keyguard(&windows));
        assert_eq!(windows.open_now(), 0, "round {round}");
    }
    for fails in [Status::NO_KEYGUARD, Status::EXISTS, Status::PERMISSION] {
        windows.with(|world| {
            world.containers.clear();
            world.create_fails = Some(fails);
        });
        keyguard(&windows).unwrap_err();
        assert_eq!(windows.open_now(), 0);
    }
    windows.with(|world| {
        world.create_fails = None;
        world.containers.insert("KeyGuardRSAKey".into(), whole);
    });
    windows.reboot(Status::NO_KEY);
    keyguard(&windows).unwrap();
    assert_eq!(windows.open_now(), 0);
    assert!(windows.with(|world| world.opened) > 1800);
}

#[test]
fn a_lent_handle_stays_open_as_long_as_it_is_lent() {
    let windows = FakeNcrypt::new();
    let key = keyguard(&windows).unwrap();
    let lent = key.cng_handle().unwrap();
    drop(key);
    // The key, and the provider that it is of.
    assert_eq!(windows.open_now(), 2);
    assert_ne!(lent.raw(), 0);
    drop(lent);
    assert_eq!(windows.open_now(), 0);
}

#[test]
fn signing_takes_digests_of_the_right_length_and_says_nothing_private() {
    let windows = FakeNcrypt::new();
    let key = keyguard(&windows).unwrap();
    for scheme in [SignatureScheme::PssSha256, SignatureScheme::Pkcs1Sha512] {
        let signature = key.sign(scheme, &vec![7; scheme.digest_len()]).unwrap();
        assert_eq!(signature.len(), 256);
        assert!(key.sign(scheme, &[7; 20]).is_err());
    }
    windows.reboot(Status::NO_KEY);
    let shown = format!("{key:?} {:?}", key.cng_handle());
    assert!(shown.len() < 250 && shown.contains("cng:"), "{shown}");
}

/// Another process of this account holds it, or another account has an object of its name.
const LOCK_FAILURES: [fn() -> Lock; 2] = [|| Lock::Busy, || Lock::Unusable];
const REMOVAL: &str =
    r#"`certutil -user -csp "Microsoft Software Key Storage Provider" -delkey "KeyGuardRSAKey"`"#;
