use super::app::{self, App};
use super::{ConfigError, deserialize, identity};
use keybound_core::Guid;
use serde::Deserialize;

/// A tenant of Entra besides the one of the host.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Tenant {
    /// The tenant (a GUID).
    #[serde(deserialize_with = "deserialize::guid")]
    pub id: Guid,
    /// Its app registrations, at most 100.
    #[serde(default)]
    pub apps: Vec<App>,
}

impl Tenant {
    /// A tenant without app registrations.
    pub fn new(id: Guid) -> Self {
        Self {
            id,
            apps: Vec::new(),
        }
    }

    /// The same with these app registrations.
    #[must_use]
    pub fn with_apps(mut self, apps: Vec<App>) -> Self {
        self.apps = apps;
        self
    }
}

pub(super) fn check(home: &Guid, tenants: &[Tenant]) -> Result<(), ConfigError> {
    if tenants.len() > MAX_TENANTS {
        return Err(ConfigError::new("tenants: at most 16"));
    }
    for (position, tenant) in tenants.iter().enumerate() {
        let mut earlier = tenants[..position].iter().map(|tenant| &tenant.id);
        if tenant.id == *home || earlier.any(|id| *id == tenant.id) {
            return Err(ConfigError::new(
                "tenants: two of them, or one and tenant_id, are the same",
            ));
        }
        app::check(&tenant.apps)?;
    }
    Ok(())
}

pub(super) fn default_tenants() -> Vec<Tenant> {
    let id = "5a5a5a5a-0000-4000-8000-00000000000b";
    vec![Tenant::new(identity::known_guid(id)).with_apps(app::default_apps())]
}

const MAX_TENANTS: usize = 16;
