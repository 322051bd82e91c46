//! The token endpoint to connect to.
use crate::args::ChosenAuthority;
use crate::emulation;
use keybound::tls::ProxyConfig;
use keybound::{Error, ErrorKind, Guid, Result, Stage};
use keybound_core::{EndpointPolicy, MtlsEndpoint};
use url::Url;

/// The token endpoint.
#[derive(Debug)]
pub(super) enum Target {
    Url(Url),
    /// The authority of an app registration, for assertions that are not bound.
    Authority(Url),
    /// The default one of a cloud: IMDS names the one of this host with a certificate only.
    Guess(Url),
    /// Why there is none.
    None(&'static str),
}

impl Target {
    /// The named endpoint, otherwise the emulator's if IMDS is on loopback, otherwise that of the authority.
    pub(super) fn of(named: Option<Url>, loopback_imds: bool, chosen: &ChosenAuthority) -> Self {
        let is_emulated = loopback_imds && !chosen.is_named;
        let of_emulator = || emulation::token_endpoint().filter(|_| is_emulated);
        if let Some(url) = named.or_else(of_emulator) {
            return Self::Url(url);
        }
        if is_emulated {
            return Self::None(
                "the token endpoint is not known without a certificate; see --token-endpoint",
            );
        }
        let origin = chosen.known().and_then(|known| known.mtls_origin().ok());
        match origin {
            Some(url) => Self::Guess(url.clone()),
            None => Self::None("AZURE_AUTHORITY_HOST names an unknown cloud; see --token-endpoint"),
        }
    }

    /// The authority of AKS workload identity. If it is not `required`, it is a guess, since other tokens do not need it.
    pub(super) fn of_workload_identity(chosen: &ChosenAuthority, required: bool) -> Self {
        match (required, &chosen.authority, chosen.known()) {
            (true, Ok(authority), _) => Self::Authority(authority.origin().clone()),
            (false, _, Some(authority)) => Self::Guess(authority.origin().clone()),
            (true, Err(_), _) => Self::None("AZURE_AUTHORITY_HOST is malformed: see environment"),
            (false, _, None) => Self::None("AZURE_AUTHORITY_HOST names an unknown cloud"),
        }
    }

    pub(super) fn url(&self) -> Option<&Url> {
        match self {
            Self::Url(url) | Self::Authority(url) | Self::Guess(url) => Some(url),
            Self::None(_) => None,
        }
    }

    /// Checks that the client would use an endpoint on this host.
    pub(super) fn check(&self, policy: &EndpointPolicy) -> Result<()> {
        let url = match self {
            Self::None(_) => return Ok(()),
            Self::Authority(url) => return policy.check_listed(url).map_err(not_listed),
            Self::Url(url) | Self::Guess(url) => url,
        };
        // The tenant is part of the path, which no rule is about.
        let tenant = Guid::parse("00000000-0000-0000-0000-000000000000");
        let tenant = tenant.ok_or_else(|| Error::invalid_request("no tenant"))?;
        MtlsEndpoint::new(url.as_str(), None, &tenant, policy).map(|_| ())
    }

    /// Whether the proxy applies to it.
    pub(super) fn uses(&self, proxy: &ProxyConfig) -> Result<bool> {
        self.url().map_or(Ok(false), |url| proxy.is_used_for(url))
    }
}

fn not_listed(reason: &str) -> Error {
    let message = format!("the host of the app registration's authority {reason}");
    Error::new(ErrorKind::EndpointNotAllowed, Stage::Request, message)
}
