use crate::apis::KeySource;
use crate::metrics::Metrics;
use crate::{Apis, Config, ConfigError};
use keybound_resource::{FetchFuture, KeyFetcher, KeySet, Keys};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// The key set of all issuers of a configuration, as JSON, for programs that verify signatures themselves, and for
/// `[keys] file` of other daemons. It has the keys that the daemon would use, and no others.
///
/// # Errors
/// If the keys of one issuer cannot be fetched, or are not those of the issuer.
pub async fn published_keys(config: &Config) -> Result<String, ConfigError> {
    let KeySource::Discovered(fetcher) = KeySource::new(config)? else {
        return Err(ConfigError::new(
            "[keys]: the keys are in a file, and are not fetched",
        ));
    };
    let recorder = Recorder {
        fetcher: Arc::new(fetcher),
        documents: Arc::default(),
    };
    let documents = Arc::clone(&recorder.documents);
    let extend = move |_: &str, builder: keybound_resource::VerifierBuilder| {
        builder.keys(Keys::discovered(recorder.clone()))
    };
    let apis = Apis::build(config, &Metrics::default(), &extend)?;
    apis.fetch_keys().await.map_err(|missing| {
        ConfigError::new(format!("the keys for {missing} could not be fetched"))
    })?;
    let documents = documents.lock().unwrap_or_else(PoisonError::into_inner);
    Ok(merged(&documents))
}

/// Records what the verifiers fetch.
#[derive(Clone)]
struct Recorder {
    fetcher: Arc<dyn KeyFetcher>,
    documents: Arc<Mutex<BTreeMap<String, Vec<u8>>>>,
}

impl KeyFetcher for Recorder {
    fn fetch<'a>(&'a self, url: &'a str) -> FetchFuture<'a> {
        Box::pin(async move {
            let document = self.fetcher.fetch(url).await?;
            let mut documents = self
                .documents
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            documents.insert(url.to_owned(), document.clone());
            Ok(document)
        })
    }
}

#[derive(Deserialize)]
struct Document {
    keys: Vec<Map<String, Value>>,
}

/// The usable keys, each once. Of one that several sets have, the entry that names its issuer remains: it is stricter. Metadata
/// documents are no key sets.
fn merged(documents: &BTreeMap<String, Vec<u8>>) -> String {
    let mut keys: BTreeMap<String, Map<String, Value>> = BTreeMap::new();
    for document in documents.values() {
        let (Ok(usable), Ok(document)) = (
            KeySet::parse(document),
            serde_json::from_slice::<Document>(document),
        ) else {
            continue;
        };
        for key in document.keys {
            let id = key.get("kid").and_then(Value::as_str).map(str::to_owned);
            let Some(id) = id.filter(|id| usable.ids().any(|usable| usable == id)) else {
                continue;
            };
            let known = keys.entry(id).or_default();
            if !known.contains_key("issuer") {
                *known = key;
            }
        }
    }
    let keys: Vec<_> = keys.into_values().collect();
    json!({ "keys": keys }).to_string()
}
