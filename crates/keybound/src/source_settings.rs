use crate::Environment;
use crate::settings::ImdsEndpoint;
use keybound_core::source::{SourceEndpoint, SourceReason};
use keybound_core::{ManagedIdentitySource, Result};

/// The managed identity source of a client.
#[derive(Clone, Debug)]
pub(crate) struct SourceSettings {
    kind: ManagedIdentitySource,
    reason: SourceReason,
    /// An error if a variable is malformed: one of the requests to the source, not of the client.
    endpoint: Result<SourceEndpoint>,
}

impl SourceSettings {
    /// The chosen source, otherwise the one that the environment shows.
    pub(crate) fn new(
        chosen: Option<(ManagedIdentitySource, SourceReason)>,
        environment: &Environment,
        imds: &ImdsEndpoint,
    ) -> Self {
        let variables = environment.source_variables();
        let (kind, reason) = chosen.unwrap_or_else(|| variables.detect_with_reason());
        Self {
            kind,
            reason,
            endpoint: SourceEndpoint::new(kind, &variables, imds.base()),
        }
    }

    pub(crate) fn kind(&self) -> ManagedIdentitySource {
        self.kind
    }

    pub(crate) fn reason(&self) -> SourceReason {
        self.reason
    }

    pub(crate) fn endpoint(&self) -> Result<&SourceEndpoint> {
        self.endpoint.as_ref().map_err(Clone::clone)
    }
}

/// Why the source is used makes no difference.
impl PartialEq for SourceSettings {
    fn eq(&self, other: &Self) -> bool {
        self.kind == other.kind && self.endpoint.as_ref().ok() == other.endpoint.as_ref().ok()
    }
}
