use crate::access_token::Step;
use crate::acquire::Flow;
use keybound_core::{Error, ErrorKind, KeyStrength, Result, Stage};
use keybound_keys::{
    BindingKey, GatedKey, KeyError, KeyErrorKind, KeyGate, SignatureScheme, SigningCost, self_test,
    sign_verified,
};
use std::sync::Arc;

impl Flow {
    /// Opens the host's best key, once for each client and again where another took its place, and checks it against the
    /// floor.
    ///
    /// Opening goes on where the caller gives up meanwhile: a key that takes long to make is there for the next request,
    /// and is not begun again by each.
    pub(in crate::acquire) async fn open_key(
        &self,
        floor: KeyStrength,
    ) -> Result<Arc<dyn BindingKey>> {
        self.step(Step::Key, async {
            let mut kept = Arc::clone(&self.shared.state.inner().key)
                .lock_owned()
                .await;
            let known = match kept.clone() {
                // Certificates are asked for seldom enough to look.
                Some(key) if key.persistent_name().is_some() => {
                    let is_current = operate(&key, |key| Ok(key.is_current())).await?;
                    is_current.then_some(key)
                }
                known => known,
            };
            let key = match known {
                Some(key) => key,
                None => {
                    let providers = self.shared.settings.providers.clone();
                    let gate = self.shared.state.inner().key_gate.clone();
                    let at_once = providers.opens_at_once();
                    let shared_gate = gate.clone();
                    let open = move || {
                        let key = GatedKey::with_gate(providers.open(floor)?, shared_gate);
                        Ok(kept.insert(key).clone())
                    };
                    let opened = if at_once {
                        open()
                    } else {
                        gate.run(open).await
                    };
                    opened.map_err(key_error)?
                }
            };
            if key.strength() < floor {
                return Err(too_weak(key.strength(), floor));
            }
            self.check_simulated(&*key)?;
            Ok(key)
        })
        .await
    }

    /// A simulated key is for a simulated world: IMDS on loopback, and a CA that the caller named.
    pub(in crate::acquire) fn check_simulated(&self, key: &dyn BindingKey) -> Result<()> {
        if !key.is_simulated() || self.shared.settings.is_simulated_world() {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::SimulatedRefused,
            Stage::Key,
            "a simulated key was offered outside the emulator",
        ))
    }

    /// Lets go of a key that no longer signs, or whose name leads to another by now, so that the next certificate is for one
    /// that can be used. Whether it was so. A key that hangs is not known to be dead, and would cost another thread.
    pub(in crate::acquire) async fn drop_dead_key(&self, key: &Arc<dyn BindingKey>) -> bool {
        let Err(error) = operate(key, check_usable).await else {
            return false;
        };
        if key.gate().is_some_and(KeyGate::is_hanging) {
            return false;
        }
        tracing::warn!(%error, "the binding key is no longer usable; reopening");
        let mut kept = self.shared.state.inner().key.lock().await;
        if kept.as_ref().is_some_and(|kept| Arc::ptr_eq(kept, key)) {
            *kept = None;
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
        "another key has taken its place",
    ))
}

pub(super) async fn sign(
    key: &Arc<dyn BindingKey>,
    scheme: SignatureScheme,
    digest: [u8; 32],
) -> Result<Vec<u8>> {
    operate(key, move |key| sign_verified(key, scheme, &digest)).await
}

/// Runs an operation of a key: of a slow one behind its gate, off the runtime's threads, so that one that hangs costs
/// one thread and no more however many callers give up.
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
    result.map_err(key_error)
}

pub(in crate::acquire) fn too_weak(best: KeyStrength, floor: KeyStrength) -> Error {
    let message = KeyError::too_weak(best, floor).to_string();
    Error::new(ErrorKind::KeyTooWeak, Stage::Key, message)
}

fn key_error(error: KeyError) -> Error {
    let kind = match error.kind() {
        KeyErrorKind::Unavailable => ErrorKind::KeyUnavailable,
        KeyErrorKind::IsolationUnavailable | KeyErrorKind::NotIsolated => {
            ErrorKind::KeyIsolationUnavailable
        }
        KeyErrorKind::TooWeak => ErrorKind::KeyTooWeak,
        _ => ErrorKind::KeyFailed,
    };
    Error::new(kind, Stage::Key, error.to_string()).with_source(error)
}
