use super::issuer_keys::{KeyOrigin, Loaded};
use super::key_set::MAX_DOCUMENT;
use super::{FetchError, IssuerKeys, KeyFetcher, KeyFile, KeySet};
use crate::clock::GuardedClock;
use keybound_core::printable;
use serde::Deserialize;
use std::fmt;
use std::sync::Arc;

/// A refresh of one issuer's keys, which runs once at a time.
///
/// [`run`](Self::run) must be spawned as a separate task: if a request that caused it could cancel it, the keys would not
/// be refreshed for some minutes. One that is dropped while it runs has failed; one that is dropped before may be started again.
#[must_use = "it is cancelled if it is dropped"]
pub struct KeyRefresh(Option<Parts>);

struct Parts {
    is_running: bool,
    /// The number that [`IssuerKeys::start`] returned.
    run: u64,
    keys: Arc<IssuerKeys>,
    fetcher: Option<Arc<dyn KeyFetcher>>,
    clock: Arc<GuardedClock>,
}

impl KeyRefresh {
    /// For keys whose refresh was started.
    pub(crate) fn new(
        run: u64,
        keys: Arc<IssuerKeys>,
        fetcher: Option<Arc<dyn KeyFetcher>>,
        clock: Arc<GuardedClock>,
    ) -> Self {
        Self(Some(Parts {
            is_running: false,
            run,
            keys,
            fetcher,
            clock,
        }))
    }

    /// Loads the keys. If it fails, the last ones remain in use until they are too old.
    ///
    /// # Errors
    /// If the documents cannot be fetched, or are not those of the issuer.
    pub async fn run(mut self) -> Result<(), FetchError> {
        // The value in self ends the refresh if this future is dropped.
        let Some(parts) = &mut self.0 else {
            return Ok(());
        };
        parts.is_running = true;
        let (keys, fetcher) = (Arc::clone(&parts.keys), parts.fetcher.clone());
        let clock = Arc::clone(&parts.clock);
        match load(keys.origin(), fetcher.as_deref(), &clock).await {
            Ok(loaded) => {
                self.end(Ok(loaded));
                Ok(())
            }
            Err(error) => {
                let origin = keys.origin();
                let error = FetchError::new(format!("the keys of {origin} could not be loaded"))
                    .with_source(error);
                self.end(Err(error.chain()));
                Err(error)
            }
        }
    }

    fn end(&mut self, loaded: Result<Loaded, String>) {
        match self.0.take() {
            Some(parts) if parts.is_running => parts.keys.end(parts.run, loaded, parts.clock.now()),
            Some(parts) => parts.keys.cancel(parts.run),
            None => {}
        }
    }
}

impl Drop for KeyRefresh {
    fn drop(&mut self) {
        self.end(Err("the refresh of the keys was cancelled".to_owned()));
    }
}

impl fmt::Debug for KeyRefresh {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyRefresh").finish_non_exhaustive()
    }
}

#[derive(Deserialize)]
struct Metadata {
    issuer: String,
    jwks_uri: String,
}

async fn load(
    origin: &KeyOrigin,
    fetcher: Option<&dyn KeyFetcher>,
    clock: &GuardedClock,
) -> Result<Loaded, FetchError> {
    match origin {
        KeyOrigin::Fixed => Err(FetchError::new("the keys are fixed")),
        KeyOrigin::File { path, issuer } => {
            let published = KeyFile::read_issuer(path, issuer)?;
            published.loaded(clock.now())
        }
        KeyOrigin::Metadata { url, issuer } => {
            let fetcher = fetcher.ok_or_else(|| FetchError::new("there is no fetcher"))?;
            let metadata = fetcher.fetch(url).await?;
            let jwks_uri = key_set_url(&metadata, url, issuer)?;
            let keys = KeySet::parse(&fetcher.fetch(&jwks_uri).await?);
            Ok(Loaded {
                keys: keys.map_err(|error| {
                    FetchError::new("the key set is not usable").with_source(error)
                })?,
                fetched_at: clock.now(),
            })
        }
    }
}

/// The URL of the key set, which is on the host of the metadata document.
fn key_set_url(metadata: &[u8], url: &str, issuer: &str) -> Result<String, FetchError> {
    if metadata.len() > MAX_DOCUMENT {
        return Err(FetchError::new("the metadata is longer than 1 MiB"));
    }
    let metadata: Metadata = serde_json::from_slice(metadata)
        .map_err(|error| FetchError::new("the metadata is malformed").with_source(error))?;
    if metadata.issuer != issuer {
        let found = printable(&metadata.issuer, MAX_NAME);
        return Err(FetchError::new(format!(
            "the metadata is that of the issuer {found}, not {issuer}"
        )));
    }
    if https_origin(&metadata.jwks_uri).is_none_or(|keys| Some(keys) != https_origin(url)) {
        return Err(FetchError::new("the key set is on another host"));
    }
    Ok(metadata.jwks_uri)
}

/// Host and port of an `https` URL of printable ASCII characters without user information.
pub(crate) fn https_origin(url: &str) -> Option<&str> {
    let is_plain = |byte: u8| byte.is_ascii_graphic() && byte != b'\\';
    let rest = url.strip_prefix("https://")?;
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let host = &rest[..end];
    (url.bytes().all(is_plain) && !host.is_empty() && !host.contains('@')).then_some(host)
}

/// Of an issuer, in an error.
const MAX_NAME: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_set_is_on_the_host_of_its_issuer() {
        const URL: &str = "https://login.example:8443/t/.well-known/openid-configuration";
        let of = |issuer: &str, keys: &str| {
            let metadata = serde_json::json!({ "issuer": issuer, "jwks_uri": keys }).to_string();
            key_set_url(metadata.as_bytes(), URL, "https://issuer.example/t/").ok()
        };
        let own = "https://login.example:8443/common/keys?appid=1";
        assert_eq!(of("https://issuer.example/t/", own).as_deref(), Some(own));
        for issuer in [
            "https://issuer.example/t",
            "https://issuer.example/{tenantid}/",
            "",
        ] {
            assert_eq!(of(issuer, own), None, "{issuer}");
        }
        for keys in [
            "http://login.example:8443/keys",
            "https://login.example/keys",
            "https://other.example:8443/keys",
            "https://login.example:8443@other.example/keys",
            "https://a@login.example:8443/keys",
            "https://login.example:8443\\@other.example/keys",
            "https://login.example:8443 /keys",
            "https://login.example:8443\r\n/keys",
            "HTTPS://login.example:8443/keys",
            "/keys",
            "https://",
            "",
        ] {
            assert_eq!(of("https://issuer.example/t/", keys), None, "{keys}");
        }
        for metadata in ["", "<html>", "{}", r#"{"issuer":1,"jwks_uri":""}"#] {
            assert!(
                key_set_url(metadata.as_bytes(), URL, "").is_err(),
                "{metadata}"
            );
        }
    }
}
