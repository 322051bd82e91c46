use super::variables::{
    DEFAULT_IDENTITY_CLIENT_ID, IDENTITY_ENDPOINT, IDENTITY_HEADER, IDENTITY_SERVER_THUMBPRINT,
    MSI_ENDPOINT, MSI_SECRET,
};
use super::{ManagedIdentitySource, SourceVariables};
use crate::tls::Host;
use crate::{Error, Guid, MAX_TEXT, Result, SecretString, Sha1Thumbprint};
use std::fmt;
use std::net::Ipv4Addr;
use url::Url;

/// A source with its address and its secret. `Debug` hides both, as an address may hold a secret too.
#[derive(Clone, PartialEq, Eq)]
pub struct SourceEndpoint {
    source: ManagedIdentitySource,
    pub(super) url: Url,
    pub(super) secret: Option<SecretString>,
    pub(super) default_client_id: Option<Guid>,
    thumbprint: Option<Sha1Thumbprint>,
}

impl SourceEndpoint {
    /// The endpoint of a source, which its variables name. `imds` is the base address of IMDS.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidRequest`](crate::ErrorKind::InvalidRequest) if a variable of this source is missing or malformed.
    /// The message names the variable, not its value.
    pub fn new(
        source: ManagedIdentitySource,
        variables: &SourceVariables,
        imds: &Url,
    ) -> Result<Self> {
        let reader = Reader { source, variables };
        let endpoint = |url| Self {
            source,
            url,
            secret: None,
            default_client_id: None,
            thumbprint: None,
        };
        Ok(match source {
            ManagedIdentitySource::Imds => endpoint(imds_url(imds)),
            ManagedIdentitySource::AppService => Self {
                secret: Some(reader.secret(IDENTITY_HEADER)?),
                ..endpoint(reader.url(IDENTITY_ENDPOINT, ANY)?)
            },
            ManagedIdentitySource::ServiceFabric => Self {
                secret: Some(reader.secret(IDENTITY_HEADER)?),
                thumbprint: Some(reader.thumbprint()?),
                ..endpoint(reader.url(IDENTITY_ENDPOINT, &["https"])?)
            },
            ManagedIdentitySource::AzureArc => endpoint(reader.arc_url()?),
            ManagedIdentitySource::MachineLearning => Self {
                secret: Some(reader.secret(MSI_SECRET)?),
                default_client_id: reader.default_client_id()?,
                ..endpoint(reader.url(MSI_ENDPOINT, ANY)?)
            },
            ManagedIdentitySource::CloudShell => endpoint(reader.url(MSI_ENDPOINT, ANY)?),
        })
    }

    /// The source.
    pub fn source(&self) -> ManagedIdentitySource {
        self.source
    }

    /// The address without its path, which may contain a secret.
    pub fn origin(&self) -> Url {
        let mut origin = self.url.clone();
        origin.set_path("/");
        origin
    }

    /// The secret that each request contains: an error response that repeats it is not shown.
    pub fn secret(&self) -> Option<&SecretString> {
        self.secret.as_ref()
    }

    /// Whether the address is an `https` URL.
    pub fn is_https(&self) -> bool {
        self.url.scheme() == "https"
    }

    /// The thumbprint of the only certificate that the server may present: that of Service Fabric.
    pub fn server_thumbprint(&self) -> Option<Sha1Thumbprint> {
        self.thumbprint
    }
}

impl fmt::Debug for SourceEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SourceEndpoint")
            .field("source", &self.source)
            .finish_non_exhaustive()
    }
}

fn imds_url(base: &Url) -> Url {
    let mut url = base.clone();
    let prefix = base.path().trim_end_matches('/');
    url.set_path(&format!("{prefix}{IMDS_PATH}"));
    url
}

/// Reads the variables of a source.
struct Reader<'a> {
    source: ManagedIdentitySource,
    variables: &'a SourceVariables,
}

impl Reader<'_> {
    fn required(&self, name: &str) -> Result<&str> {
        self.variables.get(name).ok_or_else(|| {
            Error::invalid_request(format!(
                "{name} is not set: {} sets it if a managed identity is enabled",
                self.source
            ))
        })
    }

    fn url(&self, name: &str, schemes: &[&str]) -> Result<Url> {
        let text = self.required(name)?;
        parse_url(text, schemes).ok_or_else(|| {
            Error::invalid_request(format!(
                "{name} of {} is not an {} URL without user name, query and fragment",
                self.source,
                schemes.join(" or ")
            ))
        })
    }

    /// The agent is on this host: no other one gets the content of its key file. It listens on IPv4; `localhost` may be resolved
    /// to `::1` first, where another user of the host may listen.
    fn arc_url(&self) -> Result<Url> {
        let Some(_) = self.variables.get(IDENTITY_ENDPOINT) else {
            return Ok(Url::parse(ARC_URL).expect("a constant URL"));
        };
        let mut url = self.url(IDENTITY_ENDPOINT, &["http"])?;
        let host = Host::from_url(&url).filter(Host::is_loopback);
        let pinned = match host {
            Some(Host::Name(_)) => url.set_ip_host(Ipv4Addr::LOCALHOST.into()).is_ok(),
            Some(Host::Ip(_)) => true,
            None => false,
        };
        if pinned {
            return Ok(url);
        }
        Err(Error::invalid_request(
            "IDENTITY_ENDPOINT of Azure Arc is not on the loopback interface",
        ))
    }

    /// A value for a header.
    fn secret(&self, name: &str) -> Result<SecretString> {
        let text = self.required(name)?;
        let visible = |byte: u8| (0x21..=0x7e).contains(&byte);
        if text.len() > MAX_SECRET || !text.bytes().all(visible) {
            return Err(Error::invalid_request(format!(
                "{name} is too long or has characters that are not allowed in a header"
            )));
        }
        Ok(SecretString::new(text.to_owned()))
    }

    fn thumbprint(&self) -> Result<Sha1Thumbprint> {
        let text = self.required(IDENTITY_SERVER_THUMBPRINT)?;
        Sha1Thumbprint::parse(text).ok_or_else(|| {
            Error::invalid_request(
                "IDENTITY_SERVER_THUMBPRINT is not a SHA-1 thumbprint of 40 hexadecimal digits",
            )
        })
    }

    fn default_client_id(&self) -> Result<Option<Guid>> {
        let Some(text) = self.variables.get(DEFAULT_IDENTITY_CLIENT_ID) else {
            return Ok(None);
        };
        let id = Guid::parse(text)
            .ok_or_else(|| Error::invalid_request("DEFAULT_IDENTITY_CLIENT_ID is not a GUID"))?;
        Ok(Some(id))
    }
}

fn parse_url(text: &str, schemes: &[&str]) -> Option<Url> {
    if text.len() > MAX_TEXT {
        return None;
    }
    let url = Url::parse(text).ok()?;
    let plain = url.username().is_empty() && url.password().is_none() && url.fragment().is_none();
    // A parameter in it could select another identity or resource.
    let plain = plain && url.query().is_none();
    let has_host = url.host_str().is_some_and(|host| !host.is_empty());
    (schemes.contains(&url.scheme()) && plain && has_host).then_some(url)
}

/// The services set `http` URLs; with `https` the server is verified as any other.
const ANY: &[&str] = &["http", "https"];
const IMDS_PATH: &str = "/metadata/identity/oauth2/token";
/// The agent's address, unless a variable names it.
const ARC_URL: &str = "http://127.0.0.1:40342/metadata/identity/oauth2/token";
const MAX_SECRET: usize = 4096;
