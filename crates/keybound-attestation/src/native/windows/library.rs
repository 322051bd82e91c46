//! The library's C interface.
#![allow(unsafe_code, reason = "calls of Windows and of the library")]
use super::log_callback::{self, LogFunction, bounded};
use crate::native::arguments::{Arguments, parse_token};
use crate::native::log_line::{LineLimit, TARGET};
use crate::native::secret_c_string::SecretCString;
use crate::native::{Attested, NativeCode, NativeFailure};
use keybound_core::MAX_JWT;
use keybound_keys::CngHandle;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::io;
use std::marker::PhantomData;
use std::os::windows::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::ptr;
use tokio::sync::{Semaphore, SemaphorePermit};
use windows::Win32::Foundation::{FreeLibrary, HMODULE};
use windows::Win32::System::Diagnostics::Debug::{
    SEM_FAILCRITICALERRORS, SEM_NOOPENFILEERRORBOX, SetThreadErrorMode, THREAD_ERROR_MODE,
};
use windows::Win32::System::LibraryLoader::{
    GET_MODULE_HANDLE_EX_FLAG_FROM_ADDRESS, GET_MODULE_HANDLE_EX_FLAG_PIN, GetModuleHandleExW,
    GetProcAddress, LOAD_LIBRARY_SEARCH_APPLICATION_DIR, LOAD_LIBRARY_SEARCH_SYSTEM32,
    LoadLibraryExW,
};
use windows::core::{PCSTR, PCWSTR};

/// A loaded library and its functions. It is not unloaded.
pub(super) struct Module {
    handle: HMODULE,
    initialise: Initialise,
    attest: Attest,
    free: Free,
}

impl Module {
    /// Loads a verified copy of the file at `path`, which errors name. Its dependencies are loaded from System32 or the
    /// program's directory only: its own directory and the rest of the search order are not verified.
    ///
    /// # Errors
    /// [`NativeFailure::LoadFailed`] or [`NativeFailure::ExportMissing`].
    pub(super) fn load(copy: &Path, path: &Path) -> Result<Self, NativeFailure> {
        let wide: Vec<u16> = copy.as_os_str().encode_wide().chain([0]).collect();
        let flags = LOAD_LIBRARY_SEARCH_APPLICATION_DIR | LOAD_LIBRARY_SEARCH_SYSTEM32;
        let quiet = NoMessageBoxes::begin();
        // SAFETY: the path ends with NUL. Loading runs the file's code, which is why the file is verified, is in a directory that
        // others cannot write to, and is held open by the caller, who permits no writing and renaming.
        let handle = unsafe { LoadLibraryExW(PCWSTR(wide.as_ptr()), None, flags) };
        drop(quiet);
        let handle = handle.map_err(|error| not_loadable(path, &error))?;
        // SAFETY: the types are those of the library's C interface, as its other clients (MSAL .NET's) declare it.
        let functions = unsafe {
            (
                function::<Initialise>(handle, path, c"InitAttestationLib"),
                function::<Attest>(handle, path, c"AttestKeyGuardImportKey"),
                function::<Free>(handle, path, c"FreeAttestationToken"),
            )
        };
        match functions {
            (Ok(initialise), Ok(attest), Ok(free)) => Ok(Self {
                handle,
                initialise,
                attest,
                free,
            }),
            (Err(missing), ..) | (_, Err(missing), _) | (.., Err(missing)) => {
                // SAFETY: the handle is from this load, and nothing refers to the library. Only its entry point was called, by
                // Windows, which also calls it for the unloading.
                let _ = unsafe { FreeLibrary(handle) };
                Err(missing)
            }
        }
    }

    /// Starts it. From now on it may call back, so neither it nor the code of the callback is ever unloaded, and
    /// `UninitAttestationLib` is never called. It also stays loaded if it does not start.
    ///
    /// # Errors
    /// [`NativeFailure::StartFailed`], or [`NativeFailure::CallFailed`] if Windows cannot pin them.
    pub(super) fn start(self) -> Result<&'static Library, NativeFailure> {
        pin(log_callback::log as *const c_void)?;
        pin(self.handle.0)?;
        // Leaked: small, and one for each start.
        let lines: &'static LineLimit = Box::leak(Box::new(LineLimit::new()));
        let information = Box::leak(Box::new(LogInformation {
            log: log_callback::log,
            context: ptr::from_ref(lines).cast_mut().cast(),
        }));
        // SAFETY: the function is the library's; its argument is static, the code of the callback is pinned, and the context
        // has the type that the callback expects.
        let code = NativeCode::new(unsafe { (self.initialise)(information) });
        log_suppressed(lines);
        if !code.is_success() {
            return Err(NativeFailure::StartFailed(code));
        }
        Ok(Box::leak(Box::new(Library {
            attest: self.attest,
            free: self.free,
            lines,
            calls: Semaphore::new(1),
        })))
    }
}

/// A started library; it exists until the process ends.
pub(super) struct Library {
    attest: Attest,
    free: Free,
    lines: &'static LineLimit,
    calls: Semaphore,
}

