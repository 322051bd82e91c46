//! Named mutexes: <https://learn.microsoft.com/windows/win32/sync/mutex-objects>.
//!
//! Every account of the host may create objects in `Global\`, of any name. So an object is waited for only where it belongs
//! to this account.
use super::super::names::MutexName;
use super::super::ncrypt_api::{Held, Lock};
use super::super::status::Status;
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

/// Acquires the mutex in `Global\`, or in `Local\` where the object of that name in `Global\` is not this account's: it denies
/// access, is no mutex, or has another owner. An abandoned mutex is acquired: what it guards is whole at every moment.
pub(super) fn lock(name: &MutexName, longest: Duration) -> Lock {
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
                    .wait(longest)
                    .map_or(Lock::Busy, |held| Lock::Held(Box::new(held)));
            }
            Ok(_) => tracing::warn!(space, "a mutex belongs to another account and is not used"),
            Err(status) => tracing::warn!(space, %status, "a mutex could not be opened"),
        }
    }
    Lock::Unusable
}

fn path(space: &str, name: &MutexName, account: &Account) -> String {
    match name {
        MutexName::OfAccount(name) => format!(r"{space}\{name}_{}", account.user),
        MutexName::Shared(name) => format!(r"{space}\{name}"),
    }
}

struct Mutex(HANDLE);

impl Mutex {
    fn open(path: &str, protection: &Protection) -> Result<Self, Status> {
        let attributes = protection.attributes();
        let rights =
            SYNCHRONIZATION_SYNCHRONIZE | MUTEX_MODIFY_STATE | SYNCHRONIZATION_READ_CONTROL;
        // SAFETY: the name ends with a zero; the attributes and what they point to live through the call.
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

    /// Windows lets no unprivileged account name another one as the owner of its object. Other programs of this account
    /// create the shared ones without naming an owner.
    fn belongs_to(&self, name: &MutexName, account: &Account) -> bool {
        // SAFETY: the handle is open until `self` is dropped, and has the right to be asked for its owner.
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

#[cfg(test)]
mod tests;
