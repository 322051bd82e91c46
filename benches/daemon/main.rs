//! The daemon that verifies tokens for proxies, with a cached token, against a server with the same settings that answers 200 to
//! everything: over HTTP/1.1, as nginx asks, and over gRPC, as Envoy does.
//!
//! `cargo bench --package keybound-benches --bench daemon [-- PAIRS]`. A ratio is the processor time of the daemon's thread divided by
//! that of the other server's; the exit status is 0 if both medians are within their bound. Linux only.
#![cfg_attr(
    target_os = "linux",
    expect(clippy::print_stdout, reason = "a benchmark prints its figures")
)]
#![cfg_attr(
    target_os = "linux",
    expect(clippy::unwrap_used, reason = "what fails here ends the benchmark")
)]

#[cfg(target_os = "linux")]
mod clients;
#[cfg(target_os = "linux")]
mod servers;

#[cfg(target_os = "linux")]
fn main() -> std::process::ExitCode {
    use clients::{Client, Requests};
    use keybound_benches::pairs::{Figure, compare_processor_time};
    use servers::{ServerThread, Setting};
    use std::process::ExitCode;

    let pairs = std::env::args()
        .skip(1)
        .find_map(|argument| argument.parse().ok())
        .unwrap_or(PAIRS);
    let setting = Setting::new();
    println!(
        "{pairs} pairs of {REQUESTS} requests on {CONNECTIONS} connections; ratio = daemon / unchecked: median (quartiles)"
    );
    let figures = [("http", "HTTP/1.1"), ("grpc", "gRPC")].map(|(protocol, name)| {
        let requests = Requests::new(&setting, protocol);
        let daemon = ServerThread::daemon(&setting, protocol);
        let unchecked = ServerThread::unchecked(&setting, protocol);
        let mut clients =
            [&daemon, &unchecked].map(|server| Client::new(server, &requests, CONNECTIONS));
        let [ours, theirs] = &mut clients;
        compare_processor_time(
            name,
            1.2,
            pairs,
            || daemon.processor_time() + unchecked.processor_time(),
            || ours.send(REQUESTS),
            || theirs.send(REQUESTS),
        )
    });
    for figure in &figures {
        println!("{figure}");
    }
    match figures.iter().all(Figure::holds) {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

#[cfg(not(target_os = "linux"))]
fn main() {}

#[cfg(target_os = "linux")]
const PAIRS: usize = 40;
#[cfg(target_os = "linux")]
const REQUESTS: usize = 2000;
#[cfg(target_os = "linux")]
const CONNECTIONS: usize = 16;
