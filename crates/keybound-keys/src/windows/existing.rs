//! The key that a certificate names: opened, checked as the keys of [`CngProvider`](super::CngProvider) are, and rated.
use super::checks;
use super::handle::{Key, Provider};
use super::msal_certificate_cache::KeyPlace;
use super::ncrypt_api::{MACHINE, NcryptApi};
use super::provider::{PLATFORM_PROVIDER, SOFTWARE_PROVIDER};
use super::status::{Status, Step};
use crate::rsa_blob::public_key_info;
use crate::{KeyError, KeyErrorKind, KeyStrength};
use std::sync::Arc;

/// Why the key is not used.
#[derive(Debug)]
pub(crate) enum Refused {
    Key(KeyError),
    /// It is another key than the certificate's.
    Mismatch,
}

/// Opens the key in a place, and checks that its public half is this one (SubjectPublicKeyInfo in DER).
pub(crate) fn open(
    api: &Arc<dyn NcryptApi>,
    place: &KeyPlace,
    public_key: &[u8],
) -> Result<Key, Refused> {
    let failed = |step: Step| move |status: Status| Refused::Key(step.error(status, false));
    let provider = Provider::open(api, &place.provider).map_err(failed(Step::OpenProvider))?;
    let flags = if place.machine { MACHINE } else { 0 };
    let key = provider
        .open_key(&place.name, flags)
        .map_err(failed(Step::Open))?;
    let blob = key.export_public().map_err(failed(Step::Export))?;
    if public_key_info(&blob).as_deref() != Some(public_key) {
        return Err(Refused::Mismatch);
    }
    Ok(key)
}

/// Opens a key that is to bind tokens: it has signed, and its provider exports it to nobody.
pub(crate) fn open_binding_key(
    api: &Arc<dyn NcryptApi>,
    place: &KeyPlace,
    public_key: &[u8],
) -> Result<(Key, KeyStrength), Refused> {
    let key = open(api, place, public_key)?;
    let strength = strength(&key, place, public_key).map_err(Refused::Key)?;
    Ok((key, strength))
}

fn strength(key: &Key, place: &KeyPlace, public_key: &[u8]) -> Result<KeyStrength, KeyError> {
    if checks::is_exportable(key)? {
        return Err(KeyError::new(
            KeyErrorKind::Failed,
            format!(
                "the key {} may be exported from its provider, so that it binds nothing: import it again without \
                 `exportable`, or have a certificate issued for a key that cannot be exported",
                place.name
            ),
        ));
    }
    let signature = checks::sign(key).map_err(|status| Step::Sign.error(status, false))?;
    checks::check_signature(public_key, &signature)?;
    let is = |provider: &str| place.provider.eq_ignore_ascii_case(provider);
    // Only this provider isolates keys: what another one says of itself is its own claim.
    if is(SOFTWARE_PROVIDER) && checks::is_isolated(key)? {
        return Ok(KeyStrength::KeyGuard);
    }
    Ok(if is(PLATFORM_PROVIDER) {
        KeyStrength::Hardware
    } else {
        KeyStrength::Software
    })
}

#[cfg(test)]
mod tests {
    use super::super::fake_ncrypt::{FakeNcrypt, Kept};
    use super::super::provider::CngProvider;
    use super::*;
    use crate::KeyProvider as _;
    use std::error::Error as _;

    fn place(provider: &str) -> KeyPlace {
        KeyPlace {
            provider: provider.to_owned(),
            name: "KeyGuardRSAKey".to_owned(),
            machine: false,
            legacy: false,
        }
    }

    /// What comes of the key of a host, in this provider, after a change.
    fn opened(provider: &str, change: fn(&mut Kept)) -> Result<KeyStrength, Refused> {
        let windows = FakeNcrypt::new();
        let api: Arc<dyn NcryptApi> = Arc::new(Arc::clone(&windows));
        let made = CngProvider::keyguard_over(Arc::clone(&api), None)
            .open()
            .unwrap();
        windows.with(|world| world.containers.values_mut().for_each(change));
        let public_key = made.public_key_der().to_vec();
        drop(made);
        let opened = open_binding_key(&api, &place(provider), &public_key);
        let strength = opened.map(|(_, strength)| strength);
        assert_eq!(windows.open_now(), 0);
        strength
    }

    fn error(change: fn(&mut Kept)) -> KeyError {
        match opened(SOFTWARE_PROVIDER, change) {
            Err(Refused::Key(error)) => error,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn no_weaker_key_is_taken_for_a_stronger_one() {
        let plain: fn(&mut Kept) = |kept| kept.isolation = Ok(vec![0, 0, 0, 0]);
        let unknown: fn(&mut Kept) = |kept| kept.isolation = Err(Status::NOT_SUPPORTED);
        let isolated: fn(&mut Kept) = |_| {};
        for (provider, change, expected) in [
            (SOFTWARE_PROVIDER, isolated, KeyStrength::KeyGuard),
            (SOFTWARE_PROVIDER, plain, KeyStrength::Software),
            (SOFTWARE_PROVIDER, unknown, KeyStrength::Software),
            (PLATFORM_PROVIDER, isolated, KeyStrength::Hardware),
            (PLATFORM_PROVIDER, plain, KeyStrength::Hardware),
            (
                "Vendor Key Storage Provider",
                isolated,
                KeyStrength::Software,
            ),
            (
                "microsoft software key storage provider",
                isolated,
                KeyStrength::KeyGuard,
            ),
        ] {
            assert_eq!(opened(provider, change).unwrap(), expected, "{provider}");
        }
    }

    #[test]
    fn key_never_exported_by_its_provider() {
        for change in [
            (|kept| kept.export_policy = Ok(1)) as fn(&mut Kept),
            |kept| kept.export_policy = Ok(2),
            |kept| kept.export_policy = Ok(4),
            |kept| kept.export_policy = Ok(8),
        ] {
            let error = error(change);
            assert_eq!(error.kind(), KeyErrorKind::Failed);
            assert!(error.to_string().contains("exported"), "{error}");
        }
        let untold = error(|kept| kept.export_policy = Err(Status::NOT_SUPPORTED));
        assert_eq!(untold.kind(), KeyErrorKind::Failed);
        let source = untold.source().unwrap().to_string();
        assert_eq!(source, Status::NOT_SUPPORTED.to_string());
    }

    #[test]
    fn a_key_that_does_not_sign_or_does_not_say_whether_it_is_isolated_is_an_error() {
        let lost = error(|kept| kept.signs = Err(Status::NO_KEY));
        assert!(lost.to_string().contains("did not sign"), "{lost}");
        let busy = error(|kept| kept.isolation = Err(Status::NOT_ENOUGH_MEMORY));
        assert_eq!(busy.kind(), KeyErrorKind::Failed);
    }

    #[test]
    fn another_key_than_the_certificates_is_refused() {
        let replaced = opened(SOFTWARE_PROVIDER, |kept| *kept = Kept::of_a_rival());
        assert!(matches!(replaced, Err(Refused::Mismatch)), "{replaced:?}");
        let longer = opened(SOFTWARE_PROVIDER, |kept| kept.exports = Ok(3072));
        assert!(matches!(longer, Err(Refused::Mismatch)), "{longer:?}");
        let gone = error(|kept| kept.opens = Err(Status::BAD_KEYSET));
        assert_eq!(gone.kind(), KeyErrorKind::Failed);
    }
}
