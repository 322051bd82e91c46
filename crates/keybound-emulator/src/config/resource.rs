use super::{ConfigError, deserialize, identity};
use keybound_core::{Cloud, Guid};
use serde::Deserialize;

/// An API that is registered in Entra. All others get tokens too, of version 1.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Resource {
    /// Its application ID URI, such as `api://orders.contoso.com`.
    pub uri: String,
    /// Its client id (a GUID): the audience of tokens of version 2.
    #[serde(deserialize_with = "deserialize::guid")]
    pub client_id: Guid,
    /// The version of its tokens. Default: 1.
    #[serde(default)]
    pub token_version: TokenVersion,
}

impl Resource {
    /// An API with tokens of this version.
    pub fn new(uri: impl Into<String>, client_id: Guid, token_version: TokenVersion) -> Self {
        Self {
            uri: uri.into(),
            client_id,
            token_version,
        }
    }

    /// Whether a request for a token names it: by its URI or its client id.
    pub(crate) fn is_named(&self, resource: &str) -> bool {
        is_same_uri(&self.uri, resource) || self.client_id.matches(resource)
    }
}

/// The version of access tokens, `accessTokenAcceptedVersion` in the manifest of an API.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "u8")]
#[non_exhaustive]
pub enum TokenVersion {
    /// Version 1: the client is in `appid`, the audience is the resource as it was requested.
    #[default]
    V1,
    /// Version 2: the client is in `azp`, the audience is the client id of the API.
    V2,
}

impl TryFrom<u8> for TokenVersion {
    type Error = &'static str;

    fn try_from(number: u8) -> Result<Self, Self::Error> {
        match number {
            1 => Ok(Self::V1),
            2 => Ok(Self::V2),
            _ => Err("token_version is 1 or 2"),
        }
    }
}

/// Whether two URIs are the same without regard to case and slashes at the end.
pub(crate) fn is_same_uri(one: &str, other: &str) -> bool {
    let bare = |text: &str| text.trim_end_matches('/').to_ascii_lowercase();
    bare(one) == bare(other)
}

pub(super) fn check(resources: &[Resource]) -> Result<(), ConfigError> {
    let wrong = |message: &str| Err(ConfigError::new(format!("resources: {message}")));
    if resources.len() > MAX_RESOURCES {
        return wrong("at most 100");
    }
    for (position, resource) in resources.iter().enumerate() {
        let uri = &resource.uri;
        if uri.is_empty() || uri.len() > 255 || uri.contains(|byte: char| !byte.is_ascii_graphic())
        {
            return wrong("a uri has 1 to 255 printable characters");
        }
        let mut earlier = resources[..position].iter();
        if earlier.any(|one| one.is_named(uri) || one.client_id == resource.client_id) {
            return wrong("two of them share a uri or a client_id");
        }
    }
    Ok(())
}

pub(super) fn default_resources() -> Vec<Resource> {
    let of = |uri, id| Resource::new(uri, identity::known_guid(id), TokenVersion::V2);
    vec![
        of(
            "api://orders.contoso.com",
            "5a5a5a5a-0000-4000-8000-0000000000c1",
        ),
        of(
            Cloud::Public.exchange_audience(),
            "fb60f99c-7a34-4190-8149-302f77469936",
        ),
    ]
}

const MAX_RESOURCES: usize = 100;
