//! A simulated host under a paused clock: IMDS, Entra, the attestation service, keys and a store, all of which can fail as
//! configured. Conversations are data (`conversations/*.json`), each a test; the soak test runs for a simulated month.
mod case;
mod conversations;
mod entra;
mod expect;
mod hanging_key;
mod imds;
mod keys;
#[path = "../tests/support/leaks.rs"]
mod leaks;
mod log;
mod pki;
mod resource;
mod runner;
mod script;
mod simulated_attestation;
mod soak;
mod store;
mod telemetry;
mod test_host;

use test_host::{Call, Leg, TestHost};
