//! The provider's entry, its tables, and what it keeps for each library context that it is loaded into.
use crate::abi::{Algorithm, Dispatch, INTEGER, Item, Param, UTF8_STRING, guarded};
use crate::{keymgmt, signature};
use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::ptr::null;

/// The name under which the provider is loaded; its errors carry it as their library.
pub const NAME: &CStr = c"keyboundbridge";
/// Selects the provider's algorithms.
pub const PROPERTIES: &CStr = c"provider=keyboundbridge";

/// What one library context hands to the provider.
pub struct Module {
    handle: *const c_void,
    new_error: Option<unsafe extern "C" fn(*const c_void)>,
    set_error: Option<unsafe extern "C" fn(*const c_void, c_uint, *const c_char, *mut c_void)>,
}

/// Why an operation failed, as OpenSSL's error queue shows it. The words are fixed: nothing of a key or of what its
/// provider said gets there.
#[derive(Clone, Copy)]
#[repr(u32)]
pub enum Reason {
    DidNotSign = 1,
    WrongLength = 2,
    Unsupported = 3,
    Panicked = 4,
}

impl Module {
    /// Reads the functions that libcrypto offers.
    ///
    /// # Safety
    /// The arguments are those that libcrypto calls a provider's entry with.
    unsafe fn new(handle: *const c_void, mut offered: *const Dispatch) -> Self {
        let mut module = Self {
            handle,
            new_error: None,
            set_error: None,
        };
        // SAFETY: the list ends with number 0; the numbers fix the types of the functions (core_dispatch.h).
        unsafe {
            while !offered.is_null() && (*offered).0 != 0 {
                let function = (*offered).1;
                match (*offered).0 {
                    CORE_NEW_ERROR => {
                        module.new_error = std::mem::transmute::<
                            *const c_void,
                            Option<unsafe extern "C" fn(*const c_void)>,
                        >(function);
                    }
                    CORE_VSET_ERROR => {
                        module.set_error = std::mem::transmute::<
                            *const c_void,
                            Option<
                                unsafe extern "C" fn(
                                    *const c_void,
                                    c_uint,
                                    *const c_char,
                                    *mut c_void,
                                ),
                            >,
                        >(function);
                    }
                    _ => {}
                }
                offered = offered.add(1);
            }
        }
        module
    }

    /// Puts a reason on the calling thread's error queue.
    pub fn raise(&self, reason: Reason) {
        if let (Some(new_error), Some(set_error)) = (self.new_error, self.set_error) {
            // Some ABIs pass an argument list by reference and copy it on the way, though without a format it is not
            // read: it must be memory, longer than any such list.
            let mut no_arguments = [0u64; 8];
            // SAFETY: both functions come from the context that the handle belongs to; see above for the list.
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

/// The provider's entry (`OSSL_provider_init_fn`).
///
/// # Safety
/// To be called by libcrypto only.
pub unsafe extern "C" fn init(
    handle: *const c_void,
    offered: *const Dispatch,
    table: *mut *const Dispatch,
    context: *mut *mut c_void,
) -> c_int {
    guarded(0, || {
        // SAFETY: libcrypto passes its own list and two slots to fill.
        unsafe {
            let module = Module::new(handle, offered);
            *context = Box::into_raw(Box::new(module)).cast();
            *table = PROVIDER.as_ptr();
        }
        1
    })
}

unsafe extern "C" fn teardown(module: *mut Module) {
    // SAFETY: the box made by `init`, given back once.
    guarded((), || unsafe { drop(Box::from_raw(module)) });
}

unsafe extern "C" fn query(
    _: *mut c_void,
    operation: c_int,
    no_cache: *mut c_int,
) -> *const Algorithm {
    // SAFETY: libcrypto passes a slot to fill.
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
    let answered = unsafe {
        Param::locate(params, c"name").is_none_or(|p| p.answer_text(c"Keybound key bridge"))
            && Param::locate(params, c"version").is_none_or(|p| p.answer_text(VERSION))
            && Param::locate(params, c"status").is_none_or(|p| p.answer_int(1))
    };
    answered.into()
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
            c"the key does not sign in this way",
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
