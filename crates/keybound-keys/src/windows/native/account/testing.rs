//! Security descriptors as text.
use super::{Local, Protection};
use windows::Win32::Foundation::HANDLE;
use windows::Win32::Security::Authorization::{
    ConvertSecurityDescriptorToStringSecurityDescriptorW, GetSecurityInfo, SDDL_REVISION_1,
    SE_OBJECT_TYPE,
};
use windows::Win32::Security::{
    DACL_SECURITY_INFORMATION, OWNER_SECURITY_INFORMATION, PSECURITY_DESCRIPTOR,
};
use windows::core::PWSTR;

impl Protection {
    /// The owner and access control list of an object.
    ///
    /// # Safety
    /// As [`owner_of`].
    pub(in super::super) unsafe fn of_object(object: HANDLE, kind: SE_OBJECT_TYPE) -> Self {
        let mut descriptor = PSECURITY_DESCRIPTOR::default();
        let parts = OWNER_SECURITY_INFORMATION | DACL_SECURITY_INFORMATION;
        // SAFETY: the caller's promise; the descriptor is an out pointer.
        unsafe {
            GetSecurityInfo(
                object,
                kind,
                parts,
                None,
                None,
                None,
                None,
                Some(&raw mut descriptor),
            )
        }
        .ok()
        .unwrap();
        Self {
            descriptor: Local(descriptor.0),
        }
    }

    /// The owner and access control list as text.
    pub(in super::super) fn to_sddl(&self) -> String {
        let mut text = PWSTR::null();
        // SAFETY: this value owns the descriptor; the text is an out pointer.
        unsafe {
            ConvertSecurityDescriptorToStringSecurityDescriptorW(
                PSECURITY_DESCRIPTOR(self.descriptor.0),
                SDDL_REVISION_1,
                OWNER_SECURITY_INFORMATION | DACL_SECURITY_INFORMATION,
                &raw mut text,
                None,
            )
        }
        .unwrap();
        let _freed = Local(text.0.cast());
        // SAFETY: it is a zero-terminated text.
        unsafe { text.to_string() }.unwrap()
    }
}
