//! The judgements, as tables of what is found and the judgement; the documentation of the checks; and reports of hosts that a
//! transcript of the program cannot have.
mod certificates;
mod clock;
mod documentation;
mod environment;
mod federated;
mod proxies;
mod rejected_server;
mod report;
mod target;
mod token_endpoint;

use super::examination::Examination;
use super::report::Report;
use super::variables::Variables;
use crate::args::{Cli, Command, DoctorArgs};
use crate::diagnosis::testing::MemoryStore;
use crate::diagnosis::{Finding, Level};
use crate::session;
use clap::Parser as _;
use keybound::store::{BindingCacheKey, StoredBinding};
use keybound::{Attestation, Certificate, Guid, ManagedIdentity};
use keybound_emulator::Emulator;
use keybound_testing::{CertificateBuilder, shared_p256_key};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

fn assert_finding(finding: &Finding, level: Level, part: &str) {
    assert_eq!(finding.level, level, "{finding:?}");
    assert!(finding.detail.contains(part), "{part:?}: {finding:?}");
    let advises = level >= Level::Warning;
    assert_eq!(finding.next_step.is_some(), advises, "{finding:?}");
}

fn report(emulator: &Emulator, store: &Arc<MemoryStore>, flags: &[&str]) -> Report {
    let ready = emulator.ready();
    let ca_file = ready.ca_file.to_str().unwrap();
    let base = ["keybound", "doctor", "--simulated", "--imds", &ready.imds];
    let rest = ["--ca-file", ca_file, "--token-endpoint", &ready.sts];
    let args: Box<DoctorArgs> = match Cli::parse_from([&base[..], &rest, flags].concat()).command {
        Command::Doctor(args) => args,
        other => panic!("{other:?}"),
    };
    let trust = session::trust(&args.host, None).unwrap_or_else(|failure| panic!("{failure:?}"));
    let builder = session::client_builder(&args.host, trust.clone());
    let builder = builder.unwrap_or_else(|failure| panic!("{failure:?}"));
    let builder = builder.binding_store(Arc::clone(store) as _);
    let examination = Examination::with(&args, trust, builder, Variables::default());
    let examination = examination.unwrap_or_else(|failure| panic!("{failure:?}"));
    let checks = session::run_to_end(examination.run());
    let checks = checks.unwrap_or_else(|failure| panic!("{failure:?}"));
    Report::new(&args, checks, examination.variables())
}

fn key() -> BindingCacheKey {
    BindingCacheKey {
        identity: ManagedIdentity::system_assigned(),
        attestation: Attestation::Simulated,
    }
}

/// A certificate that has expired.
fn stale(sts: &str) -> StoredBinding {
    let start = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    let key = shared_p256_key();
    let certificate = CertificateBuilder::new(key)
        .issuer("managedidentitysnissuer.login.microsoft.com")
        .validity(start..start + Duration::from_secs(7 * 24 * 3600))
        .sign(key);
    let id = Guid::parse("5a5a5a5a-0000-4000-8000-000000000001").unwrap();
    StoredBinding {
        certificate: Certificate::from_der(&certificate.to_der().unwrap()).unwrap(),
        client_id: id.clone(),
        tenant_id: id,
        identity_type: "SystemAssigned".to_owned(),
        endpoint: sts.to_owned(),
        token_endpoint: format!("{sts}/x/oauth2/v2.0/token"),
        key_name: "a key".to_owned(),
    }
}

fn of_program(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}
