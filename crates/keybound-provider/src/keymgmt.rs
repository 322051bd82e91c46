//! RSA key management. Key data is an `Arc<Key>` whose one reference for each `EVP_PKEY` goes when that is freed.
//!
//! A key gets here by "generation" with the handle of an [`Offer`] as the parameter [`KEY_PARAM`]. The handle is a random
//! number and nothing else: other values of that parameter (`openssl genpkey -pkeyopt` sets it from text) yield no
//! key, and no address is dereferenced. There is no import, so
//! libcrypto cannot move foreign keys here: certificates and ordinary keys stay with the other providers.
use crate::Key;
use crate::abi::{Callback, Dispatch, INTEGER, OCTETS, Param, UNSIGNED, UTF8_STRING, guarded};
use std::ffi::{CStr, c_int, c_void};
use std::ptr::{null, null_mut};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Names the parameter that holds the handle of an [`Offer`].
pub const KEY_PARAM: &CStr = c"keybound-key";

/// A key that a generation may take, while the value lives.
pub struct Offer(Handle);

type Handle = [u8; 16];

static OFFERED: Mutex<Vec<(Handle, Arc<Key>)>> = Mutex::new(Vec::new());

impl Offer {
    /// Offers a key under an unguessable handle.
    pub fn new(handle: Handle, key: Arc<Key>) -> Self {
        offered().push((handle, key));
        Self(handle)
    }

    /// The handle, as the value of [`KEY_PARAM`].
    pub fn handle(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Offer {
    fn drop(&mut self) {
        offered().retain(|(handle, _)| *handle != self.0);
    }
}

fn offered() -> MutexGuard<'static, Vec<(Handle, Arc<Key>)>> {
    OFFERED.lock().unwrap_or_else(PoisonError::into_inner)
}

fn key_of(handle: &[u8]) -> Option<Arc<Key>> {
    let offered = offered();
    let found = offered.iter().find(|(known, _)| known[..] == *handle);
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
        // SAFETY: just made; the list is passed on.
        unsafe { generation_set_params(generation, params) };
        generation
    })
}

unsafe extern "C" fn generation_set_params(
    generation: *mut Generation,
    params: *mut Param,
) -> c_int {
    guarded(0, || {
        // SAFETY: the list is one of libcrypto's; what it holds is only read.
        if let Some(param) = unsafe { Param::locate(params, KEY_PARAM) } {
            // SAFETY: an entry describes its buffer truthfully.
            let Some(key) = unsafe { param.octets() }.and_then(key_of) else {
                return 0;
            };
            // SAFETY: the generation is ours, and nothing else uses it meanwhile.
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
    // SAFETY: the generation is ours, and nothing else uses it meanwhile.
    guarded(null(), || match unsafe { (*generation).0.take() } {
        Some(key) => Arc::into_raw(key),
        None => null(),
    })
}

unsafe extern "C" fn generation_cleanup(generation: *mut Generation) {
    if !generation.is_null() {
        // SAFETY: the box made by `generation_init`, given back once.
        guarded((), || unsafe { drop(Box::from_raw(generation)) });
    }
}

/// An empty key. Nothing can be put into it; it is there because libcrypto, where it wants to move a key here and finds
/// no such function, leaves an error on its queue that a later caller would take for its own.
unsafe extern "C" fn new(_: *mut c_void) -> *const Key {
    guarded(null(), || Arc::into_raw(Arc::new(Key::empty())))
}

unsafe extern "C" fn free(key: *const Key) {
    if !key.is_null() {
        // SAFETY: the reference that the EVP_PKEY owned, given back once.
        guarded((), || unsafe { drop(Arc::from_raw(key)) });
    }
}

unsafe extern "C" fn duplicate(key: *const Key, _selection: c_int) -> *const Key {
    // SAFETY: the EVP_PKEY that is being duplicated owns a reference; the copy gets its own.
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
    (selection & (PRIVATE | PUBLIC) == 0 || (!a.is_empty() && a.has_same_public_half(b))).into()
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
        // Refusing the private half is also what makes libcrypto come to this provider for signatures.
        if selection & PRIVATE != 0 || key.is_empty() {
            return 0;
        }
        let (modulus, exponent) = key.public_half_native();
        let params = [
            Param::unsigned(c"n", &modulus),
            Param::unsigned(c"e", &exponent),
            Param::END,
        ];
        // SAFETY: the list lives through the call; the callback copies.
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
        let answered = unsafe {
            let key = &*key;
            let (modulus, exponent) = key.public_half_native();
            let find = |name| Param::locate(params, name);
            find(c"bits").is_none_or(|p| p.answer_int(key.bits()))
                && find(c"security-bits").is_none_or(|p| p.answer_int(key.security_bits()))
                && find(c"max-size").is_none_or(|p| p.answer_int(key.signature_size() as c_int))
                && find(c"default-digest").is_none_or(|p| p.answer_text(c"SHA256"))
                && find(c"n").is_none_or(|p| p.answer_unsigned(&modulus))
                && find(c"e").is_none_or(|p| p.answer_unsigned(&exponent))
        };
        answered.into()
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
