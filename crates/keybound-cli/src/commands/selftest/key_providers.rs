use super::checks::Checks;
use super::conceal::Conceal;
use super::report::StepResult;
use crate::emulation;
use keybound::keys::{KeyError, KeyErrorKind, ProviderStatus};
use keybound::{Environment, Error, ErrorKind, KeyStrength, Stage};

impl Checks<'_> {
    /// Probes the key providers of this host.
    pub(super) async fn key_providers(&self) -> StepResult {
        let providers = match self.args.host.simulated {
            true => emulation::key_providers(),
            false => Environment::from_process().key_providers(),
        };
        let statuses = self.run_blocking(Stage::Key, move || providers.probe_all());
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
            let message = KeyError::too_weak(best, min_strength).to_string();
            let kind = match reason {
                Some(reason) if reason.kind() != KeyErrorKind::Unavailable => kind_of(&reason),
                _ => ErrorKind::KeyTooWeak,
            };
            Error::new(kind, Stage::Key, message)
        }
        (None, reason) => {
            let kind = reason.as_ref().map_or(ErrorKind::KeyUnavailable, kind_of);
            let message = "no provider offers a binding key on this host";
            let error = Error::new(kind, Stage::Key, message);
            match reason {
                Some(reason) => error.with_source(reason),
                None => error,
            }
        }
    };
    StepResult::failed(NAME, detail, Some(error))
}

fn kind_of(error: &KeyError) -> ErrorKind {
    match error.kind() {
        KeyErrorKind::Unavailable => ErrorKind::KeyUnavailable,
        KeyErrorKind::IsolationUnavailable | KeyErrorKind::NotIsolated => {
            ErrorKind::KeyIsolationUnavailable
        }
        KeyErrorKind::TooWeak => ErrorKind::KeyTooWeak,
        _ => ErrorKind::KeyFailed,
    }
}

const NAME: &str = "key_providers";
