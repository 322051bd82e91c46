use crate::{BindingKey, KeyError, KeyErrorKind, KeyStrength};
use std::fmt;
use std::sync::Arc;

/// A source of binding keys of one strength.
pub trait KeyProvider: Send + Sync + fmt::Debug {
    /// The strength of its keys.
    fn strength(&self) -> KeyStrength;

    /// Opens or creates the host's key. It may block; call it off the event loop.
    ///
    /// # Errors
    /// A kind that [is an absence](KeyErrorKind::is_absence) if this host has no such key (the chain then tries the next
    /// provider), any other kind if the key should exist and fails (the chain then stops: a failure is not a reason for a
    /// weaker key).
    fn open(&self) -> Result<Arc<dyn BindingKey>, KeyError>;

    /// Whether [`open`](Self::open) never blocks, so that it can run in the event loop. Default: false, and it runs on a
    /// separate thread.
    fn opens_at_once(&self) -> bool {
        false
    }

    /// Whether its keys are [simulated](BindingKey::is_simulated). Default: false.
    fn is_simulated(&self) -> bool {
        false
    }
}

/// Key providers, of which the strongest that has a key is used.
///
/// Two chains are equal if their providers are the same objects, as those of clones are, or if both are
/// [`platform`](Self::platform)'s, with the same name for KeyGuard keys.
#[derive(Clone, Debug)]
pub struct ProviderChain {
    providers: Vec<Arc<dyn KeyProvider>>,
    /// For a chain of the platform.
    platform: Option<Platform>,
}

/// The argument of [`ProviderChain::platform_named`].
#[derive(Clone, Debug, PartialEq, Eq)]
struct Platform(Option<String>);

impl ProviderChain {
    /// A chain of these providers, tried strongest first; those of equal strength, in the given order.
    pub fn new(mut providers: Vec<Arc<dyn KeyProvider>>) -> Self {
        providers.sort_by_key(|provider| std::cmp::Reverse(provider.strength()));
        Self {
            providers,
            platform: None,
        }
    }

    /// The providers of this platform: see [`platform_named`](Self::platform_named).
    pub fn platform() -> Self {
        Self::platform_named(None)
    }

    /// The providers of this platform. On Windows: KeyGuard keys, in the container of this name (default: `KeyGuardRSAKey`,
    /// which MSAL uses too), keys in the TPM, and software keys of Windows. Elsewhere: a key in memory for each process; the name
    /// is ignored.
    pub fn platform_named(keyguard: Option<&str>) -> Self {
        Self {
            platform: Some(Platform(keyguard.map(str::to_owned))),
            ..Self::new(platform_providers(keyguard))
        }
    }

    /// The providers, strongest first.
    pub fn providers(&self) -> impl Iterator<Item = &dyn KeyProvider> {
        self.providers.iter().map(|provider| &**provider)
    }

    /// Whether it is a chain of the [platform](Self::platform).
    pub fn is_platform(&self) -> bool {
        self.platform.is_some()
    }

    /// Whether [`open`](Self::open) never blocks, for all providers.
    pub fn opens_at_once(&self) -> bool {
        self.providers
            .iter()
            .all(|provider| provider.opens_at_once())
    }

    /// Opens the best key and checks it against the minimum key strength.
    ///
    /// # Errors
    /// [`KeyErrorKind::Unavailable`] if no provider has a key, [`KeyErrorKind::TooWeak`] if the best one is below
    /// the minimum, both with the error of the strongest provider as their cause; [`KeyErrorKind::IsolationUnavailable`] or
    /// [`KeyErrorKind::NotIsolated`] instead if that is the error of the strongest provider; or the error of a provider that
    /// failed.
    pub fn open(&self, minimum: KeyStrength) -> Result<Arc<dyn BindingKey>, KeyError> {
        let mut reason = None;
        for provider in &self.providers {
            let mut best = provider.strength();
            if best >= minimum {
                match provider.open() {
                    Ok(key) if key.strength() >= minimum => {
                        tracing::debug!(strength = %key.strength(), simulated = key.is_simulated(), "binding key opened");
                        return Ok(key);
                    }
                    Ok(key) => best = key.strength(),
                    Err(error) if error.kind().is_absence() => {
                        tracing::debug!(strength = %best, %error, "no such key on this host");
                        reason.get_or_insert(error);
                        continue;
                    }
                    Err(error) => return Err(error),
                }
            }
            return Err(because(KeyError::too_weak(best, minimum), reason));
        }
        let none = KeyError::new(
            KeyErrorKind::Unavailable,
            "no provider offers a binding key on this host",
        );
        Err(because(none, reason))
    }
}

