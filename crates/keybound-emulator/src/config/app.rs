use super::{ConfigError, deserialize, identity};
use keybound_core::{Cloud, Guid};
use serde::Deserialize;

/// An app registration, which authenticates by assertions.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct App {
    /// The client id (a GUID).
    #[serde(deserialize_with = "deserialize::guid")]
    pub client_id: Guid,
    /// The object id of its service principal (a GUID).
    #[serde(deserialize_with = "deserialize::guid")]
    pub object_id: Guid,
    /// Its federated credentials, at most 20.
    #[serde(default)]
    pub federated_credentials: Vec<FederatedCredential>,
}

impl App {
    /// An app registration.
    pub fn new(
        client_id: Guid,
        object_id: Guid,
        federated_credentials: Vec<FederatedCredential>,
    ) -> Self {
        Self {
            client_id,
            object_id,
            federated_credentials,
        }
    }
}

/// Which assertions an app registration accepts. They are compared exactly.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct FederatedCredential {
    /// The claim `iss`. Default: an issuer of the tenant of the host.
    #[serde(default)]
    pub issuer: Option<String>,
    /// The claim `sub`: for a managed identity its object id.
    pub subject: String,
    /// The claim `aud`: the URI of an API or its client id. Default: that of the public cloud.
    #[serde(default = "public_audience")]
    pub audience: String,
}

impl FederatedCredential {
    /// That of a managed identity of the host with this object id.
    pub fn of_identity(object_id: &Guid) -> Self {
        Self {
            issuer: None,
            subject: object_id.as_str().to_owned(),
            audience: public_audience(),
        }
    }
}

pub(super) fn check(apps: &[App]) -> Result<(), ConfigError> {
    let wrong = |message: &str| Err(ConfigError::new(format!("tenants.apps: {message}")));
    if apps.len() > MAX_APPS {
        return wrong("at most 100");
    }
    for (position, app) in apps.iter().enumerate() {
        if app.federated_credentials.len() > MAX_CREDENTIALS {
            return wrong("at most 20 federated_credentials");
        }
        let mut earlier = apps[..position].iter();
        if earlier.any(|one| one.client_id == app.client_id || one.object_id == app.object_id) {
            return wrong("two of them share a client_id or an object_id");
        }
    }
    Ok(())
}

pub(super) fn default_apps() -> Vec<App> {
    let id = |text| identity::known_guid(text);
    let system_assigned = &id("5a5a5a5a-0000-4000-8000-0000000000f1");
    vec![App::new(
        id("5a5a5a5a-0000-4000-8000-0000000000d1"),
        id("5a5a5a5a-0000-4000-8000-0000000000d2"),
        vec![FederatedCredential::of_identity(system_assigned)],
    )]
}

fn public_audience() -> String {
    Cloud::Public.exchange_audience().to_owned()
}

const MAX_APPS: usize = 100;
const MAX_CREDENTIALS: usize = 20;
