//! Named mutexes: <https://learn.microsoft.com/windows/win32/sync/mutex-objects>.
//!
//! Every account of the host can create objects of any name in `Global\`. So this module only waits for objects that belong to
//! this account.
use super::super::mutex_name::MutexName;
use super::super::status::Status;
use super::super::windows_api::Lock;
use super::account::{Account, Protection, owner_of};
use super::{counted, status};
use std::marker::PhantomData;
use std::time::Duration;
use windows::Win32::Foundation::{CloseHandle, HANDLE, WAIT_ABANDONED, WAIT_OBJECT_0};
use windows::Win32::Security::Authorization::SE_KERNEL_OBJECT;
use windows::Win32::System::Threading::{
    CreateMutexExW, MUTEX_MODIFY_STATE, ReleaseMutex, SYNCHRONIZATION_READ_CONTROL,
    SYNCHRONIZATION_SYNCHRONIZE, WaitForSingleObject,
};
use windows::core::HSTRING;

/// Acquires the mutex in `Global\`, or in `Local\` if the object of that name in `Global\` does not belong to this account: it
/// denies access, is no mutex, or has another owner. An abandoned mutex is acquired: changes under it are atomic.
pub(super) fn lock(name: &MutexName, timeout: Duration) -> Lock {
    let account = Account::current().and_then(|account| {
        let protection = Protection::of(&account)?;
        Ok((account, protection))
    });
    let (account, protection) = match account {
        Ok(account) => account,
        Err(status) => {
            tracing::warn!(%status, "the account that owns mutexes could not be read");
            return Lock::Unusable;
        }
    };
    for space in ["Global", "Local"] {
        match Mutex::open(&path(space, name, &account), &protection) {
            Ok(mutex) if mutex.belongs_to(name, &account) => {
                return mutex
                    .wait(timeout)
                    .map_or(Lock::Busy, |held| Lock::Held(Box::new(held)));
            }
            Ok(_) => tracing::warn!(space, "a mutex belongs to another account: not used"),
            Err(status) => tracing::warn!(space, %status, "a mutex could not be opened"),
        }
    }
    Lock::Unusable
}

fn path(space: &str, name: &MutexName, account: &Account) -> String {
    match name {
        MutexName::Account(name) => format!(r"{space}\{name}_{}", account.user),
        MutexName::Shared(name) => format!(r"{space}\{name}"),
    }
}

struct Mutex(HANDLE);

impl Mutex {
    fn open(path: &str, protection: &Protection) -> Result<Self, Status> {
        let attributes = protection.attributes();
        let rights =
            SYNCHRONIZATION_SYNCHRONIZE | MUTEX_MODIFY_STATE | SYNCHRONIZATION_READ_CONTROL;
        // SAFETY: the name is zero-terminated; the attributes and their security descriptor outlive the call.
        let mutex = unsafe {
            CreateMutexExW(
                Some(&raw const attributes),
                &HSTRING::from(path),
                0,
                rights.0,
            )
        }
        .map_err(|error| status(&error))?;
        counted::add(1);
        Ok(Self(mutex))
    }

    /// Whether the owner is this account: an unprivileged account cannot name another one as the owner of its object. Other
    /// programs of this account create the shared mutexes with the default owner.
    fn belongs_to(&self, name: &MutexName, account: &Account) -> bool {
        // SAFETY: the handle is open until `self` is dropped, with the right to read the owner.
        let owner = match unsafe { owner_of(self.0, SE_KERNEL_OBJECT) } {
            Ok(Some(owner)) => owner,
            Ok(None) => return false,
            Err(status) => {
                tracing::warn!(%status, "the owner of a mutex could not be read");
                return false;
            }
        };
        let is_default = matches!(name, MutexName::Shared(_)) && owner == account.default_owner;
        owner == account.user || is_default
    }

    fn wait(self, timeout: Duration) -> Option<HeldMutex> {
        let timeout = u32::try_from(timeout.as_millis()).unwrap_or(MAX_MILLISECONDS);
        // SAFETY: the handle is open until `self` is dropped.
        let event = unsafe { WaitForSingleObject(self.0, timeout.min(MAX_MILLISECONDS)) };
        // Created only if the mutex is held: dropping it releases the mutex.
        [WAIT_OBJECT_0, WAIT_ABANDONED]
            .contains(&event)
            .then(|| HeldMutex {
                mutex: self,
                _not_send: PhantomData,
            })
    }
}

impl Drop for Mutex {
    fn drop(&mut self) {
        counted::add(-1);
        // SAFETY: the handle is open and not used again.
        if let Err(error) = unsafe { CloseHandle(self.0) } {
            tracing::warn!(%error, "a mutex could not be closed");
        }
    }
}

/// A mutex that is held by this thread, which must release it.
struct HeldMutex {
    mutex: Mutex,
    _not_send: PhantomData<*const ()>,
}

impl Drop for HeldMutex {
    fn drop(&mut self) {
        // SAFETY: the handle is open; this thread holds the mutex, since the value is not `Send`.
        if let Err(error) = unsafe { ReleaseMutex(self.mutex.0) } {
            tracing::warn!(%error, "a mutex could not be released");
        }
    }
}

/// `INFINITE` is one more.
const MAX_MILLISECONDS: u32 = u32::MAX - 1;

#[cfg(test)]
mod tests;
