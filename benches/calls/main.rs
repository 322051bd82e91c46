//! What bound GETs on kept connections cost beside bare hyper with OpenSSL, and beside Python's `requests`, both with an
//! ordinary key file; in turn, in one run, of one server: nginx, which demands a certificate and answers by itself.
//!
//! `cargo bench --package keybound-benches --bench calls [-- ROUNDS]`. Needs the Debian packages nginx-light and
//! python3-requests. A ratio is Keybound's time over the other's, round by round; its median and quartiles are printed, and
//! the exit status says whether each median keeps its bound, and whether there was one handshake for each connection.
//!
//! `… -- instructions [FOLDER]` counts instructions instead of times: see [`instructions`]. Needs the Debian package valgrind, too.
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
use keybound_benches::world::World;
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
    let world = World::new().trusting(&servers.pem());
    let site = &server.site;
    let mut arguments = std::env::args().skip_while(|argument| argument != "instructions");
    if arguments.next().is_some() {
        let folder = arguments.find(|argument| !argument.starts_with('-'));
        let folder = folder.map_or_else(|| site.folder.clone(), PathBuf::from);
        return exit_code(instructions::count(site, &world, &folder));
    }
    println!(
        "{rounds} rounds each; ratio = keybound / the other: median (quartiles); times: medians of a batch"
    );
    let one_thread = Builder::new_current_thread().enable_all().build();
    let figures = one_thread
        .expect("a runtime")
        .block_on(run(site, &world, 1, rounds));
    let threads = Builder::new_multi_thread().enable_all().build();
    let more = threads
        .expect("a runtime")
        .block_on(run(site, &world, 8, rounds));
    exit_code(figures && more)
}

fn exit_code(holds: bool) -> ExitCode {
    if holds {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// The comparison with so many callers at once. Whether all bounds are kept.
async fn run(site: &Site, world: &World, callers: usize, rounds: usize) -> bool {
    let each = GETS / callers;
    let bound = Bound::prepare(site, world.imds(), world.trust(), callers).await;
    let bare = Bare::prepare(site, &bound.authorization(), callers).await;
    let mut python = Python::start(site, &bound.authorization(), callers);
    let (names, of_bare) = match callers {
        1 => (
            ["bare hyper, 1 caller", "Python requests, 1 caller"],
            1.0 / 0.85,
        ),
        // Reported, without a bound: here the server and eight callers share what processors there are.
        _ => (
            ["bare hyper, 8 callers", "Python requests, 8 callers"],
            f64::INFINITY,
        ),
    };
    let figures = compare_three(
        names,
        [of_bare, 1.0 / 4.0],
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
/// In a batch.
const GETS: usize = 400;
