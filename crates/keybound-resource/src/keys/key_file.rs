use super::issuer_keys::Loaded;
use super::{FetchError, KeySet, KeySetError};
use crate::regular_file;
use keybound_core::printable;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::json;
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::path::Path;

/// The keys of several issuers, each with the time at which they were fetched: what `keybound verify keys` writes, and
/// [`Keys::file`](super::Keys::file) reads.
///
/// ```json
/// {"issuers": [{"issuer": "https://sts.windows.net/TENANT/", "fetched_at": 1795968000, "keys": [{"kty": "RSA", "kid": "…"}]}]}
/// ```
///
/// `issuer` is the claim `iss` of the tokens; for a verifier of any tenant, with `{tenantid}`. `fetched_at` is in seconds since the Unix
/// epoch. `keys` are those of a JSON Web Key set.
#[derive(Clone, Debug, Default)]
pub struct KeyFile(BTreeMap<String, PublishedKeys>);

/// The keys that an issuer publishes, and when they were fetched. Cloning is cheap.
#[derive(Clone, Debug)]
pub struct PublishedKeys {
    issuer: String,
    fetched_at: i64,
    keys: KeySet,
}

/// Why a key file is not usable.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyFileError {
    /// It is longer than 8 MiB.
    #[error("the key file is longer than 8 MiB")]
    TooLong,
    /// It is not JSON of this form.
    #[error("the key file is malformed")]
    Malformed,
    /// It is a JSON Web Key set.
    #[error(
        "the file is a JSON Web Key set, which says neither whose keys these are nor when they were fetched: `keybound verify keys` writes \
         key files"
    )]
    WithoutIssuers,
    /// It has an issuer twice.
    #[error("the key file has an issuer twice")]
    DuplicateIssuer,
    /// It does not have the keys of this issuer.
    #[error("the key file has no keys of the issuer {0}")]
    IssuerMissing(String),
    /// The keys of an issuer are not usable.
    #[error("the key file has keys of {0} that are not usable")]
    Keys(String, #[source] KeySetError),
}

/// The content of a file, by the names of the issuers.
pub(super) type KeysByIssuer = BTreeMap<String, Result<PublishedKeys, KeyFileError>>;

#[derive(Deserialize)]
struct Document<'a> {
    #[serde(borrow)]
    issuers: Option<Vec<Entry<'a>>>,
    keys: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct Entry<'a> {
    issuer: String,
    fetched_at: i64,
    #[serde(borrow)]
    keys: Vec<&'a RawValue>,
}

impl KeyFile {
    /// Parses a file.
    ///
    /// # Errors
    /// If it is malformed, or has keys that are not usable.
    pub fn parse(json: &[u8]) -> Result<Self, KeyFileError> {
        let mut file = Self::default();
        for entry in entries(json)?.into_values() {
            file.insert(entry.parse()?);
        }
        Ok(file)
    }

    /// Adds the keys of an issuer, in place of those that it had.
    pub fn insert(&mut self, keys: PublishedKeys) {
        self.0.insert(keys.issuer.clone(), keys);
    }

    /// The keys of an issuer.
    pub fn issuer(&self, name: &str) -> Option<&PublishedKeys> {
        self.0.get(name)
    }

    /// All of them, in the order of the issuers' names.
    pub fn iter(&self) -> impl Iterator<Item = &PublishedKeys> {
        self.0.values()
    }

    /// The content of the file.
    pub fn to_json(&self) -> String {
        let issuer = |published: &PublishedKeys| {
            json!({
                "issuer": published.issuer,
                "fetched_at": published.fetched_at,
                "keys": published.keys.to_jwks(),
            })
        };
        let issuers: Vec<_> = self.iter().map(issuer).collect();
        json!({ "issuers": issuers }).to_string()
    }
}

impl KeyFileError {
    pub(super) fn missing(issuer: &str) -> Self {
        Self::IssuerMissing(printable(issuer, MAX_NAME))
    }
}

impl PublishedKeys {
    /// Keys of an issuer that were fetched at a time, in seconds since the Unix epoch.
    pub fn new(issuer: &str, fetched_at: i64, keys: KeySet) -> Self {
        Self {
            issuer: issuer.to_owned(),
            fetched_at,
            keys,
        }
    }

    /// The name of the issuer.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// When they were fetched, in seconds since the Unix epoch.
    pub fn fetched_at(&self) -> i64 {
        self.fetched_at
    }

    /// The keys.
    pub fn keys(&self) -> &KeySet {
        &self.keys
    }

    /// A time in the future would make the keys younger than they are.
    pub(super) fn loaded(&self, now: i64) -> Result<Loaded, FetchError> {
        if self.fetched_at > now.saturating_add(CLOCK_SKEW) {
            return Err(FetchError::new(
                "the keys in the file were fetched in the future",
            ));
        }
        Ok(Loaded {
            keys: self.keys.clone(),
            fetched_at: self.fetched_at.min(now),
        })
    }
}

impl Entry<'_> {
    fn parse(&self) -> Result<PublishedKeys, KeyFileError> {
        let keys = KeySet::of_keys(&self.keys)
            .map_err(|error| KeyFileError::Keys(printable(&self.issuer, MAX_NAME), error))?;
        Ok(PublishedKeys::new(&self.issuer, self.fetched_at, keys))
    }
}

/// Reads the keys of each issuer in a file: wrong ones of one issuer do not concern the others.
pub(super) fn read_each(path: &Path) -> Result<KeysByIssuer, FetchError> {
    let content = content(path)?;
    let entries = entries(&content).map_err(|error| unusable(path, error))?;
    let entries = entries.into_iter();
    Ok(entries
        .map(|(issuer, entry)| (issuer, entry.parse()))
        .collect())
}

/// Each by its issuer.
fn entries(json: &[u8]) -> Result<BTreeMap<String, Entry<'_>>, KeyFileError> {
    if json.len() > MAX_FILE {
        return Err(KeyFileError::TooLong);
    }
    let document: Document<'_> =
        serde_json::from_slice(json).map_err(|_| KeyFileError::Malformed)?;
    let Some(issuers) = document.issuers else {
        return Err(match document.keys {
            Some(_) => KeyFileError::WithoutIssuers,
            None => KeyFileError::Malformed,
        });
    };
    let mut entries = BTreeMap::new();
    for entry in issuers {
        if entries.insert(entry.issuer.clone(), entry).is_some() {
            return Err(KeyFileError::DuplicateIssuer);
        }
    }
    Ok(entries)
}

fn content(path: &Path) -> Result<Vec<u8>, FetchError> {
    regular_file::read(path, MAX_FILE).map_err(|error| {
        let path = path.display();
        FetchError::new(format!("the key file {path} cannot be read")).with_source(error)
    })
}

pub(super) fn unusable(path: &Path, error: KeyFileError) -> FetchError {
    let path = path.display();
    FetchError::new(format!("the key file {path} is not usable")).with_source(error)
}

/// In bytes: a thousand issuers of Entra.
const MAX_FILE: usize = 8 * 1024 * 1024;
/// Of an issuer in an error.
const MAX_NAME: usize = 200;
/// In seconds: between the host that fetched the keys and this one.
const CLOCK_SKEW: i64 = 300;
