//! The part of OpenSSL's provider interface (`core.h`, `core_dispatch.h`) that the provider uses, stable since 3.0.
use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::{null, null_mut};

/// `OSSL_CALLBACK`: receives exported parameters.
pub type Callback = unsafe extern "C" fn(*const Param, *mut c_void) -> c_int;

/// `OSSL_DISPATCH`: a function by its number. Number 0 ends a table.
#[repr(C)]
#[derive(Clone, Copy)]
#[expect(clippy::exhaustive_structs, reason = "OpenSSL defines its layout")]
pub struct Dispatch(pub c_int, pub *const c_void);

// SAFETY: tables are constants of function addresses.
unsafe impl Sync for Dispatch {}

impl Dispatch {
    pub(crate) const END: Self = Self(0, null());
}

/// `OSSL_ALGORITHM`: names, properties, functions, description.
#[repr(C)]
pub struct Algorithm(*const c_char, *const c_char, *const Dispatch, *const c_char);

// SAFETY: tables are constants of addresses of constants.
unsafe impl Sync for Algorithm {}

impl Algorithm {
    pub const END: Self = Self(null(), null(), null(), null());

    pub const fn new(
        names: &'static CStr,
        properties: &'static CStr,
        table: &'static [Dispatch],
    ) -> Self {
        Self(names.as_ptr(), properties.as_ptr(), table.as_ptr(), null())
    }
}

/// `OSSL_ITEM`: an error reason by its number.
#[repr(C)]
pub struct Item(c_uint, *const c_char);

// SAFETY: tables are constants of addresses of constants.
unsafe impl Sync for Item {}

impl Item {
    pub const END: Self = Self(0, null());

    pub const fn new(number: u32, text: &'static CStr) -> Self {
        Self(number, text.as_ptr())
    }
}

/// `OSSL_PARAM`: a named value, or the description of one.
#[repr(C)]
pub struct Param {
    key: *const c_char,
    kind: c_uint,
    data: *mut c_void,
    size: usize,
    returned: usize,
}

// SAFETY: constants contain descriptions only, which point to names.
unsafe impl Sync for Param {}

impl Param {
    /// Ends a list of parameters.
    pub const END: Self = Self {
        key: null(),
        kind: 0,
        data: null_mut(),
        size: 0,
        returned: 0,
    };

    pub(crate) const fn describe(key: &'static CStr, kind: c_uint) -> Self {
        Self {
            key: key.as_ptr(),
            kind,
            ..Self::END
        }
    }

    /// An unsigned integer in the host's byte order.
    pub(crate) fn unsigned(key: &'static CStr, native: &[u8]) -> Self {
        Self {
            key: key.as_ptr(),
            kind: UNSIGNED,
            data: native.as_ptr().cast_mut().cast(),
            size: native.len(),
            returned: usize::MAX,
        }
    }

    /// Bytes.
    pub fn bytes(key: &'static CStr, value: &[u8]) -> Self {
        Self {
            kind: OCTETS,
            ..Self::unsigned(key, value)
        }
    }

    /// Finds a parameter in a list.
    ///
    /// # Safety
    /// `list` is null or ends with [`END`](Self::END), and nothing else uses it while the result lives.
    pub(crate) unsafe fn locate<'a>(mut list: *mut Self, key: &CStr) -> Option<&'a mut Self> {
        // SAFETY: by contract each entry up to the one without a key is valid, and keys are C strings.
        unsafe {
            while !list.is_null() && !(*list).key.is_null() {
                if CStr::from_ptr((*list).key) == key {
                    return Some(&mut *list);
                }
                list = list.add(1);
            }
        }
        None
    }

