mod key_source;
#[cfg(test)]
mod tests;

use crate::metrics::{ApiMetrics, Metrics};
use crate::{Config, ConfigError, host};
use key_source::{KeySettings, KeySource};
use keybound_resource::{KeyStatus, SharedClock, SharedKeys, Verifier, VerifierBuilder};
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;

/// Adds to the verifier of an API what a file cannot contain, such as
/// [`ContinuousAccess`](keybound_resource::ContinuousAccess). The first argument is the API's name.
pub type ExtendVerifier = dyn Fn(&str, VerifierBuilder) -> VerifierBuilder + Send + Sync;

/// The APIs of a configuration, with their verifiers.
pub(crate) struct Apis {
    by_host: HashMap<String, Arc<Api>>,
    all: Vec<Arc<Api>>,
    key_settings: KeySettings,
    shared_keys: SharedKeys,
    shared_clock: SharedClock,
    /// Refresh the keys; they end with this value.
    refreshes: JoinSet<()>,
}

pub(crate) struct Api {
    pub(crate) name: String,
    pub(crate) verifier: Verifier,
    pub(crate) metrics: Arc<ApiMetrics>,
}

impl Apis {
    /// Builds the verifiers, which share their clock and their keys: the clock also with previous ones, and the keys if they are from the
    /// same source. Those that are not known yet are not fetched here.
    pub(crate) fn build(
        config: &Config,
        metrics: &Metrics,
        extend: &ExtendVerifier,
        previous: Option<&Self>,
    ) -> Result<Self, ConfigError> {
        let key_settings = KeySettings::read(&config.keys)?;
        let shared_clock = previous.map(|apis| apis.shared_clock.clone());
        let previous = previous.filter(|apis| apis.key_settings == key_settings);
        let shared_keys = previous.map(|apis| apis.shared_keys.clone());
        let mut apis = Self {
            by_host: HashMap::new(),
            all: Vec::new(),
            key_settings,
            shared_keys: shared_keys.unwrap_or_default(),
            shared_clock: shared_clock.unwrap_or_default(),
            refreshes: JoinSet::new(),
        };
        let keys = KeySource::new(&apis.key_settings)?;
        for policy in &config.apis {
            let name = policy.name();
            let builder = policy.verifier()?;
            let api_metrics = metrics.of_api(name);
            let builder = builder
                .keys(keys.keys())
                .shared_clock(&apis.shared_clock)
                .shared_keys(&apis.shared_keys)
                .certificate(policy.certificate_rules()?)
                .cache_bytes(config.cache_bytes())
                .cache_counters(&api_metrics.cache);
            let verifier = extend(name, builder).build();
            let verifier =
                verifier.map_err(|error| ConfigError::new(format!("the API {name}: {error}")))?;
            keys.check(name, &verifier)?;
            let api = Arc::new(Api {
                name: name.to_owned(),
                verifier,
                metrics: api_metrics,
            });
            for host in &policy.hosts {
                apis.by_host.insert(host.clone(), Arc::clone(&api));
            }
            apis.all.push(api);
        }
        Ok(apis)
    }

    /// The API with this host.
    pub(crate) fn find(&self, authority: &str) -> Option<&Arc<Api>> {
        self.by_host
            .get(authority)
            .or_else(|| self.by_host.get(&host::normalized(authority)?))
    }

    /// Fetches the keys that are due, and then from time to time, in tasks.
    pub(crate) fn start_refreshes(&mut self) {
        for api in &self.all {
            let verifier = api.verifier.clone();
            self.refreshes.spawn(async move {
                loop {
                    verifier.fetch_due_keys().await;
                    tokio::time::sleep(REFRESH_CHECK).await;
                }
            });
        }
    }

