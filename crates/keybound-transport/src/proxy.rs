//! Which HTTP proxy a connection uses.
mod bypass;
mod http_proxy;
mod settings;
mod system_proxy;
#[cfg(not(windows))]
mod unsupported;
#[cfg(windows)]
#[allow(unsafe_code, reason = "the functions of Windows are unsafe")]
mod windows;
mod winhttp_lists;

pub(crate) use http_proxy::HttpProxy;

use crate::origin::Origin;
use crate::{TransportError, TransportErrorKind};
use bypass::Bypass;
use keybound_core::tls::Host;
use std::sync::Arc;
use system_proxy::SystemProxy;
#[cfg(not(windows))]
use unsupported as platform;
use url::Url;
#[cfg(windows)]
use windows as platform;

/// Which HTTP proxy (CONNECT) a connection uses: one that the caller names or one from the system's settings. Connections to
/// loopback hosts never use a proxy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProxyConfig {
    choice: ProxyChoice,
    bypass: Vec<Bypass>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum ProxyChoice {
    #[default]
    Direct,
    Proxy(Arc<HttpProxy>),
    /// The environment names a malformed proxy; the text is the reason.
    Malformed(Arc<str>),
    System(SystemProxy),
}

impl ProxyConfig {
    /// No proxy.
    pub fn none() -> Self {
        Self::default()
    }

    /// The system's settings: on Windows the user's (Settings, Network & internet, Proxy) or, if these name no proxy, the
    /// machine's (`netsh winhttp`); no proxy on other platforms. They are read once, before the first connection to a host
    /// other than loopback; later changes apply to configurations created later. Any two such configurations are equal.
    ///
    /// Used are HTTP proxies for all protocols or for https, reached without TLS. Exceptions may contain `*`, ports,
    /// `<local>` and networks. Scripts (PAC), automatic detection, other kinds of proxies and unreadable settings are
    /// skipped: the machine's settings are used instead, then a direct connection. A warning (target `keybound_transport`)
    /// names what is skipped; automatic detection, which Windows enables by default, is logged at level debug only. The
    /// error of a direct connection that then fails names it too.
    pub fn system() -> Self {
        if cfg!(windows) {
            Self::of(ProxyChoice::System(SystemProxy::new(platform::read)))
        } else {
            Self::none()
        }
    }

    /// Like [`system`](Self::system), on any platform, from a list of proxies and a list of exceptions in the format in which
    /// Windows stores them for a user.
    pub fn from_windows_settings(proxies: &str, bypass: &str) -> Self {
        let [proxies, bypass] =
            [proxies, bypass].map(|list| list.encode_utf16().collect::<Vec<_>>());
        Self::of(ProxyChoice::System(SystemProxy::from_lists(
            &proxies, &bypass,
        )))
    }

    fn of(choice: ProxyChoice) -> Self {
        Self {
            choice,
            bypass: vec![],
        }
    }

    /// Reads the values of `HTTPS_PROXY` (or `https_proxy`, `ALL_PROXY`) and `NO_PROXY`.
    ///
    /// The proxy is `[http://][user:password@]host[:port]`, port 80 by default; a blank value means none. `NO_PROXY` is a
    /// list, separated by commas or blanks, of `*`, names (each includes its subdomains, with or without a leading dot),
    /// addresses and networks (`10.0.0.0/8`), each with an optional port; other entries match nothing.
    ///
    /// # Errors
    /// [`InvalidRequest`](keybound_core::ErrorKind::InvalidRequest) names the error in a proxy URL, without its
    /// credentials.
    pub fn from_values(
        https_proxy: Option<&str>,
        no_proxy: Option<&str>,
    ) -> Result<Self, keybound_core::Error> {
        let choice = match https_proxy.map(str::trim) {
            None | Some("") => ProxyChoice::Direct,
            Some(text) => ProxyChoice::Proxy(Arc::new(HttpProxy::parse(text)?)),
        };
        Ok(Self::of(choice).with_no_proxy(no_proxy.unwrap_or_default()))
    }

