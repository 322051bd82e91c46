//! Named mutexes: <https://learn.microsoft.com/windows/win32/sync/mutex-objects>.
use super::super::border::Held;
use super::counted;
use std::marker::PhantomData;
use std::time::Duration;
use windows::Win32::Foundation::{
    CloseHandle, E_ACCESSDENIED, HANDLE, WAIT_ABANDONED, WAIT_OBJECT_0,
};
use windows::Win32::System::Threading::{CreateMutexW, ReleaseMutex, WaitForSingleObject};
use windows::core::HSTRING;

/// Takes the mutex `Global\<name>`, or `Local\<name>` where this account may not open that one. One that its holder left
/// without releasing it counts as taken: what it guards is whole at every moment.
pub(super) fn lock(name: &str, longest: Duration) -> Option<Box<dyn Held>> {
    let mutex = ["Global", "Local"].iter().find_map(|space| {
        match Mutex::open(&format!(r"{space}\{name}")) {
            Err(error) if error.code() == E_ACCESSDENIED => None,
            other => Some(other),
        }
    })?;
    let mutex = mutex
        .inspect_err(|error| tracing::warn!(%error, "a mutex could not be opened"))
        .ok()?;
    let held = mutex.wait(longest)?;
    Some(Box::new(held))
}

struct Mutex(HANDLE);

impl Mutex {
    fn open(name: &str) -> windows::core::Result<Self> {
        // SAFETY: the name ends with a zero; no attributes are passed.
        let mutex = unsafe { CreateMutexW(None, false, &HSTRING::from(name)) }?;
        counted::add(1);
        Ok(Self(mutex))
    }

    fn wait(self, longest: Duration) -> Option<HeldMutex> {
        let longest = u32::try_from(longest.as_millis()).unwrap_or(MOST_MILLISECONDS);
        // SAFETY: the handle is open until `self` is dropped.
        let event = unsafe { WaitForSingleObject(self.0, longest.min(MOST_MILLISECONDS)) };
        // Made only where it is held: dropping it releases the mutex.
        [WAIT_OBJECT_0, WAIT_ABANDONED]
            .contains(&event)
            .then(|| HeldMutex {
                mutex: self,
                _of_this_thread: PhantomData,
            })
    }
}

impl Drop for Mutex {
    fn drop(&mut self) {
        counted::add(-1);
        // SAFETY: the handle is open, and nobody has it any more.
        if let Err(error) = unsafe { CloseHandle(self.0) } {
            tracing::warn!(%error, "a mutex could not be closed");
        }
    }
}

/// Held by the thread that took it, which has to release it.
struct HeldMutex {
    mutex: Mutex,
    _of_this_thread: PhantomData<*const ()>,
}

impl Held for HeldMutex {}

impl Drop for HeldMutex {
    fn drop(&mut self) {
        // SAFETY: the handle is open; this thread holds the mutex, since the value cannot leave it.
        if let Err(error) = unsafe { ReleaseMutex(self.mutex.0) } {
            tracing::warn!(%error, "a mutex could not be released");
        }
    }
}

/// `INFINITE` is one more.
const MOST_MILLISECONDS: u32 = u32::MAX - 1;
