//! Token acquisition, from the top down: the token service looks up a token or joins a token flow; the token flow uses the
//! certificate service, which joins a certificate flow; that of an app registration uses the token service of its assertions; each flow runs steps, one for each request of the protocol.
mod app_flow;
mod app_identity;
mod certificate_flow;
mod certificate_service;
mod context;
mod flow;
mod host_probe;
mod plan;
mod progress;
mod source_flow;
mod steps;
mod stored_certificates;
mod token_flow;
mod token_service;

pub(crate) use context::ClientContext;
pub(crate) use flow::Flow;
pub(crate) use host_probe::HostFacts;
pub(crate) use plan::Plan;
pub(crate) use progress::Progress;
