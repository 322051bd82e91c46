//! The benchmarks of Keybound: `cargo bench --package keybound-benches`. This library has their common parts.
pub mod pairs;
pub mod test_host;
