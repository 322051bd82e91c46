//! Opens the key of a certificate, checks it as `CngProvider` checks its keys, and determines its strength.
use super::certificate_error::CertificateError;
use super::checks;
use super::handle::Key;
use super::key_prov_info::KeyProvInfo;
use super::provider::{PLATFORM_PROVIDER, SOFTWARE_PROVIDER};
use super::status::Step;
use super::windows_api::WindowsApi;
use crate::rsa_blob::public_key_info;
use crate::verify::check_self_test;
use crate::{KeyError, KeyErrorKind, KeyStrength};
use std::sync::Arc;

/// Opens the key, and checks that its public key is this one (SubjectPublicKeyInfo in DER).
pub(crate) fn open(
    api: &Arc<dyn WindowsApi>,
    info: &KeyProvInfo,
    public_key: &[u8],
) -> Result<Key, CertificateError> {
    let failed = |(step, status): (Step, _)| CertificateError::Key(step.error(status, false));
    let key = Key::open(api, info).map_err(failed)?;
    let blob = key
        .export_public()
        .map_err(|status| failed((Step::Export, status)))?;
    if public_key_info(&blob).as_deref() != Some(public_key) {
        return Err(CertificateError::KeyMismatch);
    }
    Ok(key)
}

/// Opens the key for binding tokens: it signs, and its provider does not export it.
pub(crate) fn open_binding_key(
    api: &Arc<dyn WindowsApi>,
    info: &KeyProvInfo,
    public_key: &[u8],
) -> Result<(Key, KeyStrength), CertificateError> {
    let key = open(api, info, public_key)?;
    let strength = strength(&key, info, public_key).map_err(CertificateError::Key)?;
    Ok((key, strength))
}

fn strength(key: &Key, info: &KeyProvInfo, public_key: &[u8]) -> Result<KeyStrength, KeyError> {
    if checks::is_exportable(key)? {
        return Err(KeyError::new(
            KeyErrorKind::Failed,
            format!(
                "the key {} may be exported from its provider, so it binds nothing: import it again without `exportable`, or \
                 request a certificate for a key that cannot be exported",
                info.container
            ),
        ));
    }
    let signature = checks::sign(key).map_err(|status| Step::Sign.error(status, false))?;
    check_self_test(public_key, &signature)?;
    let is = |provider: &str| info.provider.eq_ignore_ascii_case(provider);
    // Only this provider isolates keys; the property of another provider proves nothing.
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
    use super::super::provider::CngProvider;
    use super::super::status::Status;
    use super::super::testing::fake_windows::{FakeContainer, FakeWindows};
    use super::*;
    use crate::KeyProvider as _;
    use std::error::Error as _;

    /// Opens the key of a host, in this provider, after a change.
    fn opened(
        provider: &str,
        change: fn(&mut FakeContainer),
    ) -> Result<KeyStrength, CertificateError> {
        let windows = FakeWindows::new();
        let api: Arc<dyn WindowsApi> = Arc::new(Arc::clone(&windows));
        let key = CngProvider::keyguard(Arc::clone(&api), None)
            .open()
            .unwrap();
        windows.with(|state| state.containers.values_mut().for_each(change));
        let public_key = key.public_key_der().to_vec();
        drop(key);
        let info = KeyProvInfo::cng(provider, "KeyGuardRSAKey");
        let opened = open_binding_key(&api, &info, &public_key);
        let strength = opened.map(|(_, strength)| strength);
        assert_eq!(windows.open_handles(), 0);
        strength
    }

    fn error(change: fn(&mut FakeContainer)) -> KeyError {
        match opened(SOFTWARE_PROVIDER, change) {
            Err(CertificateError::Key(error)) => error,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn no_weaker_key_is_taken_for_a_stronger_one() {
        let plain: fn(&mut FakeContainer) = |container| container.isolation = Ok(vec![0, 0, 0, 0]);
        let unknown: fn(&mut FakeContainer) =
            |container| container.isolation = Err(Status::NOT_SUPPORTED);
        let isolated: fn(&mut FakeContainer) = |_| {};
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
            (|container| container.export_policy = Ok(1)) as fn(&mut FakeContainer),
            |container| container.export_policy = Ok(2),
            |container| container.export_policy = Ok(4),
            |container| container.export_policy = Ok(8),
        ] {
            let error = error(change);
            assert_eq!(error.kind(), KeyErrorKind::Failed);
            assert!(error.to_string().contains("exported"), "{error}");
        }
        let unknown = error(|container| container.export_policy = Err(Status::NOT_SUPPORTED));
        assert_eq!(unknown.kind(), KeyErrorKind::Failed);
        let source = unknown.source().unwrap().to_string();
        assert_eq!(source, Status::NOT_SUPPORTED.to_string());
    }

    #[test]
    fn rejects_a_key_that_does_not_sign_or_whose_isolation_is_unknown() {
        let lost = error(|container| container.signs = Err(Status::NO_KEY));
        assert!(lost.to_string().contains("did not sign"), "{lost}");
        let busy = error(|container| container.isolation = Err(Status::NOT_ENOUGH_MEMORY));
        assert_eq!(busy.kind(), KeyErrorKind::Failed);
    }

    #[test]
    fn rejects_a_key_other_than_the_certificates() {
        let replaced = opened(SOFTWARE_PROVIDER, |container| {
            *container = FakeContainer::of_another_process()
        });
        let is_mismatch = |result| matches!(result, Err(CertificateError::KeyMismatch));
        assert!(is_mismatch(replaced));
        let longer = opened(SOFTWARE_PROVIDER, |container| container.exports = Ok(3072));
        assert!(is_mismatch(longer));
        let gone = error(|container| container.opens = Err(Status::BAD_KEYSET));
        assert_eq!(gone.kind(), KeyErrorKind::Failed);
    }
}
