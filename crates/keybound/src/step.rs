use keybound_core::{Error, Stage};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// A step of an acquisition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Step {
    /// The platform metadata request to IMDS (`getplatformmetadata`).
    Metadata,
    /// Opening or creating the binding key.
    Key,
    /// Encoding, signing and verifying the certificate signing request.
    Csr,
    /// The attestation of the key.
    Attestation,
    /// The certificate request to IMDS (`issuecredential`) and the validation of the certificate.
    Credential,
    /// The token request over mutual TLS.
    Token,
    /// The check that the token is bound to the certificate.
    BindingCheck,
    /// The challenge of Azure Arc: a request whose response names a file, and reading it.
    Challenge,
    /// The request of a plain bearer token to the host's source, and the validation of the token.
    Source,
    /// Reading an assertion from its file or from the caller's function, and its check.
    Assertion,
    /// The exchange of an assertion for a token of an app registration, and the validation of the token.
    Exchange,
}

impl Step {
    /// The name in logs and results: `metadata`, `key`, `csr`, …
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Metadata => "metadata",
            Self::Key => "key",
            Self::Csr => "csr",
            Self::Attestation => "attestation",
            Self::Credential => "credential",
            Self::Token => "token",
            Self::BindingCheck => "binding_check",
            Self::Challenge => "challenge",
            Self::Source => "source",
            Self::Assertion => "assertion",
            Self::Exchange => "exchange",
        }
    }

    /// The stage of the errors of this step.
    pub fn stage(self) -> Stage {
        match self {
            Self::Metadata => Stage::Metadata,
            Self::Key | Self::Csr => Stage::Key,
            Self::Attestation => Stage::Attestation,
            Self::Credential => Stage::Credential,
            Self::Token | Self::BindingCheck => Stage::Token,
            Self::Challenge | Self::Source => Stage::Source,
            Self::Assertion => Stage::Assertion,
            Self::Exchange => Stage::Exchange,
        }
    }
}

/// The duration of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StepTiming {
    /// The step.
    pub step: Step,
    /// From its start to its end, with retries and the delays between them.
    pub elapsed: Duration,
}

/// A finished step, for [`on_step`](crate::ManagedIdentityClientBuilder::on_step).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct StepEvent {
    /// The step.
    pub step: Step,
    /// From its start to its end, with retries and the delays between them.
    pub elapsed: Duration,
    /// The correlation id of the requests that the step sends.
    pub correlation_id: String,
    /// The error, if the step failed.
    pub error: Option<Error>,
}

/// The function that receives step events.
#[derive(Clone)]
pub(crate) struct StepListener(pub(crate) Arc<dyn Fn(&StepEvent) + Send + Sync>);

impl fmt::Debug for StepListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StepListener")
    }
}
