//! The benchmarks of Keybound: `cargo bench --package keybound-benches`. Here is what they share.
pub mod pairs;
pub mod world;
