//! RSA signatures. The digest is computed here, as libcrypto is not linked; the key signs it.
use crate::Key;
use crate::abi::{Dispatch, Param, UTF8_STRING, guarded};
use crate::provider_context::{ProviderContext, Reason};
use keybound_keys::SignatureScheme;
use sha2::digest::DynDigest;
use sha2::{Sha256, Sha384, Sha512};
use std::ffi::{CStr, c_char, c_int, c_void};
use std::ptr::null_mut;
use std::sync::Arc;

/// One signature operation.
#[derive(Clone)]
struct Operation {
    module: *const ProviderContext,
    key: Option<Arc<Key>>,
    pss: bool,
    hash: Option<Hash>,
    /// The digest of the data so far.
    digest: Option<Box<dyn DynDigest>>,
}

#[derive(Clone, Copy, PartialEq)]
enum Hash {
    Sha256,
    Sha384,
    Sha512,
}

impl Operation {
    fn raise(&self, reason: Reason) {
        // SAFETY: the provider's context outlives all operations.
        unsafe { (*self.module).raise(reason) }
    }

    /// Starts an operation. Settings that are not passed remain those of the previous one.
    ///
    /// # Safety
    /// The pointers are null or those of libcrypto: a C string, live key data, a list of parameters.
    unsafe fn begin(&mut self, hash: *const c_char, key: *const Key, params: *mut Param) -> bool {
        // SAFETY: by contract.
        unsafe {
            if !key.is_null() {
                Arc::increment_strong_count(key);
                self.key = Some(Arc::from_raw(key));
            }
            if !hash.is_null() && !self.set_hash(&CStr::from_ptr(hash).to_string_lossy()) {
                return false;
            }
            self.digest = None;
            self.key.is_some() && self.set(params)
        }
    }

    fn set_hash(&mut self, name: &str) -> bool {
        self.hash = Hash::named(name);
        if self.hash.is_none() {
            self.raise(Reason::Unsupported);
        }
        self.hash.is_some()
    }

    /// # Safety
    /// `params` is a list of parameters or null.
    unsafe fn set(&mut self, params: *mut Param) -> bool {
        // SAFETY: by contract.
        let text = |name| unsafe { Param::locate(params, name)?.text() };
        if let Some(name) = text(c"digest")
            && !self.set_hash(&name)
        {
            return false;
        }
        match text(c"pad-mode").as_deref() {
            None => {}
            Some("pkcs1" | "1") => self.pss = false,
            Some("pss" | "6") => self.pss = true,
            Some(_) => {
                self.raise(Reason::Unsupported);
                return false;
            }
        }
        // Supports PSS with a salt of the digest's length and mask generation with the same hash only. "auto" lets the signer choose.
        let size = self.hash.map_or(0, Hash::size).to_string();
        let salt_fits = match text(c"saltlen").as_deref() {
            None | Some("digest" | "-1" | "auto" | "-2" | "auto-digestmax" | "-4") => true,
            Some(given) => given == size,
        };
        let mask_fits = text(c"mgf1-digest").is_none_or(|name| Hash::named(&name) == self.hash);
        if !(salt_fits && mask_fits) {
            self.raise(Reason::Unsupported);
        }
        salt_fits && mask_fits
    }

    fn size(&self) -> usize {
        self.key.as_ref().map_or(0, |key| key.signature_size())
    }

    fn update(&mut self, data: &[u8]) -> bool {
        let Some(hash) = self.hash else { return false };
        self.digest.get_or_insert_with(|| hash.start()).update(data);
        true
    }

    fn finish(&mut self) -> Option<Box<[u8]>> {
        self.update(&[]).then_some(())?;
        Some(self.digest.take()?.finalize())
    }

    fn sign(&self, digest: &[u8], capacity: usize) -> Option<Vec<u8>> {
        let (Some(key), Some(hash)) = (&self.key, self.hash) else {
            return None;
        };
        if digest.len() != hash.size() {
            self.raise(Reason::Unsupported);
            return None;
        }
        match guarded(Err(Reason::Panicked), || {
            key.sign(hash.scheme(self.pss), digest)
                .ok_or(Reason::DidNotSign)
        }) {
            Ok(signature)
                if signature.len() == key.signature_size() && signature.len() <= capacity =>
            {
                Some(signature)
            }
            Ok(_) => {
                self.raise(Reason::WrongLength);
                None
            }
            Err(reason) => {
                self.raise(reason);
                None
            }
        }
    }
}

impl Hash {
    fn named(name: &str) -> Option<Self> {
        match name.to_ascii_lowercase().as_str() {
            "sha256" | "sha-256" | "sha2-256" => Some(Self::Sha256),
            "sha384" | "sha-384" | "sha2-384" => Some(Self::Sha384),
            "sha512" | "sha-512" | "sha2-512" => Some(Self::Sha512),
            _ => None,
        }
    }

    fn size(self) -> usize {
        self.scheme(false).digest_len()
    }

    fn scheme(self, pss: bool) -> SignatureScheme {
        match (self, pss) {
            (Self::Sha256, false) => SignatureScheme::Pkcs1Sha256,
            (Self::Sha384, false) => SignatureScheme::Pkcs1Sha384,
            (Self::Sha512, false) => SignatureScheme::Pkcs1Sha512,
            (Self::Sha256, true) => SignatureScheme::PssSha256,
            (Self::Sha384, true) => SignatureScheme::PssSha384,
            (Self::Sha512, true) => SignatureScheme::PssSha512,
        }
    }

