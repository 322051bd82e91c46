use crate::cache::{CachedBinding, DualTime};
use crate::{AccessToken, Binding, Result, SecretString};
use std::fmt;
use std::sync::Arc;

/// An assertion, with the certificate and key that it is bound to, if any: they travel together, so that a renewed certificate
/// never meets an assertion of its predecessor. `Debug` hides the assertion.
#[derive(Clone)]
pub struct ClientAssertion {
    pub(crate) secret: SecretString,
    binding: Bound,
}

#[derive(Clone)]
enum Bound {
    No,
    /// To the certificate of a managed identity client, with its times of renewal.
    ToCached(Arc<CachedBinding>),
    To(Arc<Binding>),
}

impl ClientAssertion {
    /// An assertion that anyone who holds it can use, such as a token of a Kubernetes service account.
    pub fn bearer(assertion: impl Into<SecretString>) -> Self {
        Self {
            secret: assertion.into(),
            binding: Bound::No,
        }
    }

    /// An assertion that is bound to this certificate: its claim `cnf.x5t#S256` is the thumbprint.
    pub fn bound(assertion: impl Into<SecretString>, binding: Arc<Binding>) -> Self {
        Self {
            secret: assertion.into(),
            binding: Bound::To(binding),
        }
    }

    /// The certificate and key that it is bound to, if any.
    pub fn binding(&self) -> Option<&Arc<Binding>> {
        match &self.binding {
            Bound::No => None,
            Bound::ToCached(cached) => Some(&cached.binding),
            Bound::To(binding) => Some(binding),
        }
    }

    /// The same over the connections of another binding with the same certificate and key, which `own` returns.
    pub(crate) fn over(
        mut self,
        own: impl FnOnce(&Arc<Binding>) -> Result<Arc<Binding>>,
    ) -> Result<Self> {
        self.binding = match self.binding {
            Bound::No => Bound::No,
            Bound::ToCached(cached) => {
                Bound::ToCached(Arc::new(cached.with_binding(own(&cached.binding)?)))
            }
            Bound::To(binding) => Bound::To(own(&binding)?),
        };
        Ok(self)
    }

    /// The same with times of renewal: those of the managed identity client, or of a certificate received now.
    pub(crate) fn cached_binding(&self, now: DualTime, chance: f64) -> Option<Arc<CachedBinding>> {
        match &self.binding {
            Bound::No => None,
            Bound::ToCached(cached) => Some(Arc::clone(cached)),
            Bound::To(binding) => {
                let binding = CachedBinding::new(Arc::clone(binding), now, chance);
                Some(Arc::new(binding))
            }
        }
    }
}

/// A token of a managed identity for the exchange audience, with its certificate if it is bound.
impl From<AccessToken> for ClientAssertion {
    fn from(token: AccessToken) -> Self {
        let bound = token.binding().and(token.cached().binding.as_ref());
        Self {
            binding: bound.map_or(Bound::No, |cached| Bound::ToCached(Arc::clone(cached))),
            secret: token.secret().clone(),
        }
    }
}

impl fmt::Debug for ClientAssertion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientAssertion")
            .field("binding", &self.binding())
            .finish_non_exhaustive()
    }
}
