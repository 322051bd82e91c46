use crate::process::generation;
use std::mem;

/// A value with sockets, timers or tasks of one process. In a child its resources are those of the parent: it is not used there,
/// and dropping it would take them away from the parent.
pub(crate) struct ForkBound<T> {
    generation: u64,
    /// `Some` until it is dropped.
    value: Option<T>,
}

impl<T> ForkBound<T> {
    pub(crate) fn new(value: T) -> Self {
        Self {
            generation: generation(),
            value: Some(value),
        }
    }

    /// Something of this value, which belongs to the same process.
    pub(crate) fn derive<U>(&self, value: U) -> ForkBound<U> {
        ForkBound {
            generation: self.generation,
            value: Some(value),
        }
    }

    /// The value, unless it is that of a parent.
    pub(crate) fn of_this_process(&self) -> Option<&T> {
        self.value
            .as_ref()
            .filter(|_| self.generation == generation())
    }

    /// The same, to change it.
    pub(crate) fn of_this_process_mut(&mut self) -> Option<&mut T> {
        let is_own = self.generation == generation();
        self.value.as_mut().filter(|_| is_own)
    }

    /// The value, for what needs no resources of the process.
    pub(crate) fn of_any_process(&self) -> Option<&T> {
        self.value.as_ref()
    }
}

impl<T> Drop for ForkBound<T> {
    fn drop(&mut self) {
        if self.generation != generation() {
            mem::forget(self.value.take());
        }
    }
}