    fn start(self) -> Box<dyn DynDigest> {
        match self {
            Self::Sha256 => Box::new(Sha256::default()),
            Self::Sha384 => Box::new(Sha384::default()),
            Self::Sha512 => Box::new(Sha512::default()),
        }
    }
}

unsafe extern "C" fn new(module: *const ProviderContext, _: *const c_char) -> *mut Operation {
    guarded(null_mut(), || {
        Box::into_raw(Box::new(Operation {
            module,
            key: None,
            pss: false,
            hash: None,
            digest: None,
        }))
    })
}

unsafe extern "C" fn free(operation: *mut Operation) {
    if !operation.is_null() {
        // SAFETY: the box from `new` or `duplicate`, freed once.
        guarded((), || unsafe { drop(Box::from_raw(operation)) });
    }
}

unsafe extern "C" fn duplicate(operation: *const Operation) -> *mut Operation {
    guarded(null_mut(), || {
        // SAFETY: libcrypto passes a live operation.
        Box::into_raw(Box::new(unsafe { (*operation).clone() }))
    })
}

unsafe extern "C" fn digest_sign_init(
    operation: *mut Operation,
    hash: *const c_char,
    key: *const Key,
    params: *mut Param,
) -> c_int {
    // SAFETY: libcrypto passes a live operation and arguments that fulfil the contract of `begin`.
    guarded(0, || unsafe {
        (*operation).begin(hash, key, params).into()
    })
}

unsafe extern "C" fn sign_init(
    operation: *mut Operation,
    key: *const Key,
    params: *mut Param,
) -> c_int {
    // SAFETY: as above.
    guarded(0, || unsafe {
        (*operation).begin(std::ptr::null(), key, params).into()
    })
}

unsafe extern "C" fn digest_sign_update(
    operation: *mut Operation,
    data: *const u8,
    length: usize,
) -> c_int {
    // SAFETY: libcrypto passes a live operation and data of that length.
    guarded(0, || unsafe {
        (*operation).update(bytes(data, length)).into()
    })
}

unsafe extern "C" fn digest_sign_final(
    operation: *mut Operation,
    out: *mut u8,
    length: *mut usize,
    capacity: usize,
) -> c_int {
    guarded(0, || {
        // SAFETY: libcrypto passes a live operation, and a buffer of `capacity` bytes or null to query the length.
        unsafe {
            let operation = &mut *operation;
            if out.is_null() {
                return write_size(operation, length);
            }
            let Some(digest) = operation.finish() else {
                return 0;
            };
            write_signature(operation.sign(&digest, capacity), out, length)
        }
    })
}

unsafe extern "C" fn sign(
    operation: *mut Operation,
    out: *mut u8,
    length: *mut usize,
    capacity: usize,
    digest: *const u8,
    digest_length: usize,
) -> c_int {
    guarded(0, || {
        // SAFETY: as above, and a digest of that length.
        unsafe {
            let operation = &*operation;
            if out.is_null() {
                return write_size(operation, length);
            }
            write_signature(
                operation.sign(bytes(digest, digest_length), capacity),
                out,
                length,
            )
        }
    })
}

unsafe extern "C" fn set_params(operation: *mut Operation, params: *mut Param) -> c_int {
    // SAFETY: libcrypto passes a live operation and a list.
    guarded(0, || unsafe { (*operation).set(params).into() })
}

unsafe extern "C" fn settable_params(_: *mut c_void, _: *mut c_void) -> *const Param {
    static TYPES: [Param; 5] = [
        Param::describe(c"pad-mode", UTF8_STRING),
        Param::describe(c"saltlen", UTF8_STRING),
        Param::describe(c"digest", UTF8_STRING),
        Param::describe(c"mgf1-digest", UTF8_STRING),
        Param::END,
    ];
    TYPES.as_ptr()
}

/// # Safety
/// `length` is a pointer to write.
unsafe fn write_size(operation: &Operation, length: *mut usize) -> c_int {
    // SAFETY: by contract.
    unsafe { *length = operation.size() };
    (operation.size() > 0).into()
}

/// # Safety
/// `out` has space for the signature (checked by `sign`), `length` is a pointer to write.
unsafe fn write_signature(signature: Option<Vec<u8>>, out: *mut u8, length: *mut usize) -> c_int {
    let Some(signature) = signature else { return 0 };
    // SAFETY: by contract.
    unsafe {
        out.copy_from_nonoverlapping(signature.as_ptr(), signature.len());
        *length = signature.len();
    }
    1
}

/// # Safety
/// `data` has `length` bytes, or `length` is 0.
unsafe fn bytes<'a>(data: *const u8, length: usize) -> &'a [u8] {
    match length {
        0 => &[],
        // SAFETY: by contract.
        _ => unsafe { std::slice::from_raw_parts(data, length) },
    }
}

pub static TABLE: &[Dispatch] = &[
    Dispatch(1, new as *const c_void),
    Dispatch(2, sign_init as *const c_void),
    Dispatch(3, sign as *const c_void),
    Dispatch(8, digest_sign_init as *const c_void),
    Dispatch(9, digest_sign_update as *const c_void),
    Dispatch(10, digest_sign_final as *const c_void),
    Dispatch(16, free as *const c_void),
    Dispatch(17, duplicate as *const c_void),
    Dispatch(20, set_params as *const c_void),
    Dispatch(21, settable_params as *const c_void),
    Dispatch::END,
];
