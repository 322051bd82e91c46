//! Certificate contexts: <https://learn.microsoft.com/windows/win32/api/wincrypt/ns-wincrypt-cert_context>.
use super::super::handle::Key;
use super::super::msal_certificate_cache::KeyPlace;
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

/// One reference to a certificate context.
#[derive(Debug)]
pub(in super::super) struct CertificateContext(NonNull<CERT_CONTEXT>);

// SAFETY: contexts are bound to no thread, and Windows counts references to them in one step.
unsafe impl Send for CertificateContext {}
// SAFETY: through `&self` a context is only read. Of those that change one, each has it as `&mut`, before it is shared.
unsafe impl Sync for CertificateContext {}

impl CertificateContext {
    /// A context that is in no store.
    pub(in super::super) fn of_der(der: &[u8]) -> Result<Self, Status> {
        // SAFETY: the bytes are whole; Windows copies them.
        let context = unsafe { CertCreateCertificateContext(X509_ASN_ENCODING, der) };
        Self::own(context).ok_or_else(|| status(&windows::core::Error::from_thread()))
    }

    /// One more reference to a context that is somebody else's.
    ///
    /// # Safety
    /// `context` is a certificate context that is not freed yet.
    pub(super) unsafe fn share(context: *const CERT_CONTEXT) -> Option<Self> {
        // SAFETY: the caller's promise.
        Self::own(unsafe { CertDuplicateCertificateContext(Some(context)) })
    }

    /// A reference that was somebody else's.
    ///
    /// # Safety
    /// `context` is a certificate context, or null; the reference is the caller's and goes over to this value.
    pub(in super::super) unsafe fn take(context: *const CERT_CONTEXT) -> Option<Self> {
        Self::own(context.cast_mut())
    }

    /// One more reference to this context.
    pub(in super::super) fn share_again(&self) -> Option<Self> {
        // SAFETY: it is not freed before `self` is dropped.
        unsafe { Self::share(self.as_ptr()) }
    }

    fn own(context: *mut CERT_CONTEXT) -> Option<Self> {
        let context = NonNull::new(context)?;
        counted::add(1);
        Some(Self(context))
    }

    pub(in super::super) fn as_ptr(&self) -> *const CERT_CONTEXT {
        self.0.as_ptr()
    }

    /// The reference, which the caller frees from here on.
    pub(in super::super) fn into_ptr(self) -> *const CERT_CONTEXT {
        counted::add(-1);
        std::mem::ManuallyDrop::new(self).0.as_ptr()
    }

    pub(in super::super) fn der(&self) -> &[u8] {
        // SAFETY: the context is not freed before `self` is dropped; its certificate never changes.
        let context = unsafe { self.0.as_ref() };
        if context.pbCertEncoded.is_null() {
            return &[];
        }
        // SAFETY: pointer and length are those of the context's own copy of the certificate.
        unsafe { std::slice::from_raw_parts(context.pbCertEncoded, context.cbCertEncoded as usize) }
    }

    pub(in super::super) fn friendly_name(&self) -> Option<String> {
        text_at(self.property(CERT_FRIENDLY_NAME_PROP_ID)?.bytes(), 0)
    }

    pub(in super::super) fn set_friendly_name(&mut self, text: &str) -> Result<(), Status> {
        let mut units = wide(text);
        let blob = CRYPT_INTEGER_BLOB {
            cbData: (units.len() * 2) as u32,
            pbData: units.as_mut_ptr().cast(),
        };
        // SAFETY: this property takes such a blob of text, which Windows copies; the text outlives the call.
        unsafe { self.set(CERT_FRIENDLY_NAME_PROP_ID, 0, (&raw const blob).cast()) }
    }

    /// Where it says that its key is kept.
    pub(in super::super) fn key_place(&self) -> Option<KeyPlace> {
        let property = self.property(CERT_KEY_PROV_INFO_PROP_ID)?;
        let bytes = property.bytes();
        if bytes.len() < size_of::<CRYPT_KEY_PROV_INFO>() {
            return None;
        }
        const { assert!(align_of::<CRYPT_KEY_PROV_INFO>() <= align_of::<u64>()) };
        // SAFETY: there are as many bytes, aligned, of which any are such a structure: it is of numbers and pointers. Its
        // pointers are not followed: they are turned into places within the bytes.
        let info = unsafe { bytes.as_ptr().cast::<CRYPT_KEY_PROV_INFO>().read() };
        let text = |pointer: PWSTR| {
            let place = (pointer.0 as usize).checked_sub(bytes.as_ptr() as usize)?;
            text_at(bytes, place)
        };
        Some(KeyPlace {
            provider: text(info.pwszProvName).unwrap_or_default(),
            name: text(info.pwszContainerName)?,
            machine: info.dwFlags.0 & NCRYPT_MACHINE_KEY_FLAG.0 != 0,
            legacy: info.dwProvType != 0,
        })
    }