    /// Fetches the keys that are missing. The names of the APIs that are not ready afterwards, with the causes, if there are any.
    pub(crate) async fn fetch_keys(&self) -> Result<(), String> {
        let fetches = self.all.iter().map(|api| {
            let verifier = api.verifier.clone();
            async move { verifier.fetch_due_keys().await }
        });
        let fetches: JoinSet<()> = fetches.collect();
        let rounds = self.key_status().len() / KEYS_AT_A_TIME + 1;
        let limit = MAX_FETCH.saturating_mul(u32::try_from(rounds).unwrap_or(u32::MAX));
        // After a timeout, what is missing is named.
        let _ = tokio::time::timeout(limit, fetches.join_all()).await;
        let missing = self.all.iter().filter(|api| !api.verifier.has_keys());
        let missing: Vec<String> = missing.map(|api| api.missing_keys()).collect();
        match missing.is_empty() {
            true => Ok(()),
            false => Err(missing.join("; ")),
        }
    }

    /// Whether each API has keys.
    pub(crate) fn are_ready(&self) -> bool {
        self.all.iter().all(|api| api.verifier.has_keys())
    }

    /// The state of the keys of each issuer, once for those that APIs share.
    pub(crate) fn key_status(&self) -> Vec<KeyStatus> {
        let all = self.all.iter().flat_map(|api| api.verifier.key_status());
        let id = |status: &KeyStatus| {
            let metadata = status.metadata().map(str::to_owned);
            (status.issuer().to_owned(), metadata)
        };
        let by_id: BTreeMap<_, _> = all.map(|status| (id(&status), status)).collect();
        by_id.into_values().collect()
    }

    /// The greatest step of the wall clock that a verifier sees: one that `ExtendVerifier` changed may have another clock.
    pub(crate) fn clock_step(&self) -> i64 {
        let steps = self.all.iter().map(|api| api.verifier.clock_step());
        steps.max_by_key(|step| step.unsigned_abs()).unwrap_or(0)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Api> {
        self.all.iter().map(|api| &**api)
    }
}

impl Api {
    /// Why the keys of the issuer with this name cannot be used; if there is none, those of all issuers.
    pub(crate) fn missing_keys_of(&self, name: Option<&str>) -> Vec<String> {
        let mut missing = self.verifier.key_status();
        missing.retain(|keys| !keys.is_usable());
        if missing.iter().any(|keys| Some(keys.issuer()) == name) {
            missing.retain(|keys| Some(keys.issuer()) == name);
        }
        missing.iter().map(cause).collect()
    }

    /// Its name, with the causes for which it has no keys.
    fn missing_keys(&self) -> String {
        let status = self.verifier.key_status();
        let missing = status.iter().filter(|keys| !keys.is_usable());
        let causes: Vec<String> = missing.map(cause).collect();
        format!("{} ({})", self.name, causes.join(", "))
    }
}

/// Why there are no keys that can be used.
pub(crate) fn cause(keys: &KeyStatus) -> String {
    let issuer = keys.issuer();
    match (keys.error(), keys.metadata(), keys.age()) {
        (Some(error), Some(_), Some(age)) => {
            let hours = age.as_secs() / 3600;
            format!("{error}; the last ones were fetched {hours} h ago, and are too old")
        }
        (Some(error), _, _) => error.to_owned(),
        (None, _, Some(age)) => {
            let hours = age.as_secs() / 3600;
            format!("the keys of {issuer} were fetched {hours} h ago, and are too old")
        }
        (None, _, None) => format!("the keys of {issuer} were not loaded yet"),
    }
}

impl fmt::Debug for Apis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.all.iter().map(|api| &api.name))
            .finish()
    }
}

/// How often the age of keys is looked at without requests.
const REFRESH_CHECK: Duration = Duration::from_secs(5);
/// An issuer has two documents, each of which takes five seconds at most.
const MAX_FETCH: Duration = Duration::from_secs(12);
/// At most as many issuers' keys are fetched concurrently.
const KEYS_AT_A_TIME: usize = 16;
/// In bytes: of a file of certificates or keys.
pub(crate) const MAX_PEM: usize = 4 * 1024 * 1024;
