//! The benchmarks of Keybound: `cargo bench --package keybound-benches`. This library has their common parts.
pub mod load;
pub mod pairs;
#[cfg(target_os = "linux")]
pub mod server_thread;
pub mod setting;
pub mod test_host;