    pub(in super::super) fn set_key_place(&mut self, place: &KeyPlace) -> Result<(), Status> {
        let (mut name, mut provider) = (wide(&place.name), wide(&place.provider));
        let info = CRYPT_KEY_PROV_INFO {
            pwszContainerName: PWSTR(name.as_mut_ptr()),
            pwszProvName: PWSTR(provider.as_mut_ptr()),
            dwProvType: u32::from(place.legacy),
            dwFlags: CRYPT_KEY_FLAGS(if place.machine {
                NCRYPT_MACHINE_KEY_FLAG.0
            } else {
                0
            }),
            ..CRYPT_KEY_PROV_INFO::default()
        };
        // SAFETY: this property takes such a structure, which Windows copies with the texts that it points to; they end
        // with a zero and outlive the call.
        unsafe { self.set(CERT_KEY_PROV_INFO_PROP_ID, 0, (&raw const info).cast()) }
    }

    /// Gives the key to the context, in this process only. From then on the context frees it; where this fails, it is freed
    /// here.
    pub(in super::super) fn give_key(&mut self, key: Key) -> Result<(), Status> {
        let flags = CERT_SET_PROPERTY_INHIBIT_PERSIST_FLAG;
        // Not a pointer to the handle, as with other properties: the handle itself.
        let handle = key.raw() as *const c_void;
        // SAFETY: this property takes an open key handle; where it succeeds, the handle is the context's.
        unsafe { self.set(CERT_NCRYPT_KEY_HANDLE_PROP_ID, flags, handle) }?;
        let _ = key.into_raw();
        Ok(())
    }

    /// The bytes of a property, where it is there and not longer than 64 KiB.
    fn property(&self, id: u32) -> Option<PropertyValue> {
        let mut length = 0;
        // SAFETY: the context is not freed before `self` is dropped; without a buffer only the length is written.
        unsafe { CertGetCertificateContextProperty(self.as_ptr(), id, None, &raw mut length) }
            .ok()?;
        if length == 0 || length > LONGEST_PROPERTY {
            return None;
        }
        let mut value = PropertyValue {
            words: vec![0; (length as usize).div_ceil(size_of::<u64>())],
            length: 0,
        };
        let into = Some(value.words.as_mut_ptr().cast::<c_void>());
        // SAFETY: as above; the buffer has the length that goes along, and no more is written.
        unsafe { CertGetCertificateContextProperty(self.as_ptr(), id, into, &raw mut length) }
            .ok()?;
        value.length = length as usize;
        Some(value)
    }

    /// # Safety
    /// `value` is what the property takes: a pointer to it, or the value itself.
    unsafe fn set(&mut self, id: u32, flags: u32, value: *const c_void) -> Result<(), Status> {
        // SAFETY: the context is not freed before `self` is dropped; the rest is the caller's promise.
        unsafe { CertSetCertificateContextProperty(self.as_ptr(), id, flags, Some(value)) }
            .map_err(|error| status(&error))
    }
}

impl Drop for CertificateContext {
    fn drop(&mut self) {
        counted::add(-1);
        // SAFETY: the reference is this value's, and nobody has it any more. It says TRUE, always.
        let _ = unsafe { CertFreeCertificateContext(Some(self.0.as_ptr())) };
    }
}

/// The bytes of a property, aligned for every structure that one may be.
struct PropertyValue {
    words: Vec<u64>,
    /// In bytes.
    length: usize,
}

impl PropertyValue {
    fn bytes(&self) -> &[u8] {
        let length = self.length.min(size_of_val(self.words.as_slice()));
        // SAFETY: words are bytes that can be read, and so many there are.
        unsafe { std::slice::from_raw_parts(self.words.as_ptr().cast(), length) }
    }
}

/// The text in UTF-16 that begins at a place within bytes and ends with a zero, or with the bytes.
fn text_at(bytes: &[u8], place: usize) -> Option<String> {
    let units: Vec<u16> = bytes
        .get(place..)?
        .chunks_exact(2)
        .map(|unit| u16::from_le_bytes([unit[0], unit[1]]))
        .take_while(|unit| *unit != 0)
        .collect();
    String::from_utf16(&units).ok()
}

fn wide(text: &str) -> Vec<u16> {
    text.encode_utf16().chain([0]).collect()
}

const LONGEST_PROPERTY: u32 = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_end_with_a_zero_or_with_the_bytes() {
        let bytes = b"a\0b\0\0\0c\0d";
        assert_eq!(text_at(bytes, 0).unwrap(), "ab");
        assert_eq!(text_at(bytes, 6).unwrap(), "c");
        assert_eq!(text_at(bytes, 9).unwrap(), "");
        assert_eq!(text_at(bytes, 10), None);
        assert_eq!(text_at(b"\x00\xd8", 0), None);
    }
}
