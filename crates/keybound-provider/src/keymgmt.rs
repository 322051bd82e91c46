//! RSA key management. Key data is an `Arc<Key>`, with one reference for each `EVP_PKEY`.
//!
//! A key is "generated" with the handle of a [`RegisteredKey`] as the parameter [`KEY_PARAM`]. The handle is a random number: other
//! values of the parameter (`openssl genpkey -pkeyopt` sets it from text) return no key, and no address is dereferenced. There is
//! no import, so that libcrypto cannot move other keys to this provider: certificates and ordinary keys remain with the other
//! providers.
use crate::Key;
use crate::abi::{Callback, Dispatch, INTEGER, OCTETS, Param, UNSIGNED, UTF8_STRING, guarded};
use std::ffi::{CStr, c_int, c_void};
use std::ptr::{null, null_mut};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The parameter with the handle of a [`RegisteredKey`].
pub const KEY_PARAM: &CStr = c"keybound-key";

/// A key that can be generated while this value lives.
pub struct RegisteredKey(Handle);

type Handle = [u8; 16];

static REGISTERED: Mutex<Vec<(Handle, Arc<Key>)>> = Mutex::new(Vec::new());

impl RegisteredKey {
    /// Registers a key under an unguessable handle.
    pub fn new(handle: Handle, key: Arc<Key>) -> Self {
        registered().push((handle, key));
        Self(handle)
    }

