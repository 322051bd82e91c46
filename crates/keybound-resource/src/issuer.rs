use keybound_core::Guid;

/// The version of an access token. The resource's manifest chooses it (`accessTokenAcceptedVersion`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TokenVersion {
    /// Version 1: the client is in `appid`.
    V1,
    /// Version 2: the client is in `azp`, and the audience is the client id of the resource.
    V2,
}

impl TokenVersion {
    /// The value of the claim `ver`.
    pub fn claim(self) -> &'static str {
        match self {
            Self::V1 => "1.0",
            Self::V2 => "2.0",
        }
    }
}

/// A cloud, with Entra's issuers in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cloud {
    /// Azure.
    Public,
    /// Azure Government. Tokens of version 2; the issuer of version 1 is added as an [`Issuer`].
    UsGovernment,
    /// Azure operated by 21Vianet. Tokens of version 2; the issuer of version 1 is added as an [`Issuer`].
    China,
}

impl Cloud {
    pub(crate) fn issuers(self) -> Vec<Issuer> {
        let v2 = |host: &str| {
            Issuer::new(
                TokenVersion::V2,
                &format!("https://{host}/{{tenantid}}/v2.0"),
                &format!("https://{host}/{{tenantid}}/v2.0/.well-known/openid-configuration"),
            )
        };
        match self {
            Self::Public => vec![
                Issuer::new(
                    TokenVersion::V1,
                    "https://sts.windows.net/{tenantid}/",
                    "https://login.microsoftonline.com/{tenantid}/.well-known/openid-configuration",
                )
                .key_issuer("https://login.microsoftonline.com/{tenantid}/v2.0"),
                v2("login.microsoftonline.com"),
            ],
            Self::UsGovernment => vec![v2("login.microsoftonline.us")],
            Self::China => vec![v2("login.partner.microsoftonline.cn")],
        }
    }
}

/// An issuer of tokens of one version, with its metadata document.
///
/// In both names, `{tenantid}` stands for the tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issuer {
    version: TokenVersion,
    name: Template,
    metadata: String,
    /// Further issuers whose keys sign its tokens.
    key_issuers: Vec<Template>,
}

impl Issuer {
    /// An issuer: the claim `iss` of its tokens, such as `https://sts.windows.net/{tenantid}/`, and the URL of its metadata,
    /// such as `https://login.microsoftonline.com/{tenantid}/.well-known/openid-configuration`. The URL is used for discovered keys
    /// only. Names without `{tenantid}` are those of one tenant.
    pub fn new(version: TokenVersion, name: &str, metadata: &str) -> Self {
        Self {
            version,
            name: Template::new(name),
            metadata: metadata.to_owned(),
            key_issuers: Vec::new(),
        }
    }

    /// Accepts keys that name another issuer: those of Entra sign tokens of both versions, and name the issuer of version 2, in the key
    /// set of version 2 only.
    #[must_use]
    pub fn key_issuer(mut self, name: &str) -> Self {
        self.key_issuers.push(Template::new(name));
        self
    }

    /// The version of its tokens.
    pub(crate) fn version(&self) -> TokenVersion {
        self.version
    }

    /// Whether `iss` is its name for the tenant `tid`, exactly.
    pub(crate) fn is_name(&self, iss: &str, tid: &str) -> bool {
        self.name.matches(iss, tid)
    }

    /// Whether a key that names this issuer signs its tokens for the tenant `tid`.
    pub(crate) fn accepts_key_of(&self, key_issuer: &Template, tid: &str) -> bool {
        let key_issuer = key_issuer.text(tid);
        let mut accepted = std::iter::once(&self.name).chain(&self.key_issuers);
        accepted.any(|accepted| accepted.matches(&key_issuer, tid))
    }

    /// Its name for one tenant, or its template.
    pub(crate) fn name(&self, tenant: Option<&Guid>) -> String {
        self.name.text(tenant.map_or(PLACEHOLDER, Guid::as_str))
    }

    /// The URL of its metadata for one tenant, or for all of them, which Entra calls `common`.
    pub(crate) fn metadata(&self, tenant: Option<&Guid>) -> String {
        let tenant = tenant.map_or("common", Guid::as_str);
        self.metadata.replace(PLACEHOLDER, tenant)
    }
}

/// A name with at most one `{tenantid}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Template {
    prefix: String,
    /// What follows the tenant, if there is one.
    suffix: Option<String>,
}

impl Template {
    pub(crate) fn new(text: &str) -> Self {
        let (prefix, suffix) = match text.split_once(PLACEHOLDER) {
            Some((prefix, suffix)) => (prefix, Some(suffix.to_owned())),
            None => (text, None),
        };
        Self {
            prefix: prefix.to_owned(),
            suffix,
        }
    }

    /// Whether `name` is exactly this text with the tenant in its place.
    pub(crate) fn matches(&self, name: &str, tenant: &str) -> bool {
        match &self.suffix {
            None => name == self.prefix,
            Some(suffix) => {
                name.strip_prefix(self.prefix.as_str())
                    .and_then(|rest| rest.strip_suffix(suffix.as_str()))
                    == Some(tenant)
            }
        }
    }

    fn text(&self, tenant: &str) -> String {
        match &self.suffix {
            None => self.prefix.clone(),
            Some(suffix) => format!("{}{tenant}{suffix}", self.prefix),
        }
    }
}

const PLACEHOLDER: &str = "{tenantid}";
