//! Instructions of a server for a request, counted by callgrind: the daemon and the server that checks nothing, each in a process under
//! valgrind. Unlike times, the counts hardly depend on the load of the machine. Those of the kernel are not counted. With a folder as a
//! second argument the counts are written there, for `callgrind_annotate`.
use super::CONNECTIONS;
use super::clients::{Client, Requests};
use super::unchecked::{self, Answer};
use keybound_benches::server_thread::ServerThread;
use keybound_benches::setting::Setting;
use std::ffi::OsString;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::{Command, Stdio};

/// The first argument of the process that valgrind runs; the kind of server, the proxy and the folder follow.
pub const CHILD: &str = "counted-child";

/// Prints the instructions of both servers for a request. The ratio of the daemon's to the other's.
pub fn count(setting: &Setting, requests: &Requests, name: &str, counts: &Path) -> f64 {
    let [ours, theirs] = ["daemon", "unchecked"].map(|kind| {
        let [few, many] = [1, 3].map(|factor| {
            let file = counts.join(format!("callgrind.{kind}-{}-{factor}", requests.engine()));
            total(setting, kind, requests, factor * REQUESTS, &file)
        });
        (many - few) / (2 * REQUESTS) as u64
    });
    let ratio = ours as f64 / theirs as f64;
    println!("{name:34} {ours} beside {theirs} instructions for a request: {ratio:.3}");
    ratio
}

/// The instructions of a server's process for this many requests, with those of its start.
fn total(setting: &Setting, kind: &str, requests: &Requests, count: usize, file: &Path) -> u64 {
    let mut option = OsString::from("--callgrind-out-file=");
    option.push(file);
    let mut child = Command::new(VALGRIND)
        .args(["--tool=callgrind", "--quiet"])
        .arg(option)
        .arg(std::env::current_exe().unwrap())
        .args([CHILD, kind, requests.engine()])
        .arg(setting.folder())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("/usr/bin/valgrind is missing: install the Debian package valgrind");
    let mut socket = String::new();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    stdout.read_line(&mut socket).unwrap();
    let socket = Path::new(socket.trim_end());
    let mut client = Client::new(socket, requests, CONNECTIONS);
    // For the process of the other server.
    client.answer().write(setting.folder());
    client.send(count);
    drop(child.stdin.take());
    assert!(child.wait().unwrap().success());
    fs::remove_file(socket).unwrap();
    let text = fs::read_to_string(file).unwrap();
    let total = text.lines().find_map(|line| line.strip_prefix("totals: "));
    total.and_then(|total| total.trim().parse().ok()).unwrap()
}

/// The process under valgrind: a server, until standard input ends.
pub fn child(mut arguments: impl Iterator<Item = String>) {
    let mut next = || arguments.next().unwrap();
    let (kind, engine, folder) = (next(), next(), next());
    let folder = Path::new(&folder);
    let server = match kind.as_str() {
        "daemon" => ServerThread::daemon(folder, &engine),
        _ => unchecked::start(folder, &engine, Answer::read(folder)),
    };
    println!("{}", server.socket.display());
    std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
}

const VALGRIND: &str = "/usr/bin/valgrind";
const REQUESTS: usize = 800;
