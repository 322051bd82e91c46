use keybound_resource::source::{ForwardedCertificate, TrustedPeers};
use serde::Deserialize;
use std::fmt;

/// A proxy, and the way it asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Engine {
    /// Envoy's external authorization over gRPC: the certificate is in its message.
    Envoy,
    /// Envoy's external authorization over HTTP: the certificate is in `X-Forwarded-Client-Cert`.
    EnvoyHttp,
    /// nginx: `auth_request`.
    Nginx,
    /// Apache: `mod_lua`.
    Apache,
    /// HAProxy: a Lua action.
    Haproxy,
    /// Traefik: `ForwardAuth`.
    Traefik,
    /// Caddy: `forward_auth`.
    Caddy,
}

impl Engine {
    /// All of them.
    pub const ALL: &'static [Self] = &[
        Self::Envoy,
        Self::EnvoyHttp,
        Self::Nginx,
        Self::Apache,
        Self::Haproxy,
        Self::Traefik,
        Self::Caddy,
    ];

    /// Its name in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::Envoy => "envoy",
            Self::EnvoyHttp => "envoy-http",
            Self::Nginx => "nginx",
            Self::Apache => "apache",
            Self::Haproxy => "haproxy",
            Self::Traefik => "traefik",
            Self::Caddy => "caddy",
        }
    }

    /// The only place of client certificates; other headers are ignored. The message of [`Self::Envoy`] has them in the format of the
    /// same header as nginx.
    pub(crate) fn certificate_source(self, trusted: TrustedPeers) -> ForwardedCertificate {
        match self {
            Self::Envoy | Self::Nginx => ForwardedCertificate::nginx(trusted),
            Self::EnvoyHttp => ForwardedCertificate::xfcc(trusted),
            Self::Apache | Self::Haproxy | Self::Caddy => ForwardedCertificate::haproxy(trusted),
            Self::Traefik => ForwardedCertificate::traefik(trusted),
        }
    }

    /// Whether host, method and path are those of the request itself, and not in headers `X-Forwarded-…`.
    pub(crate) fn forwards_request_line(self) -> bool {
        self == Self::EnvoyHttp
    }

    /// Whether the proxy passes on no other status than 401 and 403. The status is then in a header.
    pub(crate) fn passes_only_401_and_403(self) -> bool {
        self == Self::Nginx
    }
}

impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