    /// The value as text; an integer as a decimal number, as OpenSSL passes settings in either form.
    ///
    /// # Safety
    /// The entry describes its data truthfully.
    pub(crate) unsafe fn text(&self) -> Option<String> {
        if self.data.is_null() {
            return None;
        }
        // SAFETY: kind and size describe the data; integers may be unaligned.
        let bytes = unsafe {
            match (self.kind, self.size) {
                (UTF8_STRING, size) => {
                    let all = std::slice::from_raw_parts(self.data.cast::<u8>(), size);
                    all.split(|byte| *byte == 0).next().unwrap_or_default()
                }
                (UTF8_POINTER, _) => {
                    let pointer = *self.data.cast::<*const c_char>();
                    if pointer.is_null() {
                        return None;
                    }
                    CStr::from_ptr(pointer).to_bytes()
                }
                (INTEGER | UNSIGNED, 4) => {
                    return Some(self.data.cast::<i32>().read_unaligned().to_string());
                }
                (INTEGER | UNSIGNED, 8) => {
                    return Some(self.data.cast::<i64>().read_unaligned().to_string());
                }
                _ => return None,
            }
        };
        std::str::from_utf8(bytes).ok().map(str::to_owned)
    }

    /// The value as bytes; `None` for other types.
    ///
    /// # Safety
    /// The entry describes its buffer truthfully, and the buffer outlives the result.
    pub(crate) unsafe fn octets(&self) -> Option<&[u8]> {
        if self.kind != OCTETS || self.data.is_null() {
            return None;
        }
        // SAFETY: by contract.
        Some(unsafe { std::slice::from_raw_parts(self.data.cast::<u8>(), self.size) })
    }

    /// Writes an integer to the caller's buffer. False if it is too small.
    ///
    /// # Safety
    /// The entry describes its buffer truthfully.
    pub(crate) unsafe fn set_int(&mut self, value: i32) -> bool {
        // SAFETY: by contract.
        unsafe {
            match (self.kind, self.size) {
                (INTEGER | UNSIGNED, 8) => self.put(&i64::from(value).to_ne_bytes()),
                (INTEGER | UNSIGNED, _) => self.put(&value.to_ne_bytes()),
                _ => false,
            }
        }
    }

    /// Writes an unsigned integer, in the host's byte order, to the caller's buffer.
    ///
    /// # Safety
    /// As [`set_int`](Self::set_int).
    pub(crate) unsafe fn set_unsigned(&mut self, native: &[u8]) -> bool {
        // SAFETY: by contract. On little-endian hosts the number ends with its most significant byte, and zeros may follow; on
        // big-endian hosts the caller must pass the exact length.
        unsafe {
            self.kind == UNSIGNED
                && (cfg!(target_endian = "little")
                    || self.data.is_null()
                    || self.size == native.len())
                && self.put(native)
        }
    }

    /// Writes text to the caller's buffer, or its address.
    ///
    /// # Safety
    /// As [`set_int`](Self::set_int).
    pub(crate) unsafe fn set_text(&mut self, value: &'static CStr) -> bool {
        match self.kind {
            UTF8_POINTER if !self.data.is_null() => {
                self.returned = value.count_bytes();
                // SAFETY: data of this kind is a pointer to write.
                unsafe { self.data.cast::<*const c_char>().write(value.as_ptr()) };
                true
            }
            // SAFETY: by contract.
            UTF8_STRING => unsafe { self.put(value.to_bytes()) },
            _ => false,
        }
    }

    /// Copies to the caller's buffer and clears its remainder; without a buffer, only sets the length.
    unsafe fn put(&mut self, bytes: &[u8]) -> bool {
        self.returned = bytes.len();
        if self.data.is_null() {
            return true;
        }
        if self.size < bytes.len() {
            return false;
        }
        // SAFETY: the buffer has `size` bytes, checked above.
        unsafe {
            let out = self.data.cast::<u8>();
            out.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len());
            out.add(bytes.len()).write_bytes(0, self.size - bytes.len());
        }
        true
    }
}

/// Runs the body of a callback. A panic returns the failure value and does not unwind into C.
pub fn guarded<T>(failure: T, body: impl FnOnce() -> T) -> T {
    catch_unwind(AssertUnwindSafe(body)).unwrap_or(failure)
}

pub const INTEGER: c_uint = 1;
pub const UNSIGNED: c_uint = 2;
pub const UTF8_STRING: c_uint = 4;
pub const OCTETS: c_uint = 5;
const UTF8_POINTER: c_uint = 6;
