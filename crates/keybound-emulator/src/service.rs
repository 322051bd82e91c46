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

    /// `https`, except where the service is plain HTTP: IMDS, as on Azure, and the control endpoint.
    pub fn scheme(self) -> &'static str {
        match self {
            Self::Imds | Self::Control => "http",
            Self::Sts | Self::Maa | Self::Vault | Self::Graph => "https",
        }
    }
}
