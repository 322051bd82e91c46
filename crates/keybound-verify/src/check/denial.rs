use keybound_resource::{Reason, Refusal};

/// A request that is denied: the response for the client, and the reason for the log.
#[derive(Debug)]
pub(crate) struct Denial {
    reason: DenialReason,
    pub(crate) challenge: Option<String>,
    pub(crate) retry_after: Option<u32>,
}

/// Why a request is denied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DenialReason {
    /// No API has this host.
    HostUnknown,
    /// The verifier refused it.
    Refused(Reason),
}

impl Denial {
    pub(super) fn of_unknown_host() -> Self {
        Self {
            reason: DenialReason::HostUnknown,
            challenge: None,
            retry_after: None,
        }
    }

    pub(super) fn of_refusal(refusal: &Refusal) -> Self {
        Self {
            reason: DenialReason::Refused(refusal.reason()),
            challenge: refusal.challenge(),
            retry_after: refusal.retry_after(),
        }
    }

    pub(crate) fn reason(&self) -> DenialReason {
        self.reason
    }

    /// The status for the client.
    pub(crate) fn status(&self) -> u16 {
        match self.reason {
            DenialReason::HostUnknown => 403,
            DenialReason::Refused(reason) => reason.status(),
        }
    }
}

impl DenialReason {
    /// The code, for logs and metrics.
    pub(crate) fn code(self) -> &'static str {
        match self {
            Self::HostUnknown => "host_unknown",
            Self::Refused(reason) => reason.code(),
        }
    }

    pub(crate) fn description(self) -> &'static str {
        match self {
            Self::HostUnknown => "no API has this host",
            Self::Refused(reason) => reason.description(),
        }
    }
}
