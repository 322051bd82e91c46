#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]
#![expect(clippy::unwrap_used, reason = "what fails here ends the benchmark")]

mod clients;
mod instructions;
mod unchecked;

use clients::{Client, Requests};
use keybound_benches::pairs::{Figure, compare_processor_time};
use keybound_benches::server_thread::ServerThread;
use keybound_benches::setting::Setting;
use std::path::Path;
use std::process::ExitCode;

pub fn main() -> ExitCode {
    // Cargo adds the first argument.
    let is_own = |argument: &String| argument != "--bench";
    let mut arguments = std::env::args().skip(1).filter(is_own);
    let holds = match arguments.next().as_deref() {
        Some(instructions::CHILD) => {
            instructions::child(arguments);
            true
        }
        Some("instructions") => count_instructions(arguments.next().as_deref()),
        pairs => measure_time(pairs.map_or(PAIRS, |pairs| pairs.parse().unwrap())),
    };
    match holds {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

fn measure_time(pairs: usize) -> bool {
    println!(
        "{pairs} pairs of {REQUESTS} requests on {CONNECTIONS} connections; ratio = daemon / unchecked: median (quartiles)"
    );
    let setting = Setting::create();
    let figures = ENGINES.map(|(engine, name)| {
        let requests = Requests::new(&setting, engine);
        let daemon = ServerThread::daemon(setting.folder(), engine);
        let mut ours = Client::new(&daemon.socket, &requests, CONNECTIONS);
        let unchecked = unchecked::start(setting.folder(), engine, ours.answer());
        let mut theirs = Client::new(&unchecked.socket, &requests, CONNECTIONS);
        compare_processor_time(
            name,
            BOUND,
            pairs,
            || daemon.processor_time() + unchecked.processor_time(),
            || ours.send(REQUESTS),
            || theirs.send(REQUESTS),
        )
    });
    for figure in &figures {
        println!("{figure}");
    }
    figures.iter().all(Figure::holds)
}

fn count_instructions(folder: Option<&str>) -> bool {
    let setting = Setting::create();
    let temporary = tempfile::tempdir().unwrap();
    let counts = folder.map_or(temporary.path(), Path::new);
    let ratios = ENGINES.map(|(engine, name)| {
        instructions::count(&setting, &Requests::new(&setting, engine), name, counts)
    });
    println!("ratio = daemon / unchecked, instructions without those of the kernel");
    let mut bounds = ratios.iter().zip(INSTRUCTIONS_BOUNDS);
    bounds.all(|(ratio, bound)| *ratio <= bound)
}

const ENGINES: [(&str, &str); 2] = [("nginx", "HTTP/1.1"), ("envoy", "gRPC")];
const PAIRS: usize = 40;
const REQUESTS: usize = 2000;
const CONNECTIONS: usize = 16;
const BOUND: f64 = 1.2;
/// Without the kernel, which does the same for both.
const INSTRUCTIONS_BOUNDS: [f64; 2] = [1.9, 1.45];
