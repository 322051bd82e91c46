//! Certificate contexts: <https://learn.microsoft.com/windows/win32/api/wincrypt/ns-wincrypt-cert_context>.
use super::super::certificate_store::CertificateEntry;
use super::super::handle::Key;
use super::super::key_prov_info::KeyProvInfo;
use super::super::status::Status;
use super::{counted, status};
use std::ffi::c_void;
use std::mem::size_of;
use std::ptr::NonNull;
use windows::Win32::Security::Cryptography::{
    CERT_CONTEXT, CERT_FRIENDLY_NAME_PROP_ID, CERT_KEY_PROV_INFO_PROP_ID,
    CERT_NCRYPT_KEY_HANDLE_PROP_ID, CERT_SET_PROPERTY_INHIBIT_PERSIST_FLAG, CRYPT_INTEGER_BLOB,
    CRYPT_KEY_FLAGS, CRYPT_KEY_PROV_INFO, CertCreateCertificateContext,
    CertDuplicateCertificateContext, CertFreeCertificateContext, CertGetCertificateContextProperty,
    CertSetCertificateContextProperty, NCRYPT_MACHINE_KEY_FLAG, X509_ASN_ENCODING,
};
use windows::core::PWSTR;

/// An owned reference to a certificate context. Clones are references to the same context.
#[derive(Debug)]
pub(in super::super) struct CertificateContext(NonNull<CERT_CONTEXT>);

// SAFETY: contexts are not bound to a thread, and Windows counts their references atomically.
unsafe impl Send for CertificateContext {}
// SAFETY: a context is only read through `&self`. It is modified through `&mut self`, before it is shared.
unsafe impl Sync for CertificateContext {}

impl CertificateContext {
    /// Creates a context that is in no store.
    pub(in super::super) fn from_der(der: &[u8]) -> Result<Self, Status> {
        // SAFETY: pointer and length are those of a slice, which Windows copies.
        let context = unsafe { CertCreateCertificateContext(X509_ASN_ENCODING, der) };
        // SAFETY: the pointer is null or a new context.
        unsafe { Self::from_ptr(context) }
            .ok_or_else(|| status(&windows::core::Error::from_thread()))
    }

    /// Takes ownership of a reference to a context. `None` for a null pointer.
    ///
    /// # Safety
    /// `context` is null or a certificate context, of which the caller owns a reference.
    pub(in super::super) unsafe fn from_ptr(context: *const CERT_CONTEXT) -> Option<Self> {
        let context = NonNull::new(context.cast_mut())?;
        counted::add(1);
        Some(Self(context))
    }

    pub(in super::super) fn as_ptr(&self) -> *const CERT_CONTEXT {
        self.0.as_ptr()
    }

    /// The context, whose reference the caller frees.
    pub(in super::super) fn into_ptr(self) -> *const CERT_CONTEXT {
        counted::add(-1);
        std::mem::ManuallyDrop::new(self).0.as_ptr()
    }

    /// The certificate with the properties in use.
    pub(super) fn entry(&self) -> CertificateEntry {
        CertificateEntry {
            der: self.der().to_vec(),
            friendly_name: self.friendly_name().unwrap_or_default(),
            key: self.key_prov_info(),
        }
    }

    pub(in super::super) fn der(&self) -> &[u8] {
        // SAFETY: the context is not freed before `self` is dropped, and its certificate is immutable.
        let context = unsafe { self.0.as_ref() };
        if context.pbCertEncoded.is_null() {
            return &[];
        }
        // SAFETY: pointer and length are those of the context's copy of the certificate.
        unsafe { std::slice::from_raw_parts(context.pbCertEncoded, context.cbCertEncoded as usize) }
    }

    fn friendly_name(&self) -> Option<String> {
        text_at(self.property(CERT_FRIENDLY_NAME_PROP_ID)?.bytes(), 0)
    }

    pub(super) fn set_friendly_name(&mut self, text: &str) -> Result<(), Status> {
        let mut units = wide(text);
        let blob = CRYPT_INTEGER_BLOB {
            cbData: (units.len() * 2) as u32,
            pbData: units.as_mut_ptr().cast(),
        };
        // SAFETY: the value of this property is such a blob, which Windows copies; the text outlives the call.
        unsafe { self.set(CERT_FRIENDLY_NAME_PROP_ID, 0, (&raw const blob).cast()) }
    }

    /// The container of its key.
    pub(in super::super) fn key_prov_info(&self) -> Option<KeyProvInfo> {
        let property = self.property(CERT_KEY_PROV_INFO_PROP_ID)?;
        let bytes = property.bytes();
        if bytes.len() < size_of::<CRYPT_KEY_PROV_INFO>() {
            return None;
        }
        const { assert!(align_of::<CRYPT_KEY_PROV_INFO>() <= align_of::<u64>()) };
        // SAFETY: there are enough aligned bytes, and any bytes are valid for this structure of numbers and pointers. Its
        // pointers are not dereferenced: they are converted to offsets within the bytes.
        let info = unsafe { bytes.as_ptr().cast::<CRYPT_KEY_PROV_INFO>().read() };
        let text = |pointer: PWSTR| {
            let offset = (pointer.0 as usize).checked_sub(bytes.as_ptr() as usize)?;
            text_at(bytes, offset)
        };
        Some(KeyProvInfo {
            provider: text(info.pwszProvName).unwrap_or_default(),
            container: text(info.pwszContainerName)?,
            machine: info.dwFlags.0 & NCRYPT_MACHINE_KEY_FLAG.0 != 0,
            legacy: info.dwProvType != 0,
        })
    }

