//! The benchmarks of Keybound: `cargo bench --package keybound-benches`.