impl Library {
    /// Waits for the end of other calls: concurrent calls are not documented as safe.
    pub(super) async fn acquire(&'static self) -> Result<SemaphorePermit<'static>, NativeFailure> {
        self.calls.acquire().await.map_err(|_| super::CLOSED)
    }

    /// Attests a key and releases the permit. It blocks until the library returns.
    pub(super) fn attest(
        &self,
        _permit: SemaphorePermit<'static>,
        arguments: &Arguments,
        key: &CngHandle,
    ) -> Attested {
        log_suppressed(self.lines);
        let mut token = Token {
            text: ptr::null_mut(),
            free: self.free,
        };
        // SAFETY: the function is the library's, and calls are serialized by the permit; each text is NULL if the library's
        // other clients pass NULL too, or ends with NUL; texts, the key (which the handle keeps open) and the pointer for the
        // token are valid during the call.
        let code = NativeCode::new(unsafe {
            (self.attest)(
                arguments.endpoint.as_ptr(),
                pointer_to(arguments.auth_token.as_ref()),
                pointer_to(arguments.client_payload.as_ref()),
                key.raw(),
                &raw mut token.text,
                arguments.client_id.as_ptr(),
            )
        });
        log_suppressed(self.lines);
        if !code.is_success() {
            // The token is not read: after a failure it may point to anything.
            return Err(NativeFailure::LibraryFailed(code));
        }
        token.read()
    }
}

/// NULL for `None`.
fn pointer_to(text: Option<&SecretCString>) -> *const c_char {
    text.map_or(ptr::null(), |text| text.as_bytes_with_nul().as_ptr().cast())
}

/// The token of the library, or NULL. Freed by the library on drop.
struct Token {
    text: *mut c_char,
    free: Free,
}

impl Token {
    fn read(&self) -> Attested {
        // SAFETY: the call succeeded: the pointer is NULL or a C string, which is valid until it is freed.
        match unsafe { bounded(self.text, MAX_JWT + 1) } {
            Some(bytes) => parse_token(bytes),
            None => Err(NativeFailure::NoToken("returned no token")),
        }
    }
}

impl Drop for Token {
    fn drop(&mut self) {
        if !self.text.is_null() {
            // SAFETY: it was NULL before the call, so the library has set it; it is freed once. After a failure too, as MSAL .NET
            // does.
            unsafe { (self.free)(self.text) };
        }
    }
}

/// `AttestationLogInfo`.
#[repr(C)]
struct LogInformation {
    log: LogFunction,
    context: *mut c_void,
}

type Initialise = unsafe extern "C" fn(*mut LogInformation) -> c_int;
type Attest = unsafe extern "C" fn(
    endpoint: *const c_char,
    auth_token: *const c_char,
    client_payload: *const c_char,
    key: usize,
    token: *mut *mut c_char,
    client_id: *const c_char,
) -> c_int;
type Free = unsafe extern "C" fn(*mut c_char);

/// # Safety
/// `F` is the type of a pointer to the function with this name.
unsafe fn function<F: Copy>(
    module: HMODULE,
    path: &Path,
    name: &'static CStr,
) -> Result<F, NativeFailure> {
    const { assert!(size_of::<F>() == size_of::<usize>()) };
    // SAFETY: the module is loaded, the name ends with NUL.
    let found = unsafe { GetProcAddress(module, PCSTR(name.as_ptr().cast())) };
    match found {
        // SAFETY: both are function pointers of the same size; the caller guarantees the type.
        Some(found) => Ok(unsafe { std::mem::transmute_copy(&found) }),
        None => Err(NativeFailure::ExportMissing {
            path: path.to_owned(),
            name: name.to_str().unwrap_or_default(),
        }),
    }
}

/// Pins the module that contains this address until the process ends.
fn pin(address: *const c_void) -> Result<(), NativeFailure> {
    let mut module = HMODULE::default();
    let flags = GET_MODULE_HANDLE_EX_FLAG_FROM_ADDRESS | GET_MODULE_HANDLE_EX_FLAG_PIN;
    // SAFETY: with these flags the name is an address, which is compared with those of modules and not read; the pointer for
    // the module's handle is valid.
    unsafe { GetModuleHandleExW(flags, PCWSTR(address.cast()), &raw mut module) }.map_err(|error| {
        tracing::debug!(%error, "a module could not be pinned");
        NativeFailure::CallFailed("the attestation library could not be pinned in memory")
    })
}

fn log_suppressed(lines: &LineLimit) {
    match lines.reset() {
        0 => {}
        count => {
            tracing::warn!(target: TARGET, count, "log lines of the attestation library suppressed")
        }
    }
}

fn not_loadable(path: &Path, error: &windows::core::Error) -> NativeFailure {
    let code = error.code().0 & 0xffff;
    let reason = match code {
        126 => {
            "a library that it needs is missing: install the Microsoft Visual C++ Redistributable"
        }
        127 => {
            "a library that it needs is too old: install the Microsoft Visual C++ Redistributable"
        }
        193 => "it is damaged, or of another architecture than this program",
        225 => "the virus scanner blocked it",
        1114 => "its initialisation failed",
        1260 | 4551 => "a policy of this host blocked it",
        _ => "Windows did not load it",
    };
    NativeFailure::LoadFailed {
        path: PathBuf::from(path),
        reason,
        cause: io::Error::from_raw_os_error(code).into(),
    }
}

/// Disables message boxes of Windows on this thread. Not `Send`.
struct NoMessageBoxes {
    previous: Option<THREAD_ERROR_MODE>,
    _not_send: PhantomData<*const ()>,
}

impl NoMessageBoxes {
    fn begin() -> Self {
        let mut previous = THREAD_ERROR_MODE::default();
        let mode = SEM_FAILCRITICALERRORS | SEM_NOOPENFILEERRORBOX;
        // SAFETY: the pointer for the previous mode is valid. If the call fails, message boxes may appear.
        let changed = unsafe { SetThreadErrorMode(mode, Some(&raw mut previous)) };
        Self {
            previous: changed.ok().map(|()| previous),
            _not_send: PhantomData,
        }
    }
}

impl Drop for NoMessageBoxes {
    fn drop(&mut self) {
        if let Some(previous) = self.previous {
            // SAFETY: the mode is the previous one of this thread; no pointer is passed.
            let _ = unsafe { SetThreadErrorMode(previous, None) };
        }
    }
}
