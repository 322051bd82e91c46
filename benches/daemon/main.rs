//! The daemon that verifies tokens for proxies, with a cached token, compared with a server that checks nothing: it reads the whole
//! request and sends the same answer. Over HTTP/1.1, as nginx asks, and over gRPC, as Envoy does.
//!
//! `cargo bench --package keybound-benches --bench daemon [-- PAIRS]`. A ratio is the processor time of the daemon's thread divided by
//! that of the other server's; the exit status is 0 if both medians are within their bound. With `-- instructions [FOLDER]`,
//! instructions are counted instead of time. Linux only.
#[cfg(target_os = "linux")]
mod linux;

#[cfg(target_os = "linux")]
fn main() -> std::process::ExitCode {
    linux::main()
}

#[cfg(not(target_os = "linux"))]
fn main() {}
