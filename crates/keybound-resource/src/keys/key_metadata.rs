use super::key_set::MAX_DOCUMENT;
use super::{FetchError, KeyFetcher, KeySet};
use keybound_core::printable;
use serde::Deserialize;

#[derive(Deserialize)]
struct Metadata {
    issuer: String,
    jwks_uri: String,
}

/// Fetches the key set that the metadata document of an issuer names.
pub(super) async fn fetch_keys(
    fetcher: &dyn KeyFetcher,
    url: &str,
    issuer: &str,
) -> Result<KeySet, FetchError> {
    let metadata = fetcher.fetch(url).await?;
    let jwks_uri = key_set_url(&metadata, url, issuer)?;
    let keys = KeySet::parse(&fetcher.fetch(&jwks_uri).await?);
    keys.map_err(|error| FetchError::new("the key set is not usable").with_source(error))
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
