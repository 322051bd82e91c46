//! Fault injection: which requests fail, how, and how often.
mod action;
mod action_text;
mod apply;
mod fault;
mod fault_plan;
mod known_actions;
mod leg;
mod status_fault;

pub(crate) use action::{Action, CertificateFault, KeyFileFault, ServerCertificateFault};
pub(crate) use apply::{alter, replace};
pub use fault::{Fault, FaultError};
pub(crate) use fault_plan::FaultPlan;
pub(crate) use known_actions::known_actions;
pub(crate) use leg::{
    ATTEST_PATH, IMDS_TOKEN_PATH, ISSUE_PATH, Leg, METADATA_PATH, VERSIONS_PATH, without_slash,
};