    pub(in super::super) fn set_key_prov_info(&mut self, key: &KeyProvInfo) -> Result<(), Status> {
        let (mut name, mut provider) = (wide(&key.container), wide(&key.provider));
        let info = CRYPT_KEY_PROV_INFO {
            pwszContainerName: PWSTR(name.as_mut_ptr()),
            pwszProvName: PWSTR(provider.as_mut_ptr()),
            dwProvType: u32::from(key.legacy),
            dwFlags: CRYPT_KEY_FLAGS(if key.machine {
                NCRYPT_MACHINE_KEY_FLAG.0
            } else {
                0
            }),
            ..CRYPT_KEY_PROV_INFO::default()
        };
        // SAFETY: the value of this property is such a structure, which Windows copies with the texts that it points to; they
        // are zero-terminated and outlive the call.
        unsafe { self.set(CERT_KEY_PROV_INFO_PROP_ID, 0, (&raw const info).cast()) }
    }

    /// Sets the open handle of the key, in this process only. The context frees it; if this fails, it is freed here.
    pub(in super::super) fn set_key_handle(&mut self, key: Key) -> Result<(), Status> {
        let flags = CERT_SET_PROPERTY_INHIBIT_PERSIST_FLAG;
        // The value is the handle itself, not a pointer to it.
        let handle = key.raw() as *const c_void;
        // SAFETY: the value of this property is an open key handle, which the context owns on success.
        unsafe { self.set(CERT_NCRYPT_KEY_HANDLE_PROP_ID, flags, handle) }?;
        let _ = key.into_raw();
        Ok(())
    }

    /// The bytes of a property, if it is present and at most 64 KiB long.
    fn property(&self, id: u32) -> Option<PropertyValue> {
        let mut length = 0;
        // SAFETY: the context is not freed before `self` is dropped; without a buffer only the length is written.
        unsafe { CertGetCertificateContextProperty(self.as_ptr(), id, None, &raw mut length) }
            .ok()?;
        if length == 0 || length > MAX_PROPERTY {
            return None;
        }
        let mut value = PropertyValue {
            words: vec![0; (length as usize).div_ceil(size_of::<u64>())],
            length: 0,
        };
        let into = Some(value.words.as_mut_ptr().cast::<c_void>());
        // SAFETY: as above; at most the buffer's length, which is passed, is written.
        unsafe { CertGetCertificateContextProperty(self.as_ptr(), id, into, &raw mut length) }
            .ok()?;
        value.length = length as usize;
        Some(value)
    }

    /// # Safety
    /// `value` is valid for the property: a pointer to its value, or the value itself.
    unsafe fn set(&mut self, id: u32, flags: u32, value: *const c_void) -> Result<(), Status> {
        // SAFETY: the context is not freed before `self` is dropped; `value` is the caller's promise.
        unsafe { CertSetCertificateContextProperty(self.as_ptr(), id, flags, Some(value)) }
            .map_err(|error| status(&error))
    }
}

impl Clone for CertificateContext {
    fn clone(&self) -> Self {
        counted::add(1);
        // SAFETY: the context is not freed before `self` is dropped. The result is the same pointer.
        let _ = unsafe { CertDuplicateCertificateContext(Some(self.as_ptr())) };
        Self(self.0)
    }
}

impl Drop for CertificateContext {
    fn drop(&mut self) {
        counted::add(-1);
        // SAFETY: this value owns the reference, which is not used again. The function always returns TRUE.
        let _ = unsafe { CertFreeCertificateContext(Some(self.0.as_ptr())) };
    }
}

/// The bytes of a property, aligned for every structure in use.
struct PropertyValue {
    words: Vec<u64>,
    /// In bytes.
    length: usize,
}

impl PropertyValue {
    fn bytes(&self) -> &[u8] {
        let length = self.length.min(size_of_val(self.words.as_slice()));
        // SAFETY: the words are at least as many initialized bytes.
        unsafe { std::slice::from_raw_parts(self.words.as_ptr().cast(), length) }
    }
}

/// The UTF-16 text from an offset to a zero or the end.
fn text_at(bytes: &[u8], offset: usize) -> Option<String> {
    let units: Vec<u16> = bytes
        .get(offset..)?
        .chunks_exact(2)
        .map(|unit| u16::from_le_bytes([unit[0], unit[1]]))
        .take_while(|unit| *unit != 0)
        .collect();
    String::from_utf16(&units).ok()
}

fn wide(text: &str) -> Vec<u16> {
    text.encode_utf16().chain([0]).collect()
}

const MAX_PROPERTY: u32 = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_ends_at_a_zero_or_at_the_end() {
        let bytes = b"a\0b\0\0\0c\0d";
        assert_eq!(text_at(bytes, 0).unwrap(), "ab");
        assert_eq!(text_at(bytes, 6).unwrap(), "c");
        assert_eq!(text_at(bytes, 9).unwrap(), "");
        assert_eq!(text_at(bytes, 10), None);
        assert_eq!(text_at(b"\x00\xd8", 0), None);
    }
}