/// The result of one provider in [`ProviderChain::probe_all`].
#[derive(Debug)]
#[non_exhaustive]
pub struct ProviderStatus {
    /// The strength of its keys.
    pub strength: KeyStrength,
    /// The key, or the error.
    pub key: Result<Arc<dyn BindingKey>, KeyError>,
}

impl ProviderChain {
    /// Opens the key of each provider, strongest first, up to the first that has a key or fails: the result shows which key this
    /// host has, and why no stronger one. Weaker providers are skipped, as in [`open`](Self::open). It may block.
    pub fn probe_all(&self) -> Vec<ProviderStatus> {
        let mut statuses = Vec::new();
        for provider in &self.providers {
            let key = provider.open();
            let is_absent = matches!(&key, Err(error) if error.kind().is_absence());
            statuses.push(ProviderStatus {
                strength: provider.strength(),
                key,
            });
            if !is_absent {
                break;
            }
        }
        statuses
    }
}

impl PartialEq for ProviderChain {
    fn eq(&self, other: &Self) -> bool {
        let same = |(ours, theirs)| Arc::ptr_eq(ours, theirs);
        (self.platform.is_some() && self.platform == other.platform)
            || (self.providers.len() == other.providers.len()
                && self.providers.iter().zip(&other.providers).all(same))
    }
}

impl Eq for ProviderChain {}

#[cfg(windows)]
use crate::windows::platform_providers;

#[cfg(not(windows))]
fn platform_providers(_keyguard: Option<&str>) -> Vec<Arc<dyn KeyProvider>> {
    vec![Arc::new(crate::memory::MemoryKeyProvider::new())]
}

