//! nginx with the daemon, as `keybound verify config nginx` prints it, compared with nginx that verifies tokens by its own means alone: a
//! script of njs. Requests have a client certificate and the same token.
//!
//! `cargo bench --package keybound-benches --bench proxies [-- PAIRS]`. A ratio is the processor time of nginx and the daemon divided by that
//! of nginx with njs; the exit status is 0 if the median is within its bound. It needs the Debian packages nginx-light and
//! libnginx-mod-http-js. Linux only.
#[cfg(target_os = "linux")]
mod linux;

#[cfg(target_os = "linux")]
fn main() -> std::process::ExitCode {
    linux::main()
}

#[cfg(not(target_os = "linux"))]
fn main() {}
