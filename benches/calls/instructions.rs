//! Instructions of a GET on a reused connection, counted by callgrind: the same requests by bare hyper, by [`BoundClient`] and
//! by [`ResourceClient`](keybound::http::ResourceClient), each in its own process under valgrind. Unlike a time, the count does not
//! depend on the load of the machine. With a folder as a second argument the counts are written there, for `callgrind_annotate`.
//!
//! [`BoundClient`]: keybound::http::BoundClient
use crate::bare::Bare;
use crate::bound::Bound;
use crate::server::Site;
use keybound::tls::TrustAnchors;
use keybound_benches::test_host::TestHost;
use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::process::Command;
use tokio::runtime::{Builder, Runtime};

/// The first argument of the process that valgrind runs; client, folder, port and IMDS follow.
pub const CHILD: &str = "counted-child";

/// Prints the instructions of each client, and the ratio to bare hyper. Returns whether the ratios are within their bounds.
pub fn count(site: &Site, test_host: &TestHost, folder: &Path) -> bool {
    fs::write(site.file("emulator.pem"), test_host.emulator().ca_pem()).expect("a file");
    let [bare, bound, resource] =
        ["bare", "bound", "resource"].map(|client| per_get(site, test_host.imds(), client, folder));
    println!("{:34} {bare} instructions for each GET", "bare hyper");
    let mut holds = true;
    for (name, own, limit) in [
        ("BoundClient", bound, LIMIT),
        ("ResourceClient", resource, f64::INFINITY),
    ] {
        let ratio = own as f64 / bare as f64;
        let result = if ratio <= limit { "within" } else { "EXCEEDED" };
        println!("{name:34} {own}: {ratio:.3}, bound {limit:.3}: {result}");
        holds &= ratio <= limit;
    }
    holds
}

fn per_get(site: &Site, imds: &str, client: &str, folder: &Path) -> u64 {
    let counts = folder.join(format!("callgrind.{client}"));
    let mut file_option = OsString::from("--callgrind-out-file=");
    file_option.push(&counts);
    let output = Command::new(VALGRIND)
        .args(["--tool=callgrind", "--quiet", "--toggle-collect=*counted*"])
        .arg(file_option)
        .arg(std::env::current_exe().expect("the path of this program"))
        .args([CHILD, client])
        .arg(&site.folder)
        .args([&site.port.to_string(), imds])
        .output()
        .expect("/usr/bin/valgrind is missing: install the Debian package valgrind");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{client}: {errors}");
    total(&counts) / GETS as u64
}

fn total(counts: &Path) -> u64 {
    let text = fs::read_to_string(counts).expect("the counts of callgrind");
    let totals = text.lines().find_map(|line| line.strip_prefix("totals: "));
    totals
        .and_then(|total| total.trim().parse().ok())
        .expect("a total of callgrind")
}

/// The process under valgrind. Each process prepares both clients, so that only the GET requests differ.
pub fn child(mut arguments: impl Iterator<Item = String>) {
    let mut next = || arguments.next().expect("an argument");
    let (client, folder) = (next(), next());
    let site = Site {
        folder: folder.into(),
        port: next().parse().expect("a port"),
    };
    let imds = next();
    let mut trust = TrustAnchors::system();
    for name in ["emulator.pem", "servers.pem"] {
        let pem = fs::read(site.file(name)).expect("the CA");
        trust = trust.with_pem(&pem).expect("the CA");
    }
    let runtime = Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime");
    let (bound, bare) = runtime.block_on(async {
        let bound = Bound::prepare(&site, &imds, &trust, 1).await;
        let bare = Bare::prepare(&site, &bound.authorization(), 1).await;
        (bound, bare)
    });
    match client.as_str() {
        "bare" => measure(&runtime, async |count| bare.get(count).await),
        "bound" => measure(&runtime, async |count| bound.get(count).await),
        "resource" => measure(&runtime, async |count| {
            bound.get_by_resource_client(count).await
        }),
        _ => panic!("unknown client {client}"),
    }
}

fn measure(runtime: &Runtime, get: impl AsyncFn(usize)) {
    // Opens the connection, and fills caches.
    runtime.block_on(get(WARM_UP));
    counted(runtime, get(GETS));
}

/// Callgrind counts the instructions in this function, which it finds by its name.
#[inline(never)]
fn counted(runtime: &Runtime, gets: impl Future<Output = ()>) {
    runtime.block_on(gets);
    std::hint::black_box(());
}

const VALGRIND: &str = "/usr/bin/valgrind";
const WARM_UP: usize = 50;
const GETS: usize = 1000;
const LIMIT: f64 = 1.10;
