//! What is not usable in the policy of an API.
use super::{ApiConfig, IssuerConfig, TenantsConfig};
use crate::config::{ConfigError, texts};
use crate::host;
use keybound_resource::{BuildError, FetchError, FetchFuture, Guid, KeyFetcher, Keys};

impl ApiConfig {
    /// `index` is its position among the APIs.
    pub(in crate::config) fn check(&self, index: usize) -> Result<(), ConfigError> {
        let of_api = format!("api.{index}");
        if self.hosts.is_empty() {
            return Err(ConfigError::at(
                &of_api,
                "[[api]]: the list of hosts is empty",
            ));
        }
        for (position, name) in self.hosts.iter().enumerate() {
            let normalized = host::normalized(name);
            if normalized.as_ref() != Some(name) {
                let problem = texts::host(name, normalized.as_deref());
                let place = format!("{of_api}.hosts.{position}");
                return Err(ConfigError::at(&place, format!("[[api]]: {problem}")));
            }
        }
        let wrong = |setting: &str, problem: &str| {
            let problem = format!("the API {}: {problem}", self.name());
            ConfigError::at(&format!("{of_api}.{setting}"), problem)
        };
        self.check_texts(&wrong)?;
        for (position, issuer) in self.issuers.iter().flatten().enumerate() {
            let place = |setting: &str| format!("issuers.{position}.{setting}");
            issuer
                .check()
                .map_err(|(setting, problem)| wrong(&place(setting), &problem))?;
        }
        // The other settings are checked when a verifier is built. It verifies nothing and caches nothing.
        let builder = self.verifier().map_err(|error| error.placed(&of_api))?;
        let builder = builder.keys(Keys::discovered(NoKeys));
        let verifier = builder.cache_bytes(0).build();
        verifier.map(drop).map_err(|error| {
            let setting = match &error {
                BuildError::EmptyList { setting } | BuildError::EmptyText { setting } => setting,
                _ => "",
            };
            wrong(setting, &error.to_string())
        })
    }

    /// Finds texts that no token has.
    fn check_texts(&self, wrong: &dyn Fn(&str, &str) -> ConfigError) -> Result<(), ConfigError> {
        type Check = fn(&str) -> Option<String>;
        let tenants = match &self.tenants {
            TenantsConfig::Listed(listed) => &listed[..],
            TenantsConfig::Any(_) => &[],
        };
        let tenant: Check = |text| {
            Guid::parse(text)
                .is_none()
                .then(|| texts::not_a_guid(text, "the id of a tenant"))
        };
        let list = |list: &Option<Vec<String>>| list.clone().unwrap_or_default();
        let settings: [(&str, Vec<String>, Check); 6] = [
            ("audiences", self.audiences.clone(), texts::audience),
            ("tenants", tenants.to_vec(), tenant),
            ("clients", list(&self.clients), texts::client),
            ("roles", list(&self.roles), texts::word),
            ("scopes", list(&self.scopes), texts::scope),
            (
                "authorization_uri",
                self.authorization_uri.iter().cloned().collect(),
                texts::url,
            ),
        ];
        for (setting, values, check) in settings {
            for (position, value) in values.iter().enumerate() {
                if let Some(problem) = check(value) {
                    let place = format!("{setting}.{position}");
                    return Err(wrong(&place, &format!("{setting}: {problem}")));
                }
            }
        }
        Ok(())
    }
}

impl IssuerConfig {
    /// The setting that is not usable, and why.
    fn check(&self) -> Result<(), (&'static str, String)> {
        let name = &self.name;
        if texts::has_user_information(name) {
            let problem = "the name of an issuer has user information before the host: remove it";
            return Err(("name", problem.to_owned()));
        }
        if texts::has_user_information(&self.metadata) {
            let problem = format!(
                "the metadata of the issuer {name} has user information before the host: remove it"
            );
            return Err(("metadata", problem));
        }
        if !matches!(self.version, 1 | 2) {
            let problem = format!(
                "the issuer {name}: version = {} is neither 1 nor 2, the version of its tokens",
                self.version
            );
            return Err(("version", problem));
        }
        match &self.tenant {
            Some(tenant) if Guid::parse(tenant).is_none() => {
                let problem = texts::not_a_guid(tenant, "the id of its tenant");
                Err(("tenant", format!("the issuer {name}: tenant: {problem}")))
            }
            _ => Ok(()),
        }
    }
}

/// For a verifier that verifies nothing.
struct NoKeys;

impl KeyFetcher for NoKeys {
    fn fetch<'a>(&'a self, _: &'a str) -> FetchFuture<'a> {
        Box::pin(async { Err(FetchError::new("keys are not fetched for a check")) })
    }
}
