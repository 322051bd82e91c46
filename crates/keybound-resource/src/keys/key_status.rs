use super::issuer_keys::RefreshResults;
use super::{IssuerKeys, KeyOrigin, PublishedKeys};
use std::time::Duration;

/// The state of the keys of one issuer.
#[derive(Clone, Debug)]
pub struct KeyStatus {
    issuer: String,
    metadata: Option<String>,
    published: Option<PublishedKeys>,
    age: Option<Duration>,
    usable: bool,
    results: RefreshResults,
}

impl KeyStatus {
    /// `None` for fixed keys.
    pub(crate) fn new(keys: &IssuerKeys) -> Option<Self> {
        let (issuer, metadata) = match keys.origin() {
            KeyOrigin::Fixed => return None,
            KeyOrigin::File { issuer, .. } => (issuer, None),
            KeyOrigin::Metadata { url, issuer } => (issuer, Some(url.clone())),
        };
        let published = keys.loaded().map(|loaded| {
            let age = keys.clock().now().saturating_sub(loaded.fetched_at);
            let age = Duration::from_secs(age.try_into().unwrap_or_default());
            let keys = PublishedKeys::new(issuer, loaded.fetched_at, loaded.keys);
            (keys, age)
        });
        let (published, age) = published.unzip();
        Some(Self {
            issuer: issuer.clone(),
            metadata,
            published,
            age,
            usable: keys.are_usable(),
            results: keys.refresh_results(),
        })
    }

    /// The name of the issuer; for any tenant with `{tenantid}`.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// The URL of its metadata, for discovered keys.
    pub fn metadata(&self) -> Option<&str> {
        self.metadata.as_deref()
    }

    /// The keys. `None` if there have never been any.
    pub fn published(&self) -> Option<&PublishedKeys> {
        self.published.as_ref()
    }

    /// The time since they were fetched from the issuer.
    pub fn age(&self) -> Option<Duration> {
        self.age
    }

    /// Whether there are keys that are not too old.
    pub fn is_usable(&self) -> bool {
        self.usable
    }

    /// Why the last refresh failed. `None` if it succeeded, or none has ended.
    pub fn error(&self) -> Option<&str> {
        self.results.error.as_deref()
    }

    /// The number of refreshes that succeeded.
    pub fn succeeded(&self) -> u64 {
        self.results.succeeded
    }

    /// The number of refreshes that failed.
    pub fn failed(&self) -> u64 {
        self.results.failed
    }
}