    /// Like [`from_values`](Self::from_values), for values that are set for many programs: a malformed proxy URL fails only
    /// requests through that proxy.
    pub fn from_environment(https_proxy: Option<&str>, no_proxy: Option<&str>) -> Self {
        Self::from_values(https_proxy, no_proxy).unwrap_or_else(|error| {
            let choice = ProxyChoice::Malformed(error.to_string().into());
            Self::of(choice).with_no_proxy(no_proxy.unwrap_or_default())
        })
    }

    /// Adds hosts that are reached without a proxy, from a list in the format of `NO_PROXY` (see
    /// [`from_values`](Self::from_values)); `*` matches all hosts.
    #[must_use]
    pub fn with_no_proxy(mut self, no_proxy: &str) -> Self {
        let entries = no_proxy.split([',', ' ', '\t']);
        self.bypass.extend(entries.filter_map(Bypass::parse));
        self
    }

    /// Whether a connection to this https URL uses a proxy. The first call may read the system's settings.
    ///
    /// # Errors
    /// [`InvalidRequest`](keybound_core::ErrorKind::InvalidRequest) if the environment names a malformed proxy, or the URL has no
    /// host.
    pub fn is_used_for(&self, url: &Url) -> Result<bool, keybound_core::Error> {
        let origin = origin_of(url).ok_or_else(|| {
            keybound_core::Error::invalid_request("the URL for a connection has no host")
        })?;
        Ok(self.for_origin(&origin)?.is_some())
    }

    /// Whether the host of this URL is on the list of hosts that are reached without a proxy (`NO_PROXY`). Loopback hosts are not
    /// on it unless it names them.
    pub fn lists_exception(&self, url: &Url) -> bool {
        let matches = |origin| self.bypass.iter().any(|entry| entry.matches(&origin));
        origin_of(url).is_some_and(matches)
    }

    /// The settings of the system that name a proxy in a way that is not supported, such as a script, so that connections are
    /// direct. Automatic detection alone is none: Windows enables it by default. The first call may read the settings.
    pub fn skipped_settings(&self) -> Option<String> {
        match &self.choice {
            ProxyChoice::System(system) => system.skipped_proxies(),
            _ => None,
        }
    }

    /// The proxy for an origin; `None` for a direct connection. The first call may read the system's settings.
    ///
    /// # Errors
    /// [`InvalidRequest`](TransportErrorKind::InvalidRequest) if the environment names a malformed proxy.
    pub(crate) fn for_origin(
        &self,
        origin: &Origin,
    ) -> Result<Option<&Arc<HttpProxy>>, TransportError> {
        if self.is_exempt(origin) {
            return Ok(None);
        }
        match &self.choice {
            ProxyChoice::Direct => Ok(None),
            ProxyChoice::Proxy(proxy) => Ok(Some(proxy)),
            ProxyChoice::Malformed(reason) => Err(TransportError::new(
                TransportErrorKind::InvalidRequest,
                format!(
                    "the proxy that the environment names for {} is malformed: {reason}",
                    origin.name()
                ),
            )),
            ProxyChoice::System(system) => Ok(system.for_origin(origin)),
        }
    }

    /// Adds the skipped system settings to the error of a connection that failed without a proxy.
    pub(crate) fn explain(&self, origin: &Origin, error: TransportError) -> TransportError {
        let may_need_proxy = matches!(
            error.kind(),
            TransportErrorKind::Connect | TransportErrorKind::Timeout
        );
        let skipped = match &self.choice {
            ProxyChoice::System(system) if may_need_proxy && !self.is_exempt(origin) => {
                system.skipped_settings()
            }
            _ => None,
        };
        match skipped {
            Some(skipped) => TransportError::new(
                error.kind(),
                format!("{} was tried without a proxy: {skipped}", origin.name()),
            )
            .with_source(error),
            None => error,
        }
    }

    fn is_exempt(&self, origin: &Origin) -> bool {
        origin.host.is_loopback() || self.bypass.iter().any(|entry| entry.matches(origin))
    }
}

fn origin_of(url: &Url) -> Option<Origin> {
    Some(Origin {
        host: Host::from_url(url)?,
        port: url.port_or_known_default()?,
    })
}

#[cfg(test)]
mod tests;
