use keybound_keys::{
    BindingKey, KeyError, KeyErrorKind, KeyGate, KeyStrength, SignatureScheme, SigningCost,
    sign_verified,
};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use tokio::runtime::{Handle, RuntimeFlavor};

/// A key for the event loop of another TLS library. It verifies each signature before it returns it, and converts panics to errors.
/// A slow key signs through its gate, so that one that hangs occupies one thread and fails; if tokio allows it, other tasks run
/// meanwhile.
#[derive(Debug)]
pub(super) struct VerifyingSigner {
    key: Arc<dyn BindingKey>,
    gate: KeyGate,
}

impl VerifyingSigner {
    pub(super) fn new(key: Arc<dyn BindingKey>) -> Self {
        let gate = key.gate().cloned().unwrap_or_default();
        Self { key, gate }
    }

    fn checked_signature(
        &self,
        scheme: SignatureScheme,
        digest: &[u8],
    ) -> Result<Vec<u8>, KeyError> {
        let sign = {
            let (key, digest) = (Arc::clone(&self.key), digest.to_vec());
            move || {
                catch_unwind(AssertUnwindSafe(|| sign_verified(&*key, scheme, &digest)))
                    .unwrap_or_else(|_| {
                        Err(KeyError::new(
                            KeyErrorKind::Failed,
                            "the key panicked while signing",
                        ))
                    })
            }
        };
        match self.key.signing_cost() {
            SigningCost::Quick => sign(),
            SigningCost::Slow => run_blocking(|| self.gate.run_blocking(sign)),
        }
    }
}

impl BindingKey for VerifyingSigner {
    fn public_key_der(&self) -> &[u8] {
        self.key.public_key_der()
    }

    fn sign(&self, scheme: SignatureScheme, digest: &[u8]) -> Result<Vec<u8>, KeyError> {
        self.checked_signature(scheme, digest).inspect_err(|error| {
            // Other TLS libraries report little of it.
            tracing::warn!(%error, "the key did not sign for a tls handshake");
        })
    }

    fn strength(&self) -> KeyStrength {
        self.key.strength()
    }

    fn id(&self) -> &str {
        self.key.id()
    }

    /// Always quick: a slow key signs on another thread.
    fn signing_cost(&self) -> SigningCost {
        SigningCost::Quick
    }

    fn is_simulated(&self) -> bool {
        self.key.is_simulated()
    }
}

/// Runs blocking work. On a worker of a multi-thread runtime, other workers run its tasks meanwhile.
fn run_blocking<T>(work: impl FnOnce() -> T) -> T {
    let has_workers = Handle::try_current()
        .is_ok_and(|runtime| runtime.runtime_flavor() == RuntimeFlavor::MultiThread);
    if !has_workers {
        return work();
    }
    // In a `LocalSet` tokio panics before it runs the work, and offers no way to detect one.
    let mut work = Some(work);
    let done = catch_unwind(AssertUnwindSafe(|| {
        tokio::task::block_in_place(|| work.take().map(|work| work()))
    }));
    match (done, work) {
        (Ok(Some(done)), _) => done,
        (_, Some(work)) => work(),
        (Err(panic), None) => resume_unwind(panic),
        (Ok(None), None) => unreachable!("the work is taken once"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;
    use std::time::Duration;
    use tokio::runtime::{Builder, Runtime};
    use tokio::task::LocalSet;

    fn one_worker() -> Runtime {
        Builder::new_multi_thread()
            .worker_threads(1)
            .build()
            .unwrap()
    }

    #[test]
    fn workers_run_tasks_while_a_slow_key_signs() {
        // The work waits for a task that only the one worker can run.
        let done = one_worker().block_on(async {
            tokio::spawn(async {
                let (sender, receiver) = mpsc::channel();
                tokio::spawn(async move { sender.send(()) });
                run_blocking(|| receiver.recv_timeout(Duration::from_secs(20)))
            })
            .await
        });
        assert_eq!(done.unwrap(), Ok(()));
    }

    #[test]
    fn runs_the_work_once_on_any_runtime() {
        let count = |done: &mut u32| run_blocking(|| *done += 1);
        let mut done = 0;
        count(&mut done);
        Builder::new_current_thread()
            .build()
            .unwrap()
            .block_on(async { count(&mut done) });
        one_worker().block_on(async { count(&mut done) });
        one_worker().block_on(LocalSet::new().run_until(async { count(&mut done) }));
        assert_eq!(done, 4);
    }

    #[test]
    fn propagates_panics_of_the_work() {
        let runtime = one_worker();
        let passed = catch_unwind(AssertUnwindSafe(|| {
            runtime.block_on(async { run_blocking(|| panic!("on purpose, in a test")) })
        }));
        assert!(passed.is_err());
    }

    /// Returns other values than the trait's defaults.
    #[derive(Debug)]
    struct NonDefault;

    impl BindingKey for NonDefault {
        fn public_key_der(&self) -> &[u8] {
            b"public key"
        }

        fn sign(&self, _: SignatureScheme, _: &[u8]) -> Result<Vec<u8>, KeyError> {
            unreachable!("nothing is signed")
        }

        fn strength(&self) -> KeyStrength {
            KeyStrength::KeyGuard
        }

        fn id(&self) -> &'static str {
            "non-default"
        }

        fn signing_cost(&self) -> SigningCost {
            SigningCost::Slow
        }

        fn is_simulated(&self) -> bool {
            true
        }
    }

    #[test]
    fn has_the_properties_of_its_key_and_is_quick() {
        let signer = VerifyingSigner::new(Arc::new(NonDefault));
        assert_eq!(signer.public_key_der(), b"public key");
        assert_eq!(signer.id(), "non-default");
        assert_eq!(signer.strength(), KeyStrength::KeyGuard);
        assert!(signer.is_simulated());
        assert_eq!(signer.signing_cost(), SigningCost::Quick);
    }
}
