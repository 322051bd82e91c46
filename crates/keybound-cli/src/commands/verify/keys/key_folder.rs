//! A directory with the keys of one issuer in PEM.
use crate::output_file;
use keybound_verify::{PublishedKeys, regular_file};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::io;
use std::path::Path;

/// What the directory contains: files that are not named in it are never deleted.
#[derive(Debug, Deserialize, Serialize)]
struct Index {
    issuer: String,
    fetched_at: i64,
    ids: BTreeSet<String>,
}

/// Writes `ID.pem` for each key, and deletes those of keys that the issuer no longer publishes.
pub(super) fn write(folder: &Path, published: &PublishedKeys) -> io::Result<()> {
    let index = folder.join(INDEX);
    let earlier = read(&index)?;
    if earlier
        .as_ref()
        .is_some_and(|earlier| earlier.issuer != published.issuer())
    {
        return Err(io::Error::other(
            "the directory has the keys of another issuer",
        ));
    }
    let keys = published.keys().to_pem().into_iter();
    // No token can name another id.
    let keys: Vec<_> = keys.filter(|(id, _)| is_file_name(id)).collect();
    let current: BTreeSet<_> = keys.iter().map(|(id, _)| id.clone()).collect();
    let earlier = earlier.map_or_else(BTreeSet::new, |earlier| earlier.ids);
    let write_index = |ids: BTreeSet<String>| {
        let content = Index {
            issuer: published.issuer().to_owned(),
            fetched_at: published.fetched_at(),
            ids,
        };
        replace(folder, INDEX, &serde_json::to_string(&content)?)
    };
    // Before the files: what is written is deleted later, also if this run does not end.
    write_index(current.union(&earlier).cloned().collect())?;
    for (id, pem) in &keys {
        replace(folder, &format!("{id}.pem"), pem)?;
    }
    for id in earlier.difference(&current).filter(|id| is_file_name(id)) {
        match std::fs::remove_file(folder.join(format!("{id}.pem"))) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    write_index(current)
}

fn replace(folder: &Path, name: &str, text: &str) -> io::Result<()> {
    output_file::replace(&folder.join(name), text)
        .map_err(|error| io::Error::new(error.kind(), format!("{name}: {error}")))
}

fn read(index: &Path) -> io::Result<Option<Index>> {
    match regular_file::read(index, MAX_INDEX) {
        Ok(content) => Ok(Some(serde_json::from_slice(&content)?)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// The id is chosen by the issuer.
fn is_file_name(id: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    (1..=MAX_ID).contains(&id.len()) && id.bytes().all(is_plain)
}

const INDEX: &str = "keys.json";
/// In bytes.
const MAX_INDEX: usize = 1024 * 1024;
const MAX_ID: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;
    use keybound_verify::KeyFile;
    use serde_json::json;

    fn published(issuer: &str, ids: &[&str]) -> PublishedKeys {
        let rsa = openssl::rsa::Rsa::generate(2048).unwrap();
        let number = |bytes: Vec<u8>| {
            use base64::Engine as _;
            base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes)
        };
        let (n, e) = (number(rsa.n().to_vec()), number(rsa.e().to_vec()));
        let key = |id: &&str| json!({ "kty": "RSA", "kid": id, "n": n, "e": e });
        let keys: Vec<_> = ids.iter().map(key).collect();
        let file = json!({ "issuers": [{ "issuer": issuer, "fetched_at": 7, "keys": keys }] });
        let file = KeyFile::parse(file.to_string().as_bytes()).unwrap();
        file.issuer(issuer).unwrap().clone()
    }

    fn files(folder: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(folder).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<_> = names.collect();
        names.sort();
        names
    }

    #[test]
    fn has_the_published_keys_of_one_issuer_only() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        std::fs::write(path.join("own.pem"), "data").unwrap();
        write(
            path,
            &published("a", &["x", "y", "../z", "/etc/z", "", "a.b"]),
        )
        .unwrap();
        assert_eq!(files(path), ["keys.json", "own.pem", "x.pem", "y.pem"]);
        let pem = std::fs::read(path.join("x.pem")).unwrap();
        openssl::pkey::PKey::public_key_from_pem(&pem).unwrap();
        write(path, &published("a", &["y", "w"])).unwrap();
        assert_eq!(files(path), ["keys.json", "own.pem", "w.pem", "y.pem"]);
        let error = write(path, &published("b", &["y"])).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the directory has the keys of another issuer"
        );
    }

    #[test]
    fn names_in_the_index_that_are_no_ids_are_not_deleted() {
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join("inner");
        std::fs::create_dir(&inner).unwrap();
        std::fs::write(folder.path().join("own.pem"), "data").unwrap();
        let index = json!({ "issuer": "a", "fetched_at": 7, "ids": ["../own", "gone"] });
        std::fs::write(inner.join(INDEX), index.to_string()).unwrap();
        write(&inner, &published("a", &["x"])).unwrap();
        assert_eq!(files(folder.path()), ["inner", "own.pem"]);
        assert_eq!(files(&inner), ["keys.json", "x.pem"]);
    }
}
