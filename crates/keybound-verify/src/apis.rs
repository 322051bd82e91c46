use crate::metrics::{ApiMetrics, Metrics};
use crate::{Config, ConfigError, host};
use keybound_resource::fetch::{HttpsKeyFetcher, HttpsSettings, TrustAnchors};
use keybound_resource::{KeyStatus, Keys, Verifier, VerifierBuilder, regular_file};
use std::collections::HashMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;

/// Adds to the verifier of an API what a file cannot contain, such as
/// [`ContinuousAccess`](keybound_resource::ContinuousAccess). The first argument is the API's name.
pub type Extend = dyn Fn(&str, VerifierBuilder) -> VerifierBuilder + Send + Sync;

/// The APIs of a configuration, with their verifiers.
pub struct Apis {
    by_host: HashMap<String, Arc<Api>>,
    all: Vec<Arc<Api>>,
    /// Refresh the keys; they end with this value.
    refreshes: JoinSet<()>,
}

pub(crate) struct Api {
    pub(crate) name: String,
    pub(crate) verifier: Verifier,
    pub(crate) metrics: Arc<ApiMetrics>,
}

impl Apis {
    /// Builds the verifiers. Keys are not fetched yet.
    pub(crate) fn build(
        config: &Config,
        metrics: &Metrics,
        extend: &Extend,
    ) -> Result<Self, ConfigError> {
        let keys = KeySource::new(config)?;
        let mut apis = Self {
            by_host: HashMap::new(),
            all: Vec::new(),
            refreshes: JoinSet::new(),
        };
        for policy in &config.apis {
            let name = policy.name();
            let builder = policy.verifier()?;
            let builder = builder
                .keys(keys.keys()?)
                .cache_bytes(config.limits.cache_mib << 20);
            let verifier = extend(name, builder).build();
            let verifier =
                verifier.map_err(|error| ConfigError::new(format!("the API {name}: {error}")))?;
            keys.check(name, &verifier)?;
            let api = Arc::new(Api {
                name: name.to_owned(),
                verifier,
                metrics: metrics.of_api(name),
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

    /// Fetches the keys once. The names of the APIs without keys, if there are any afterwards.
    pub(crate) async fn fetch_keys(&self) -> Result<(), String> {
        let fetches = self.all.iter().map(|api| {
            let verifier = api.verifier.clone();
            async move { verifier.fetch_due_keys().await }
        });
        let fetches: JoinSet<()> = fetches.collect();
        // After a timeout, what is missing is named.
        let _ = tokio::time::timeout(MAX_FETCH, fetches.join_all()).await;
        let missing = self.all.iter().filter(|api| !api.verifier.has_keys());
        let missing: Vec<&str> = missing.map(|api| &*api.name).collect();
        match missing.is_empty() {
            true => Ok(()),
            false => Err(missing.join(", ")),
        }
    }

    /// Whether the keys of all issuers are present.
    pub(crate) fn are_ready(&self) -> bool {
        self.all.iter().all(|api| api.verifier.has_keys())
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Api> {
        self.all.iter().map(|api| &**api)
    }
}

impl fmt::Debug for Apis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.all.iter().map(|api| &api.name))
            .finish()
    }
}

/// Where the keys are from.
pub(crate) struct KeySource<'a> {
    origin: KeyOrigin<'a>,
    max_age: Option<Duration>,
}

enum KeyOrigin<'a> {
    File(&'a Path),
    Discovered(HttpsKeyFetcher),
}

impl<'a> KeySource<'a> {
    pub(crate) fn new(config: &'a Config) -> Result<Self, ConfigError> {
        let origin = match &config.keys.file {
            Some(path) => KeyOrigin::File(path),
            None => KeyOrigin::Discovered(fetcher(config.keys.ca_file.as_deref())?),
        };
        Ok(Self {
            origin,
            max_age: config.keys.max_age.map(Duration::from_secs),
        })
    }

    fn keys(&self) -> Result<Keys, ConfigError> {
        let keys = match &self.origin {
            KeyOrigin::Discovered(fetcher) => Keys::discovered(fetcher.clone()),
            KeyOrigin::File(path) => Keys::file(*path)
                .map_err(|error| ConfigError::new(format!("[keys]: {}", Chain(&error))))?,
        };
        Ok(match self.max_age {
            Some(max_age) => keys.max_age(max_age),
            None => keys,
        })
    }

    /// A file has the keys of all issuers. Whether they are too old changes with time: then the daemon is not ready.
    fn check(&self, api: &str, verifier: &Verifier) -> Result<(), ConfigError> {
        let KeyOrigin::File(path) = &self.origin else {
            return Ok(());
        };
        let status = verifier.key_status();
        // Other keys than those of the file have metadata: `Extend` may have replaced them.
        let is_missing =
            |status: &&KeyStatus| status.metadata().is_none() && status.published().is_none();
        let missing = status.iter().find(is_missing);
        missing.map_or(Ok(()), |missing| {
            Err(ConfigError::new(format!(
                "[keys]: {} has no keys of {} for the API {api}, or they were fetched in the future",
                path.display(),
                missing.issuer(),
            )))
        })
    }
}

fn fetcher(ca_file: Option<&Path>) -> Result<HttpsKeyFetcher, ConfigError> {
    let mut settings = HttpsSettings::default();
    if let Some(path) = ca_file {
        let wrong = |error: &dyn fmt::Display| {
            ConfigError::new(format!("[keys]: ca_file {}: {error}", path.display()))
        };
        let pem = regular_file::read(path, MAX_PEM).map_err(|error| wrong(&error))?;
        settings.trust = TrustAnchors::system()
            .with_pem(&pem)
            .map_err(|error| wrong(&error))?;
    }
    HttpsKeyFetcher::new(settings).map_err(|error| ConfigError::new(format!("[keys]: {error}")))
}

/// An error with its causes.
struct Chain<'a>(&'a dyn std::error::Error);

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self.0, f)?;
        match self.0.source() {
            None => Ok(()),
            Some(source) => write!(f, ": {}", Chain(source)),
        }
    }
}

/// How often the age of keys is looked at without requests.
const REFRESH_CHECK: Duration = Duration::from_secs(5);
/// An issuer has two documents, each of which takes five seconds at most.
const MAX_FETCH: Duration = Duration::from_secs(12);
/// In bytes: of a file of certificates or keys.
pub(crate) const MAX_PEM: usize = 4 * 1024 * 1024;
