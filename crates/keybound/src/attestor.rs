use crate::Environment;
use keybound_attestation::AttestationProvider;
use std::fmt;
use std::sync::Arc;

/// What attests keys: what the caller gave, or the platform's own.
#[derive(Clone)]
pub(crate) struct Attestor {
    provider: Arc<dyn AttestationProvider>,
    origin: Origin,
}

#[derive(Clone, PartialEq, Eq)]
enum Origin {
    Caller,
    Platform { library: Option<String> },
}

impl Attestor {
    pub(crate) fn of_caller(provider: Arc<dyn AttestationProvider>) -> Self {
        Self {
            provider,
            origin: Origin::Caller,
        }
    }

    /// What attests keys where the caller says nothing. KeyGuard keys exist on Windows only.
    pub(crate) fn of_platform(environment: &Environment) -> Option<Self> {
        cfg!(windows).then(|| Self::native(environment))
    }

    fn native(environment: &Environment) -> Self {
        Self {
            provider: Arc::new(environment.native_attestation()),
            origin: Origin::Platform {
                library: environment.attestation_library().map(str::to_owned),
            },
        }
    }

    pub(crate) fn provider(&self) -> &dyn AttestationProvider {
        &*self.provider
    }
}

/// Those of the platform are equal where they take the same library. One of a caller's is equal to itself and its clones:
/// nobody can say of another that it attests the same.
impl PartialEq for Attestor {
    fn eq(&self, other: &Self) -> bool {
        match (&self.origin, &other.origin) {
            (Origin::Caller, Origin::Caller) => Arc::ptr_eq(&self.provider, &other.provider),
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
    fn those_of_the_platform_differ_by_their_library_alone() {
        let of = |path: Option<&str>| {
            Attestor::native(&Environment::from_lookup(|_| path.map(str::to_owned)))
        };
        assert_eq!(of(None), of(None));
        assert_eq!(of(Some(r"C:\one.dll")), of(Some(r"C:\one.dll")));
        assert_ne!(of(Some(r"C:\one.dll")), of(Some(r"C:\other.dll")));
        assert_ne!(of(Some(r"C:\one.dll")), of(None));
    }

    #[test]
    fn one_of_a_callers_is_equal_to_its_clones_only() {
        let given = || Attestor::of_caller(Arc::new(Environment::empty().native_attestation()));
        let one = given();
        assert_eq!(one, one.clone());
        assert_ne!(one, given());
        assert_ne!(one, Attestor::native(&Environment::empty()));
    }
}
