//! The provider's entry function, its tables, and its context for each library context that loads it.
use crate::abi::{Algorithm, Dispatch, INTEGER, Item, Param, UTF8_STRING, guarded};
use crate::{keymgmt, signature};
use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::mem::transmute;
use std::ptr::null;

/// The name of the provider, which is the library of its errors.
pub const NAME: &CStr = c"keyboundbridge";
/// Selects the provider's algorithms.
pub const PROPERTIES: &CStr = c"provider=keyboundbridge";

/// The functions of the library context that loaded the provider.
pub struct ProviderContext {
    handle: *const c_void,
    new_error: Option<NewError>,
    set_error: Option<SetError>,
}

/// `OSSL_FUNC_core_new_error_fn`.
type NewError = unsafe extern "C" fn(*const c_void);

/// `OSSL_FUNC_core_vset_error_fn`.
type SetError = unsafe extern "C" fn(*const c_void, c_uint, *const c_char, *mut c_void);

/// The reason for a failed operation in OpenSSL's error queue. The texts are fixed: they contain nothing of the key or its error.
#[derive(Clone, Copy)]
#[repr(u32)]
pub enum Reason {
    DidNotSign = 1,
    WrongLength = 2,
    Unsupported = 3,
    Panicked = 4,
}

impl ProviderContext {
    /// Reads the functions that libcrypto passes.
    ///
    /// # Safety
    /// The arguments are those with which libcrypto calls a provider's entry function.
    unsafe fn new(handle: *const c_void, mut functions: *const Dispatch) -> Self {
        let mut context = Self {
            handle,
            new_error: None,
            set_error: None,
        };
        // SAFETY: the list ends with number 0; the numbers fix the types of the functions (core_dispatch.h).
        unsafe {
            while !functions.is_null() && (*functions).0 != 0 {
                let function = (*functions).1;
                match (*functions).0 {
                    CORE_NEW_ERROR => {
                        context.new_error = transmute::<*const c_void, Option<NewError>>(function);
                    }
                    CORE_VSET_ERROR => {
                        context.set_error = transmute::<*const c_void, Option<SetError>>(function);
                    }
                    _ => {}
                }
                functions = functions.add(1);
            }
        }
        context
    }

    /// Adds a reason to the calling thread's error queue.
    pub fn raise(&self, reason: Reason) {
        if let (Some(new_error), Some(set_error)) = (self.new_error, self.set_error) {
            // Some ABIs pass an argument list by reference and copy it, though without a format it is not read: it must be
            // readable memory, longer than any such list.
            let mut no_arguments = [0u64; 8];
            // SAFETY: both functions come from the library context of the handle; see above for the list.
            unsafe {
                new_error(self.handle);
                set_error(
                    self.handle,
                    reason as c_uint,
                    null(),
                    no_arguments.as_mut_ptr().cast(),
                );
            }
        }
    }
}

/// The provider's entry function (`OSSL_provider_init_fn`).
///
/// # Safety
/// Only libcrypto may call it.
pub unsafe extern "C" fn init(
    handle: *const c_void,
    functions: *const Dispatch,
    table: *mut *const Dispatch,
    context: *mut *mut c_void,
) -> c_int {
    guarded(0, || {
        // SAFETY: libcrypto passes its list of functions and two pointers to write.
        unsafe {
            let provider = ProviderContext::new(handle, functions);
            *context = Box::into_raw(Box::new(provider)).cast();
            *table = PROVIDER.as_ptr();
        }
        1
    })
}

unsafe extern "C" fn teardown(module: *mut ProviderContext) {
    // SAFETY: the box from `init`, freed once.
    guarded((), || unsafe { drop(Box::from_raw(module)) });
}

unsafe extern "C" fn query(
    _: *mut c_void,
    operation: c_int,
    no_cache: *mut c_int,
) -> *const Algorithm {
    // SAFETY: libcrypto passes a pointer to write.
    unsafe { *no_cache = 0 };
    match operation {
        OP_KEYMGMT => KEYMGMT.as_ptr(),
        OP_SIGNATURE => SIGNATURE.as_ptr(),
        _ => null(),
    }
}

unsafe extern "C" fn gettable_params(_: *mut c_void) -> *const Param {
    static TYPES: [Param; 4] = [
        Param::describe(c"name", UTF8_STRING),
        Param::describe(c"version", UTF8_STRING),
        Param::describe(c"status", INTEGER),
        Param::END,
    ];
    TYPES.as_ptr()
}

unsafe extern "C" fn get_params(_: *mut c_void, params: *mut Param) -> c_int {
    // SAFETY: libcrypto passes a list to fill.
    let is_set = unsafe {
        Param::locate(params, c"name").is_none_or(|p| p.set_text(c"Keybound key provider"))
            && Param::locate(params, c"version").is_none_or(|p| p.set_text(VERSION))
            && Param::locate(params, c"status").is_none_or(|p| p.set_int(1))
    };
    is_set.into()
}

unsafe extern "C" fn reason_strings(_: *mut c_void) -> *const Item {
    static REASONS: [Item; 5] = [
        Item::new(Reason::DidNotSign as u32, c"the key did not sign"),
        Item::new(
            Reason::WrongLength as u32,
            c"the key's signature has a wrong length",
        ),
        Item::new(
            Reason::Unsupported as u32,
            c"the key does not support the signature parameters",
        ),
        Item::new(Reason::Panicked as u32, c"the key panicked while signing"),
        Item::END,
    ];
    REASONS.as_ptr()
}

static PROVIDER: [Dispatch; 6] = [
    Dispatch(1024, teardown as *const c_void),
    Dispatch(1025, gettable_params as *const c_void),
    Dispatch(1026, get_params as *const c_void),
    Dispatch(1027, query as *const c_void),
    Dispatch(1029, reason_strings as *const c_void),
    Dispatch::END,
];
static KEYMGMT: [Algorithm; 2] = [
    Algorithm::new(RSA, PROPERTIES, keymgmt::TABLE),
    Algorithm::END,
];
static SIGNATURE: [Algorithm; 2] = [
    Algorithm::new(RSA, PROPERTIES, signature::TABLE),
    Algorithm::END,
];
const RSA: &CStr = c"RSA:rsaEncryption:1.2.840.113549.1.1.1";
const VERSION: &CStr =
    match CStr::from_bytes_with_nul(concat!(env!("CARGO_PKG_VERSION"), "\0").as_bytes()) {
        Ok(version) => version,
        Err(_) => c"",
    };
const OP_KEYMGMT: c_int = 10;
const OP_SIGNATURE: c_int = 12;
const CORE_NEW_ERROR: c_int = 5;
const CORE_VSET_ERROR: c_int = 7;
