//! To add a service:
//!
//! 1. Add a variant to [`Service`] and to `Service::ALL`. The compiler then names the matches that need an arm:
//!    `NetworkConfig::port` and `TlsConfig::versions` (with keys of the configuration), `Leg::of`, `Leg::handshake` and
//!    `Leg::as_str` (how faults and records name its requests), and `ServiceHandler::respond`.
//! 2. Write `respond(state, call) -> Response` in a file named after the service, as `maa.rs` does, and call it from
//!    `ServiceHandler::respond`. A service that requests the client certificate in the first handshake is listed in
//!    `ServiceHandler::server`.
//! 3. Publish its address in `Ready`, and document it in `docs/emulator.md`; tests compare the two.
//!
//! To add an endpoint to a service, such as another document of instance metadata, add its path to the `match` in the service's
//! `respond` and to `Leg::of`.

/// The services of the emulator, one listener each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Service {
    Imds,
    Sts,
    Maa,
    Vault,
    Graph,
    Control,
}

impl Service {
    pub const ALL: [Self; 6] = [
        Self::Imds,
        Self::Sts,
        Self::Maa,
        Self::Vault,
        Self::Graph,
        Self::Control,
    ];

    /// `https`, except if the service is plain HTTP: IMDS, as on Azure, and the control endpoint.
    pub fn scheme(self) -> &'static str {
        match self {
            Self::Imds | Self::Control => "http",
            Self::Sts | Self::Maa | Self::Vault | Self::Graph => "https",
        }
    }
}