fn because(error: KeyError, reason: Option<KeyError>) -> KeyError {
    match reason {
        // Its message names the setting to enable, which is more specific.
        Some(reason) if reason.kind() != KeyErrorKind::Unavailable => reason,
        Some(reason) => error.with_source(reason),
        None => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SignatureScheme;
    use std::error::Error as _;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[derive(Debug)]
    struct Fake(KeyStrength, Option<KeyErrorKind>);

    impl KeyProvider for Fake {
        fn strength(&self) -> KeyStrength {
            self.0
        }
        fn open(&self) -> Result<Arc<dyn BindingKey>, KeyError> {
            match self.1 {
                Some(kind) => Err(KeyError::new(kind, format!("fake {}", self.0))),
                None => Ok(Arc::new(FakeKey(self.0))),
            }
        }
    }

    #[derive(Debug)]
    struct FakeKey(KeyStrength);

    impl BindingKey for FakeKey {
        fn public_key_der(&self) -> &[u8] {
            &[]
        }
        fn sign(&self, _: SignatureScheme, _: &[u8]) -> Result<Vec<u8>, KeyError> {
            Err(KeyError::new(KeyErrorKind::Failed, "fake"))
        }
        fn strength(&self) -> KeyStrength {
            self.0
        }
        fn id(&self) -> &str {
            "fake"
        }
    }

    fn chain(providers: &[(KeyStrength, Option<KeyErrorKind>)]) -> ProviderChain {
        ProviderChain::new(
            providers
                .iter()
                .map(|(s, e)| Arc::new(Fake(*s, *e)) as _)
                .collect(),
        )
    }

    #[test]
    fn opens_the_best_key_regardless_of_the_minimum() {
        use KeyStrength::{Hardware, KeyGuard, Software};
        let chain = chain(&[(Software, None), (KeyGuard, None), (Hardware, None)]);
        assert_eq!(chain.open(Software).unwrap().strength(), KeyGuard);
    }

    #[test]
    fn no_weaker_key() {
        use KeyStrength::{Hardware, KeyGuard, Software};
        let absent = Some(KeyErrorKind::Unavailable);
        let weak = chain(&[(KeyGuard, absent), (Software, None)]);
        assert_eq!(
            weak.open(KeyGuard).unwrap_err().kind(),
            KeyErrorKind::TooWeak
        );
        assert_eq!(
            weak.open(Hardware).unwrap_err().kind(),
            KeyErrorKind::TooWeak
        );
        assert_eq!(weak.open(Software).unwrap().strength(), Software);
        // A failure is not a reason for a weaker key.
        let failing = chain(&[(KeyGuard, Some(KeyErrorKind::Failed)), (Software, None)]);
        assert_eq!(
            failing.open(Software).unwrap_err().kind(),
            KeyErrorKind::Failed
        );
        assert_eq!(
            chain(&[]).open(Software).unwrap_err().kind(),
            KeyErrorKind::Unavailable
        );
    }

    /// Claims one strength, opens keys of another, and counts the calls.
    #[derive(Debug)]
    struct Overstating(KeyStrength, KeyStrength, AtomicUsize);

    impl KeyProvider for Overstating {
        fn strength(&self) -> KeyStrength {
            self.0
        }
        fn open(&self) -> Result<Arc<dyn BindingKey>, KeyError> {
            self.2.fetch_add(1, Ordering::Relaxed);
            Ok(Arc::new(FakeKey(self.1)))
        }
    }

    #[test]
    fn no_weaker_key_from_a_provider_that_claims_more() {
        use KeyStrength::{KeyGuard, Software};
        let chain = ProviderChain::new(vec![Arc::new(Overstating(KeyGuard, Software, 0.into()))]);
        let error = chain.open(KeyGuard).unwrap_err();
        assert_eq!(error.kind(), KeyErrorKind::TooWeak);
        assert_eq!(chain.open(Software).unwrap().strength(), Software);
    }

    #[test]
    fn reports_missing_isolation_where_the_key_is_missing_for_it() {
        use KeyErrorKind::{IsolationUnavailable, NotIsolated};
        use KeyStrength::{Hardware, KeyGuard, Software};
        for kind in [IsolationUnavailable, NotIsolated] {
            let chain = chain(&[(KeyGuard, Some(kind)), (Software, None)]);
            assert_eq!(chain.open(KeyGuard).unwrap_err().kind(), kind);
            assert_eq!(chain.open(Hardware).unwrap_err().kind(), kind);
            assert_eq!(chain.open(Software).unwrap().strength(), Software);
        }
    }

    #[test]
    fn probe_all_returns_errors_of_stronger_providers_and_skips_weaker_ones() {
        use KeyStrength::{Hardware, KeyGuard, Software};
        let absent = Some(KeyErrorKind::IsolationUnavailable);
        let probed = |providers: &[_]| -> Vec<_> {
            let statuses = chain(providers).probe_all().into_iter();
            statuses
                .map(|status| (status.strength, status.key.err().map(|error| error.kind())))
                .collect()
        };
        assert_eq!(
            probed(&[(Software, None), (Hardware, None), (KeyGuard, absent)]),
            [(KeyGuard, absent), (Hardware, None)]
        );
        let failing = Some(KeyErrorKind::Failed);
        assert_eq!(
            probed(&[(KeyGuard, failing), (Software, None)]),
            [(KeyGuard, failing)]
        );
        assert_eq!(probed(&[]), []);
    }

    #[test]
    fn does_not_open_providers_below_the_minimum() {
        use KeyStrength::{Hardware, Software};
        let provider = Arc::new(Overstating(Software, Software, 0.into()));
        let chain = ProviderChain::new(vec![provider.clone()]);
        chain.open(Hardware).unwrap_err();
        assert_eq!(provider.2.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn the_cause_is_the_error_of_the_strongest_provider() {
        use KeyStrength::{Hardware, KeyGuard, Software};
        let absent = Some(KeyErrorKind::Unavailable);
        let chain = chain(&[(Software, None), (Hardware, absent), (KeyGuard, absent)]);
        let error = chain.open(Hardware).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the best key of this host is software, the required minimum is hardware"
        );
        assert_eq!(error.source().unwrap().to_string(), "fake keyguard");
        let none = self::chain(&[(Software, absent)])
            .open(Software)
            .unwrap_err();
        assert_eq!(none.kind(), KeyErrorKind::Unavailable);
        assert_eq!(none.source().unwrap().to_string(), "fake software");
    }

    #[test]
    fn opens_the_first_of_equal_strength() {
        use KeyStrength::Software;
        let providers = [(); 2].map(|()| Arc::new(Overstating(Software, Software, 0.into())));
        let chain = ProviderChain::new(vec![providers[0].clone(), providers[1].clone()]);
        chain.open(Software).unwrap();
        assert_eq!(providers[0].2.load(Ordering::Relaxed), 1);
        assert_eq!(providers[1].2.load(Ordering::Relaxed), 0);
    }

    /// Wine cannot open CNG keys by name.
    #[cfg(not(windows))]
    #[test]
    fn the_platform_has_a_software_key_that_signs() {
        let key = ProviderChain::platform()
            .open(KeyStrength::Software)
            .unwrap();
        crate::self_test(key.as_ref()).unwrap();
    }
}
