use std::fmt;

/// Why a client uses its managed identity source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SourceReason {
    /// The caller chose the source.
    Chosen,
    /// The caller set the address of IMDS.
    ImdsEndpoint,
    /// The host sets these environment variables.
    Variables(&'static [&'static str]),
    /// The agent of Azure Arc is installed.
    AzureArcAgent,
    /// Nothing shows another source than IMDS.
    Default,
}

impl SourceReason {
    /// The stable name in results: `chosen`, `imds_endpoint`, …
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Chosen => "chosen",
            Self::ImdsEndpoint => "imds_endpoint",
            Self::Variables(_) => "variables",
            Self::AzureArcAgent => "azure_arc_agent",
            Self::Default => "default",
        }
    }

    /// The names of the variables that show the source, if it was detected by them.
    pub fn variables(self) -> &'static [&'static str] {
        match self {
            Self::Variables(names) => names,
            _ => &[],
        }
    }
}

/// The reason in messages: `the caller chose it`, …
impl fmt::Display for SourceReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Chosen => f.write_str("the caller chose it"),
            Self::ImdsEndpoint => f.write_str("the caller set the address of IMDS"),
            Self::Variables(names) => write!(f, "the host sets {}", names.join(", ")),
            Self::AzureArcAgent => f.write_str("the agent of Azure Arc is installed"),
            Self::Default => f.write_str("nothing shows another source"),
        }
    }
}
