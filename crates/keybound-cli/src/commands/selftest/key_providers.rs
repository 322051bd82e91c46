use super::checks::Checks;
use super::report::StepResult;
use crate::diagnosis::{Conceal, run_blocking};
use crate::emulation;
use keybound::keys::{KeyError, KeyErrorKind, ProviderStatus};
use keybound::{Environment, KeyStrength, Stage};

impl Checks<'_> {
    /// Probes the key providers of this host.
    pub(super) async fn key_providers(&self) -> StepResult {
        let providers = match self.args.host.simulated {
            true => emulation::key_providers(),
            false => Environment::from_process().key_providers(),
        };
        let probe = move || providers.probe_all();
        let statuses = run_blocking(Stage::Key, self.remaining(), probe);
        match statuses.await {
            Ok(statuses) => {
                let min_strength = KeyStrength::from(self.args.host.min_strength);
                result(statuses, min_strength, self.conceal)
            }
            Err(error) => {
                StepResult::failed(NAME, "the key providers could not be probed", Some(error))
            }
        }
    }
}

/// The best key of this host, why there is no stronger one, and whether it is strong enough.
fn result(
    statuses: Vec<ProviderStatus>,
    min_strength: KeyStrength,
    conceal: Conceal,
) -> StepResult {
    let mut details = Vec::new();
    let mut best = None;
    let mut reason = None;
    for ProviderStatus { strength, key, .. } in statuses {
        match key {
            Ok(key) if key.is_simulated() => {
                details.push("a simulated key in place of keyguard".to_owned());
                best = Some(key.strength());
            }
            Ok(key) => {
                details.push(format!("a key of strength {} is available", key.strength()));
                best = Some(key.strength());
            }
            Err(error) => {
                details.push(format!("{strength}: {}", conceal.text(&error.to_string())));
                reason.get_or_insert(error);
            }
        }
    }
    if !cfg!(windows) && best == Some(KeyStrength::Software) {
        details.push(
            "stronger keys: KeyGuard exists on Windows only, and keys in a TPM are not supported on this platform".into(),
        );
    }
    let detail = details.join("; ");
    let error = match (best, reason) {
        (Some(best), _) if best >= min_strength => return StepResult::ok(NAME, detail),
        (Some(best), reason) => {
            let kind = match reason.map(|reason| reason.kind()) {
                Some(kind) if kind != KeyErrorKind::Unavailable => kind,
                _ => KeyErrorKind::TooWeak,
            };
            let message = KeyError::too_weak(best, min_strength).to_string();
            KeyError::new(kind, message)
        }
        (None, reason) => {
            let kind = reason
                .as_ref()
                .map_or(KeyErrorKind::Unavailable, KeyError::kind);
            let error = KeyError::new(kind, "no provider offers a binding key on this host");
            match reason {
                Some(reason) => error.with_source(reason),
                None => error,
            }
        }
    };
    StepResult::failed(NAME, detail, Some(error.into()))
}

const NAME: &str = "key_providers";
