use super::{Clock, GuardedClock, SystemClock};
use std::sync::Arc;

/// The clocks that verifiers share: what has expired for one of them remains expired for all, also for one that replaces them, whatever
/// the wall clock was set to. Clones are the same clocks.
#[derive(Clone, Debug)]
pub struct SharedClock(pub(crate) Arc<GuardedClock>);

impl SharedClock {
    /// With other clocks than those of the system.
    pub fn new(clock: impl Clock) -> Self {
        Self(Arc::new(GuardedClock::new(Arc::new(clock))))
    }
}

impl Default for SharedClock {
    /// With the clocks of the system.
    fn default() -> Self {
        Self::new(SystemClock::new())
    }
}
