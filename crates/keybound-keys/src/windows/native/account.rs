//! The account of the current thread, and objects that only this account can use:
//! <https://learn.microsoft.com/windows/win32/secauthz/access-control-model>.
#[cfg(test)]
mod testing;

use super::super::status::Status;
use super::status;
use std::ffi::c_void;
use std::mem::size_of;
use windows::Win32::Foundation::{HANDLE, HLOCAL, LocalFree};
use windows::Win32::Security::Authorization::{
    ConvertSidToStringSidW, ConvertStringSecurityDescriptorToSecurityDescriptorW, GetSecurityInfo,
    SDDL_REVISION_1, SE_OBJECT_TYPE,
};
use windows::Win32::Security::{
    GetTokenInformation, OWNER_SECURITY_INFORMATION, PSECURITY_DESCRIPTOR, PSID,
    SECURITY_ATTRIBUTES, TOKEN_INFORMATION_CLASS, TokenOwner, TokenUser,
};
use windows::core::{HSTRING, PWSTR};

/// An account, by its security identifiers as text (`S-1-5-…`).
#[derive(Debug)]
pub(super) struct Account {
    /// The account itself.
    pub(super) user: String,
    /// The owner of objects that this account creates without naming one: the account, or the group of administrators.
    pub(super) default_owner: String,
}

impl Account {
    /// The account of the current thread: the impersonated one, if the thread impersonates.
    pub(super) fn current() -> Result<Self, Status> {
        Ok(Self {
            user: sid_of_token(TokenUser)?,
            default_owner: sid_of_token(TokenOwner)?,
        })
    }
}

/// The security descriptor of a new object.
pub(super) struct Protection {
    descriptor: Local,
}

impl Protection {
    /// For an object that belongs to an account, and that no other account can open.
    pub(super) fn of(account: &Account) -> Result<Self, Status> {
        Self::from_sddl(&format!("O:{user}D:P(A;;GA;;;{user})", user = account.user))
    }

    /// <https://learn.microsoft.com/windows/win32/secauthz/security-descriptor-string-format>.
    pub(super) fn from_sddl(text: &str) -> Result<Self, Status> {
        let mut descriptor = PSECURITY_DESCRIPTOR::default();
        // SAFETY: the text is zero-terminated; the descriptor is an out pointer.
        unsafe {
            ConvertStringSecurityDescriptorToSecurityDescriptorW(
                &HSTRING::from(text),
                SDDL_REVISION_1,
                &raw mut descriptor,
                None,
            )
        }
        .map_err(|error| status(&error))?;
        Ok(Self {
            descriptor: Local(descriptor.0),
        })
    }

    /// The attributes for functions that create objects, valid while this value lives.
    pub(super) fn attributes(&self) -> SECURITY_ATTRIBUTES {
        SECURITY_ATTRIBUTES {
            nLength: size_of::<SECURITY_ATTRIBUTES>() as u32,
            lpSecurityDescriptor: self.descriptor.0,
            bInheritHandle: false.into(),
        }
    }
}

/// The owner of an object. `None` if it has none.
///
/// # Safety
/// The handle is open, of this kind, with the right `READ_CONTROL`.
pub(super) unsafe fn owner_of(
    object: HANDLE,
    kind: SE_OBJECT_TYPE,
) -> Result<Option<String>, Status> {
    let mut owner = PSID::default();
    let mut descriptor = PSECURITY_DESCRIPTOR::default();
    // SAFETY: the handle is open (the caller's promise); the others are out pointers.
    let error = unsafe {
        GetSecurityInfo(
            object,
            kind,
            OWNER_SECURITY_INFORMATION,
            Some(&raw mut owner),
            None,
            None,
            None,
            Some(&raw mut descriptor),
        )
    };
    let _freed = Local(descriptor.0);
    if error.is_err() {
        return Err(Status(error.to_hresult().0.cast_unsigned()));
    }
    // SAFETY: the owner is null or points into the descriptor, which is freed after this.
    unsafe { text_of(owner) }
}

/// The SID of a class of information that begins with a pointer to one.
fn sid_of_token(kind: TOKEN_INFORMATION_CLASS) -> Result<String, Status> {
    let mut buffer = [0_u64; MAX_INFORMATION / size_of::<u64>()];
    let mut length = 0;
    // SAFETY: the token is a pseudo handle, which is not closed. At most the buffer's length, which is passed, is written.
    unsafe {
        GetTokenInformation(
            EFFECTIVE_TOKEN,
            kind,
            Some(buffer.as_mut_ptr().cast::<c_void>()),
            MAX_INFORMATION as u32,
            &raw mut length,
        )
    }
    .map_err(|error| status(&error))?;
    // SAFETY: TOKEN_USER and TOKEN_OWNER begin with a pointer to a SID, which is in the same buffer.
    let text = unsafe { text_of(buffer.as_ptr().cast::<PSID>().read()) }?;
    text.ok_or(Status::NOT_FOUND)
}

/// # Safety
/// The pointer is null or points to a SID.
unsafe fn text_of(sid: PSID) -> Result<Option<String>, Status> {
    if sid.0.is_null() {
        return Ok(None);
    }
    let mut text = PWSTR::null();
    // SAFETY: it points to a SID (the caller's promise); the text is an out pointer.
    unsafe { ConvertSidToStringSidW(sid, &raw mut text) }.map_err(|error| status(&error))?;
    let _freed = Local(text.0.cast());
    // SAFETY: on success it is a zero-terminated text.
    let text = unsafe { text.to_string() };
    text.map(Some).map_err(|_| Status::NOT_SUPPORTED)
}

/// Memory that Windows allocated by `LocalAlloc`, or null.
struct Local(*mut c_void);

impl Drop for Local {
    fn drop(&mut self) {
        // SAFETY: this value owns the memory, which is not used again; null is allowed.
        unsafe { LocalFree(Some(HLOCAL(self.0))) };
    }
}

/// `GetCurrentThreadEffectiveToken()`, which Windows' headers define as this constant.
const EFFECTIVE_TOKEN: HANDLE = HANDLE(std::ptr::without_provenance_mut(-6_isize as usize));
/// In bytes: a pointer, attributes, and the longest SID (68).
const MAX_INFORMATION: usize = 96;
