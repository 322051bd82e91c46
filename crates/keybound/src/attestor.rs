use crate::Environment;
use keybound_attestation::AttestationProvider;
use std::fmt;
use std::sync::Arc;

/// The attestation provider of a client: the caller's or the platform's.
#[derive(Clone)]
pub(crate) struct Attestor {
    provider: Arc<dyn AttestationProvider>,
    /// Of the platform's provider: the path of its library, if one is configured.
    platform_library: Option<Option<String>>,
}

impl Attestor {
    pub(crate) fn of_caller(provider: Arc<dyn AttestationProvider>) -> Self {
        Self {
            provider,
            platform_library: None,
        }
    }

    /// The default attestation provider. KeyGuard keys exist on Windows only.
    pub(crate) fn of_platform(environment: &Environment) -> Option<Self> {
        cfg!(windows).then(|| Self::native(environment))
    }

    fn native(environment: &Environment) -> Self {
        Self {
            provider: Arc::new(environment.native_attestation()),
            platform_library: Some(environment.attestation_library().map(str::to_owned)),
        }
    }

    /// Whether it is the platform's, which calls the native library.
    pub(crate) fn is_platform(&self) -> bool {
        self.platform_library.is_some()
    }

    pub(crate) fn provider(&self) -> &dyn AttestationProvider {
        &*self.provider
    }
}

/// Providers of the platform are equal if they use the same library; a caller's provider is equal to its clones only.
impl PartialEq for Attestor {
    fn eq(&self, other: &Self) -> bool {
        match (&self.platform_library, &other.platform_library) {
            (None, None) => Arc::ptr_eq(&self.provider, &other.provider),
            (one, other) => one == other,
        }
    }
}

impl fmt::Debug for Attestor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.provider.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compares_platform_providers_by_library() {
        let native = |path: Option<&str>| {
            Attestor::native(&Environment::from_lookup(|_| path.map(str::to_owned)))
        };
        assert_eq!(native(None), native(None));
        assert_eq!(native(Some(r"C:\one.dll")), native(Some(r"C:\one.dll")));
        assert_ne!(native(Some(r"C:\one.dll")), native(Some(r"C:\other.dll")));
        assert_ne!(native(Some(r"C:\one.dll")), native(None));
    }

    #[test]
    fn caller_provider_equals_only_its_clones() {
        let provider = || Attestor::of_caller(Arc::new(Environment::empty().native_attestation()));
        let one = provider();
        assert_eq!(one, one.clone());
        assert_ne!(one, provider());
        assert_ne!(one, Attestor::native(&Environment::empty()));
    }
}
