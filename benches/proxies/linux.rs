#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]
#![expect(clippy::unwrap_used, reason = "what fails here ends the benchmark")]

mod client;
mod nginx;
mod replicas;

use client::Client;
use keybound_benches::pairs::{Figure, compare_processor_time};
use keybound_benches::server_thread::ServerThread;
use keybound_benches::setting::Setting;
use nginx::Nginx;
use std::process::ExitCode;

pub fn main() -> ExitCode {
    // Cargo adds the first argument.
    let is_own = |argument: &String| argument != "--bench";
    let mut arguments = std::env::args().skip(1).filter(is_own);
    match arguments.next().as_deref() {
        Some("replicas") => {
            replicas::measure(
                arguments
                    .next()
                    .map_or(SECONDS, |text| text.parse().unwrap()),
            );
            ExitCode::SUCCESS
        }
        pairs => compare(pairs.map_or(PAIRS, |pairs| pairs.parse().unwrap())),
    }
}

fn compare(pairs: usize) -> ExitCode {
    println!(
        "{pairs} pairs of {REQUESTS} requests on {CONNECTIONS} connections; ratio = nginx and daemon / nginx with njs: median (quartiles)"
    );
    let setting = Setting::create();
    let api = Nginx::api();
    let daemon = ServerThread::daemon(setting.folder(), "nginx");
    let ours = Nginx::with_daemon(&setting, &api, 1);
    let theirs = Nginx::with_njs(&setting, &api);
    let mut to_ours = Client::connect(&setting, &ours, CONNECTIONS);
    let mut to_theirs = Client::connect(&setting, &theirs, CONNECTIONS);
    let figure = compare_processor_time(
        "nginx and daemon / njs alone",
        BOUND,
        pairs,
        || daemon.processor_time() + ours.processor_time() + theirs.processor_time(),
        || to_ours.send(REQUESTS),
        || to_theirs.send(REQUESTS),
    );
    println!("{figure}");
    match Figure::holds(&figure) {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

const PAIRS: usize = 20;
const REQUESTS: usize = 800;
const CONNECTIONS: usize = 16;
/// A quarter: four times the throughput of a processor.
const BOUND: f64 = 0.25;
/// Of each measurement of replicas.
const SECONDS: u64 = 5;
