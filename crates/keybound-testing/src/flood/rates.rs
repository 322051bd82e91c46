use std::fmt;

/// Requests in a second, and memory.
pub struct Rates {
    /// Valid requests, as fast as they were accepted.
    pub(super) capacity: f64,
    /// Valid requests at their pace.
    pub(super) alone: f64,
    /// The same beside junk.
    pub(super) beside: f64,
    pub(super) junk: f64,
    /// By how much the memory of the process grew during the flood, in bytes.
    pub(super) grown: u64,
}

impl Rates {
    /// Valid requests keep half of their rate, and memory does not grow.
    pub fn assert_hold(&self) {
        assert!(self.beside >= 0.5 * self.alone, "{self}");
        assert!(self.grown < MAX_GROWTH, "{self}");
    }
}

impl fmt::Display for Rates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            capacity,
            alone,
            beside,
            junk,
            grown,
        } = self;
        let kept = beside / alone;
        write!(
            f,
            "valid requests keep {kept:.2} of their rate: {capacity:.0}/s at most, {alone:.0}/s alone, {beside:.0}/s beside {junk:.0}/s with junk; {grown} bytes more"
        )
    }
}

/// The memory of this process. 0 where it is not known.
pub(super) fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kibibytes = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kibibytes.unwrap_or_default() * 1024
}

const MAX_GROWTH: u64 = 8 << 20;
