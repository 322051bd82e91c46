use crate::acquire::Flow;
use crate::step::Step;
use keybound_core::{Error, ErrorKind, KeyStrength, Result, Stage};
use keybound_keys::{
    BindingKey, GatedKey, KeyError, KeyErrorKind, KeyGate, SignatureScheme, SigningCost, self_test,
    sign_verified,
};
use std::sync::Arc;

impl Flow {
    /// Opens the host's best key, once for each client and again if another key has replaced it, and checks its strength.
    ///
    /// If the caller's deadline passes, opening continues in the background, so that the next request finds the key.
    pub(in crate::acquire) async fn open_key(
        &self,
        min_strength: KeyStrength,
    ) -> Result<Arc<dyn BindingKey>> {
        self.step(Step::Key, async {
            let mut cached = Arc::clone(&self.context.state.inner().key)
                .lock_owned()
                .await;
            let current = match cached.clone() {
                // Certificates are requested rarely: the check costs little.
                Some(key) if key.persistent_name().is_some() => {
                    let is_current = operate(&key, |key| Ok(key.is_current())).await?;
                    is_current.then_some(key)
                }
                current => current,
            };
            let key = match current {
                Some(key) => key,
                None => {
                    let providers = self.context.settings.shared.providers.clone();
                    let gate = self.context.state.inner().key_gate.clone();
                    let at_once = providers.opens_at_once();
                    let shared_gate = gate.clone();
                    let open = move || {
                        let key = GatedKey::with_gate(providers.open(min_strength)?, shared_gate);
                        Ok(cached.insert(key).clone())
                    };
                    let opened = if at_once {
                        open()
                    } else {
                        gate.run(open).await
                    };
                    opened?
                }
            };
            if key.strength() < min_strength {
                return Err(KeyError::too_weak(key.strength(), min_strength).into());
            }
            // The only check: caches are shared by clients with equal settings.
            if key.is_simulated() && !self.context.settings.shared.allows_simulated_keys() {
                return Err(Error::new(
                    ErrorKind::SimulatedNotAllowed,
                    Stage::Key,
                    "a simulated key was provided outside the emulator",
                ));
            }
            Ok(key)
        })
        .await
    }

    /// Drops a key that no longer signs, or whose name now names another key, so that the next certificate is for a usable one.
    /// Returns whether it did. A key whose operations hang is not dropped: another attempt would block another thread.
    pub(in crate::acquire) async fn drop_unusable_key(&self, key: &Arc<dyn BindingKey>) -> bool {
        let Err(error) = operate(key, check_usable).await else {
            return false;
        };
        if key.gate().is_some_and(KeyGate::is_hanging) {
            return false;
        }
        tracing::warn!(%error, "the binding key is no longer usable; reopening");
        let mut cached = self.context.state.inner().key.lock().await;
        if cached
            .as_ref()
            .is_some_and(|cached| Arc::ptr_eq(cached, key))
        {
            *cached = None;
        }
        true
    }
}

fn check_usable(key: &dyn BindingKey) -> std::result::Result<(), KeyError> {
    self_test(key)?;
    if key.is_current() {
        return Ok(());
    }
    Err(KeyError::new(
        KeyErrorKind::Failed,
        "another key has replaced it",
    ))
}

pub(super) async fn sign(
    key: &Arc<dyn BindingKey>,
    scheme: SignatureScheme,
    digest: [u8; 32],
) -> Result<Vec<u8>> {
    operate(key, move |key| sign_verified(key, scheme, &digest)).await
}

/// Runs an operation of a key. Those of a slow key run on the thread of its gate, so that one that hangs blocks one thread,
/// however many callers give up.
async fn operate<T: Send + 'static>(
    key: &Arc<dyn BindingKey>,
    operation: impl FnOnce(&dyn BindingKey) -> Result<T, KeyError> + Send + 'static,
) -> Result<T> {
    let result = match key.signing_cost() {
        SigningCost::Quick => operation(&**key),
        SigningCost::Slow => {
            let gate = key.gate().cloned().unwrap_or_default();
            let key = Arc::clone(key);
            gate.run(move || operation(&*key)).await
        }
    };
    Ok(result?)
}
