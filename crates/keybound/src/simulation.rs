//! A simulated host under a paused clock: IMDS, Entra, the attestation service, keys and a store, all of which can fail as
//! configured. Conversations are data (`conversations/*.json`), each a test; the soak test runs for a simulated month.
mod about_host;
mod app;
mod case;
mod conversations;
mod entra;
mod expect;
mod hanging_key;
mod imds;
mod keys;
mod pki;
mod resource;
mod runner;
mod script;
mod services;
mod simulated_attestation;
mod simulated_identity;
mod soak;
mod sources;
mod store;
mod telemetry;
mod test_host;

use crate::Binding;
use script::Script;
use services::{Call, Leg};
use std::sync::Arc;
use test_host::{Setup, TestHost, unattested};

/// A certificate that IMDS issued, for tests of what holds one.
pub(crate) async fn issued_binding() -> Arc<Binding> {
    let host = TestHost::new(Setup::default(), Script::default());
    let keys = runner::Run::new(Arc::clone(&host)).keys;
    let client = host.client_builder(keys, 1).build().unwrap();
    let request = unattested("https://vault.azure.net");
    let token = client.acquire_token(&request).await.unwrap();
    Arc::clone(token.binding().unwrap())
}
