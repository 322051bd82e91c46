//! The token endpoint to connect to.
use crate::args::CloudEndpoint;
use crate::emulation;
use keybound::tls::ProxyConfig;
use keybound::{Error, Guid, Result};
use keybound_core::{EndpointPolicy, MtlsEndpoint};
use url::Url;

/// The token endpoint.
#[derive(Debug)]
pub(super) enum Target {
    Url(Url),
    /// The default one of a cloud: IMDS names the one of this host with a certificate only.
    Guess(Url),
    /// Why there is none.
    None(&'static str),
}

impl Target {
    /// The named endpoint, otherwise the emulator's if IMDS is on loopback, otherwise that of the cloud.
    pub(super) fn of(named: Option<Url>, loopback_imds: bool, cloud: &CloudEndpoint) -> Self {
        let is_emulated = loopback_imds && !cloud.is_named;
        let of_emulator = || emulation::token_endpoint().filter(|_| is_emulated);
        match (named.or_else(of_emulator), &cloud.url) {
            (Some(url), _) => Self::Url(url),
            (None, _) if is_emulated => {
                Self::None("not known without a certificate; see --token-endpoint")
            }
            (None, Some(url)) => Self::Guess(url.clone()),
            (None, None) => {
                Self::None("AZURE_AUTHORITY_HOST names an unknown cloud; see --token-endpoint")
            }
        }
    }

    /// Checks that the client would use an endpoint on this host.
    pub(super) fn check(&self, policy: &EndpointPolicy) -> Result<()> {
        let (Self::Url(url) | Self::Guess(url)) = self else {
            return Ok(());
        };
        // The tenant is part of the path, which no rule is about.
        let tenant = Guid::parse("00000000-0000-0000-0000-000000000000");
        let tenant = tenant.ok_or_else(|| Error::invalid_request("no tenant"))?;
        MtlsEndpoint::new(url.as_str(), None, &tenant, policy).map(|_| ())
    }

    /// Whether the proxy applies to it.
    pub(super) fn uses(&self, proxy: &ProxyConfig) -> Result<bool> {
        match self {
            Self::Url(url) | Self::Guess(url) => proxy.is_used_for(url),
            Self::None(_) => Ok(false),
        }
    }
}