    /// The handle, as the value of [`KEY_PARAM`].
    pub fn handle(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for RegisteredKey {
    fn drop(&mut self) {
        registered().retain(|(handle, _)| *handle != self.0);
    }
}

fn registered() -> MutexGuard<'static, Vec<(Handle, Arc<Key>)>> {
    REGISTERED.lock().unwrap_or_else(PoisonError::into_inner)
}

fn key_of(handle: &[u8]) -> Option<Arc<Key>> {
    let registered = registered();
    let found = registered.iter().find(|(known, _)| known[..] == *handle);
    found.map(|(_, key)| Arc::clone(key))
}

/// A generation in progress.
struct Generation(Option<Arc<Key>>);

unsafe extern "C" fn generation_init(
    _: *mut c_void,
    _selection: c_int,
    params: *mut Param,
) -> *mut Generation {
    guarded(null_mut(), || {
        let generation = Box::into_raw(Box::new(Generation(None)));
        // SAFETY: the generation was just created; the list is libcrypto's.
        unsafe { generation_set_params(generation, params) };
        generation
    })
}

unsafe extern "C" fn generation_set_params(
    generation: *mut Generation,
    params: *mut Param,
) -> c_int {
    guarded(0, || {
        // SAFETY: the list is libcrypto's; its values are only read.
        if let Some(param) = unsafe { Param::locate(params, KEY_PARAM) } {
            // SAFETY: an entry describes its buffer truthfully.
            let Some(key) = unsafe { param.octets() }.and_then(key_of) else {
                return 0;
            };
            // SAFETY: the generation is from `generation_init`, and nothing else uses it meanwhile.
            unsafe { (*generation).0 = Some(key) };
        }
        1
    })
}

unsafe extern "C" fn generation_settable_params(
    _: *mut Generation,
    _: *mut c_void,
) -> *const Param {
    static TYPES: [Param; 2] = [Param::describe(KEY_PARAM, OCTETS), Param::END];
    TYPES.as_ptr()
}

unsafe extern "C" fn generate(
    generation: *mut Generation,
    _: *const c_void,
    _: *mut c_void,
) -> *const Key {
    // SAFETY: the generation is from `generation_init`, and nothing else uses it meanwhile.
    guarded(null(), || match unsafe { (*generation).0.take() } {
        Some(key) => Arc::into_raw(key),
        None => null(),
    })
}

unsafe extern "C" fn generation_cleanup(generation: *mut Generation) {
    if !generation.is_null() {
        // SAFETY: the box from `generation_init`, freed once.
        guarded((), || unsafe { drop(Box::from_raw(generation)) });
    }
}

/// Creates an empty key, which cannot be filled. Without this function, libcrypto leaves an error in its queue when it tries to move
/// a key to this provider, and a later caller would report that error.
unsafe extern "C" fn new(_: *mut c_void) -> *const Key {
    guarded(null(), || Arc::into_raw(Arc::new(Key::empty())))
}

unsafe extern "C" fn free(key: *const Key) {
    if !key.is_null() {
        // SAFETY: the reference that the EVP_PKEY owned, released once.
        guarded((), || unsafe { drop(Arc::from_raw(key)) });
    }
}

unsafe extern "C" fn duplicate(key: *const Key, _selection: c_int) -> *const Key {
    // SAFETY: the EVP_PKEY that is duplicated owns a reference; the copy gets its own.
    unsafe { Arc::increment_strong_count(key) };
    key
}

unsafe extern "C" fn has(key: *const Key, selection: c_int) -> c_int {
    // SAFETY: libcrypto passes key data that is alive.
    let key = unsafe { &*key };
    (selection & (PRIVATE | PUBLIC) == 0 || !key.is_empty()).into()
}

unsafe extern "C" fn matches(a: *const Key, b: *const Key, selection: c_int) -> c_int {
    // SAFETY: libcrypto passes key data that is alive.
    let (a, b) = unsafe { (&*a, &*b) };
    (selection & (PRIVATE | PUBLIC) == 0 || (!a.is_empty() && a.has_same_public_key(b))).into()
}

unsafe extern "C" fn export(
    key: *const Key,
    selection: c_int,
    callback: Callback,
    argument: *mut c_void,
) -> c_int {
    guarded(0, || {
        // SAFETY: libcrypto passes key data that is alive.
        let key = unsafe { &*key };
        // Because the private key is not exported, libcrypto uses this provider for signatures.
        if selection & PRIVATE != 0 || key.is_empty() {
            return 0;
        }
        let (modulus, exponent) = key.public_key_native();
        let params = [
            Param::unsigned(c"n", &modulus),
            Param::unsigned(c"e", &exponent),
            Param::END,
        ];
        // SAFETY: the list outlives the call; the callback copies.
        unsafe { callback(params.as_ptr(), argument) }
    })
}

unsafe extern "C" fn export_types(selection: c_int) -> *const Param {
    static TYPES: [Param; 3] = [
        Param::describe(c"n", UNSIGNED),
        Param::describe(c"e", UNSIGNED),
        Param::END,
    ];
    if selection & PRIVATE != 0 {
        return null();
    }
    TYPES.as_ptr()
}

unsafe extern "C" fn get_params(key: *const Key, params: *mut Param) -> c_int {
    guarded(0, || {
        // SAFETY: libcrypto passes key data that is alive and a list to fill.
        let is_set = unsafe {
            let key = &*key;
            let (modulus, exponent) = key.public_key_native();
            let find = |name| Param::locate(params, name);
            find(c"bits").is_none_or(|p| p.set_int(key.bits()))
                && find(c"security-bits").is_none_or(|p| p.set_int(key.security_bits()))
                && find(c"max-size").is_none_or(|p| p.set_int(key.signature_size() as c_int))
                && find(c"default-digest").is_none_or(|p| p.set_text(c"SHA256"))
                && find(c"n").is_none_or(|p| p.set_unsigned(&modulus))
                && find(c"e").is_none_or(|p| p.set_unsigned(&exponent))
        };
        is_set.into()
    })
}

unsafe extern "C" fn gettable_params(_: *mut c_void) -> *const Param {
    static TYPES: [Param; 7] = [
        Param::describe(c"bits", INTEGER),
        Param::describe(c"security-bits", INTEGER),
        Param::describe(c"max-size", INTEGER),
        Param::describe(c"default-digest", UTF8_STRING),
        Param::describe(c"n", UNSIGNED),
        Param::describe(c"e", UNSIGNED),
        Param::END,
    ];
    TYPES.as_ptr()
}

pub static TABLE: &[Dispatch] = &[
    Dispatch(1, new as *const c_void),
    Dispatch(2, generation_init as *const c_void),
    Dispatch(4, generation_set_params as *const c_void),
    Dispatch(5, generation_settable_params as *const c_void),
    Dispatch(6, generate as *const c_void),
    Dispatch(7, generation_cleanup as *const c_void),
    Dispatch(10, free as *const c_void),
    Dispatch(11, get_params as *const c_void),
    Dispatch(12, gettable_params as *const c_void),
    Dispatch(21, has as *const c_void),
    Dispatch(23, matches as *const c_void),
    Dispatch(42, export as *const c_void),
    Dispatch(43, export_types as *const c_void),
    Dispatch(44, duplicate as *const c_void),
    Dispatch::END,
];
const PRIVATE: c_int = 1;
const PUBLIC: c_int = 2;
