//! The time of bound GETs on reused connections, against bare hyper with OpenSSL and Python's `requests`, both with an ordinary
//! key file, in alternating order; the server is nginx, which requires a certificate and returns a fixed response.
//!
//! `cargo bench --package keybound-benches --bench calls [-- ROUNDS]`. Needs the Debian packages nginx-light and
//! python3-requests. A ratio is Keybound's time divided by the other's, round by round; its median and quartiles are printed, and
//! the exit status is 0 if every median is within its bound and there was one handshake per connection.
//!
//! `… -- instructions [FOLDER]` counts instructions instead of times: see [`instructions`]. Also needs the Debian package valgrind.
#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]

mod bare;
mod bound;
mod certificates;
mod instructions;
mod python;
mod server;

use bare::Bare;
use bound::Bound;
use certificates::Authority;
use keybound_benches::pairs::{Figure, compare_three};
use keybound_benches::test_host::TestHost;
use python::Python;
use server::{Server, Site};
use std::path::PathBuf;
use std::process::ExitCode;
use tokio::runtime::Builder;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    if arguments.next().as_deref() == Some(instructions::CHILD) {
        instructions::child(arguments);
        return ExitCode::SUCCESS;
    }
    let rounds = std::env::args()
        .skip(1)
        .find_map(|argument| argument.parse().ok())
        .unwrap_or(ROUNDS);
    let servers = Authority::new("servers of the benchmark");
    let clients = Authority::new("clients of the benchmark");
    let server = Server::start(&servers, &clients);
    let test_host = TestHost::new().with_trust_anchor(&servers.pem());
    let site = &server.site;
    let mut arguments = std::env::args().skip_while(|argument| argument != "instructions");
    if arguments.next().is_some() {
        let folder = arguments.find(|argument| !argument.starts_with('-'));
        let folder = folder.map_or_else(|| site.folder.clone(), PathBuf::from);
        return exit_code(instructions::count(site, &test_host, &folder));
    }
    println!(
        "{rounds} rounds each; ratio = keybound / the other: median (quartiles); times: medians of a batch"
    );
    let one_thread = Builder::new_current_thread().enable_all().build();
    let figures = one_thread
        .expect("a runtime")
        .block_on(run(site, &test_host, 1, rounds));
    let threads = Builder::new_multi_thread().enable_all().build();
    let more = threads
        .expect("a runtime")
        .block_on(run(site, &test_host, 8, rounds));
    exit_code(figures && more)
}

fn exit_code(holds: bool) -> ExitCode {
    if holds {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Runs the comparison with this number of concurrent callers. Returns whether the figures are within their bounds.
async fn run(site: &Site, test_host: &TestHost, callers: usize, rounds: usize) -> bool {
    let each = GETS / callers;
    let bound = Bound::prepare(site, test_host.imds(), test_host.trust(), callers).await;
    let bare = Bare::prepare(site, &bound.authorization(), callers).await;
    let mut python = Python::start(site, &bound.authorization(), callers);
    let (names, bare_bound) = match callers {
        1 => (["bare hyper, 1 caller", "Python requests, 1 caller"], 1.12),
        _ => (
            ["bare hyper, 8 callers", "Python requests, 8 callers"],
            1.18,
        ),
    };
    let figures = compare_three(
        names,
        [bare_bound, 1.0 / 4.0],
        rounds,
        async || bound.get(each).await,
        async || bare.get(each).await,
        async || python.get(each),
    )
    .await;
    for figure in &figures {
        println!("{figure}");
    }
    let handshakes = bound.handshakes().await;
    println!("{handshakes}");
    handshakes.holds() && figures.iter().all(Figure::holds)
}

const ROUNDS: usize = 100;
/// Per batch.
const GETS: usize = 400;
