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
//!
//! To add a source of bearer tokens, describe its requests by a `Protocol` in [`sources`](crate::sources), with its forms of
//! responses and errors, and its environment variables in `ready.rs`.

/// The services of the emulator, one listener each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(
    clippy::enum_variant_names,
    reason = "App Service and Service Fabric are the names of Azure's services"
)]
pub(crate) enum Service {
    Imds,
    Sts,
    Maa,
    Vault,
    Graph,
    /// App Service and Functions, and Container Apps, which has the same protocol.
    AppService,
    ServiceFabric,
    Arc,
    MachineLearning,
    CloudShell,
    Control,
}

impl Service {
    pub const ALL: [Self; 11] = [
        Self::Imds,
        Self::Sts,
        Self::Maa,
        Self::Vault,
        Self::Graph,
        Self::AppService,
        Self::ServiceFabric,
        Self::Arc,
        Self::MachineLearning,
        Self::CloudShell,
        Self::Control,
    ];

    /// `https`, except if the service is plain HTTP: most sources of managed identities, as on Azure, and the control endpoint.
    pub fn scheme(self) -> &'static str {
        match self {
            Self::Imds
            | Self::AppService
            | Self::Arc
            | Self::MachineLearning
            | Self::CloudShell
            | Self::Control => "http",
            Self::Sts | Self::Maa | Self::Vault | Self::Graph | Self::ServiceFabric => "https",
        }
    }
}
