//! The library's C interface.
#![allow(unsafe_code, reason = "calls of Windows and of the library")]
use super::callback::{self, LogFunction, bounded};
use crate::native::exchange::{self, Question};
use crate::native::lines::{Allowance, TARGET};
use crate::native::text::Text;
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

/// A library that is loaded and has its functions. It stays loaded.
pub(super) struct Module {
    handle: HMODULE,
    initialise: Initialise,
    attest: Attest,
    free: Free,
}

impl Module {
    /// Loads a copy that was checked, of the file at `path`, which errors name. What it needs besides comes from System32 or the program's folder only: its own
    /// folder and the rest of the search order were not checked.
    ///
    /// # Errors
    /// [`NativeFailure::NotLoadable`] or [`NativeFailure::ExportMissing`].
    pub(super) fn load(copy: &Path, path: &Path) -> Result<Self, NativeFailure> {
        let wide: Vec<u16> = copy.as_os_str().encode_wide().chain([0]).collect();
        let flags = LOAD_LIBRARY_SEARCH_APPLICATION_DIR | LOAD_LIBRARY_SEARCH_SYSTEM32;
        let quiet = Quiet::begin();
        // SAFETY: the path is ended by NUL. Loading runs the file's code, which is why the file was checked, is in a
        // folder that others cannot write to, and is held open by the caller, without leave to write or rename it.
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
                // SAFETY: the handle is of this load, and nothing of the library is kept. Of its functions only its entry was
                // called, by Windows, which tells that of the unloading, too.
                let _ = unsafe { FreeLibrary(handle) };
                Err(missing)
            }
        }
    }

    /// Starts it. From now on it may call back, so that neither it nor the code that it calls is ever unloaded, and
    /// `UninitAttestationLib` is never called. Where it does not start, it stays loaded too.
    ///
    /// # Errors
    /// [`NativeFailure::NotStarted`], or [`NativeFailure::NotCalled`] where Windows does not promise to keep them.
    pub(super) fn start(self) -> Result<&'static Library, NativeFailure> {
        pin(callback::log as *const c_void)?;
        pin(self.handle.0)?;
        // Few and small: one for each start, and a start that fails is rare.
        let lines: &'static Allowance = Box::leak(Box::new(Allowance::new()));
        let information = Box::leak(Box::new(LogInformation {
            log: callback::log,
            context: ptr::from_ref(lines).cast_mut().cast(),
        }));
        // SAFETY: the function is the library's; what it gets lives for ever, the code that it calls back does too, and
        // its context is of the type which that expects.
        let code = NativeCode::new(unsafe { (self.initialise)(information) });
        tell_left_out(lines);
        if !code.is_success() {
            return Err(NativeFailure::NotStarted(code));
        }
        Ok(Box::leak(Box::new(Library {
            attest: self.attest,
            free: self.free,
            lines,
            turn: Semaphore::new(1),
        })))
    }
}

/// A library that is started, for the life of the process.
pub(super) struct Library {
    attest: Attest,
    free: Free,
    lines: &'static Allowance,
    turn: Semaphore,
}

impl Library {
    /// Waits until nobody else calls: nothing says that the library can be called twice at once.
    pub(super) async fn turn(&'static self) -> Result<SemaphorePermit<'static>, NativeFailure> {
        self.turn.acquire().await.map_err(|_| super::CLOSED)
    }

    /// Has a key attested; the turn ends with it. It blocks for as long as the library likes.
    pub(super) fn attest(
        &self,
        _turn: SemaphorePermit<'static>,
        question: &Question,
        key: &CngHandle,
    ) -> Attested {
        tell_left_out(self.lines);
        let mut token = Token {
            text: ptr::null_mut(),
            free: self.free,
        };
        // SAFETY: the function is the library's, and nobody else calls it (the turn); each text is NULL where the library's
        // other clients pass NULL too, or ended by NUL, and lives through the call, as do the key (the handle keeps it open) and the place for the token.
        let code = NativeCode::new(unsafe {
            (self.attest)(
                question.endpoint.as_ptr(),
                pointer_to(question.auth_token.as_ref()),
                pointer_to(question.client_payload.as_ref()),
                key.raw(),
                &raw mut token.text,
                question.client_id.as_ptr(),
            )
        });
        tell_left_out(self.lines);
        if !code.is_success() {
            // What the token points to is not looked at: after a failure it need not be text.
            return Err(NativeFailure::Answered(code));
        }
        token.read()
    }
}

/// NULL where there is none.
fn pointer_to(text: Option<&Text>) -> *const c_char {
    text.map_or(ptr::null(), |text| text.as_bytes_with_nul().as_ptr().cast())
}

/// What the library gave, or NULL; given back to it when dropped.
struct Token {
    text: *mut c_char,
    free: Free,
}

impl Token {
    fn read(&self) -> Attested {
        // SAFETY: the library said that it succeeded: the pointer is NULL or a C string, which is its own until it is
        // given back.
        match unsafe { bounded(self.text, MAX_JWT + 1) } {
            Some(bytes) => exchange::token(bytes),
            None => Err(NativeFailure::NoToken("it gave no token")),
        }
    }
}

impl Drop for Token {
    fn drop(&mut self) {
        if !self.text.is_null() {
            // SAFETY: it was NULL before the call, so that the library set it; it is given back once. After a failure too:
            // MSAL .NET does it, and code that sets the pointer has to expect it.
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
/// `F` is the type of a pointer to the function of this name.
unsafe fn function<F: Copy>(
    module: HMODULE,
    path: &Path,
    name: &'static CStr,
) -> Result<F, NativeFailure> {
    const { assert!(size_of::<F>() == size_of::<usize>()) };
    // SAFETY: the module is loaded, the name ended by NUL.
    let found = unsafe { GetProcAddress(module, PCSTR(name.as_ptr().cast())) };
    match found {
        // SAFETY: both are pointers to a function, of one size; the caller says that the type is the function's.
        Some(found) => Ok(unsafe { std::mem::transmute_copy(&found) }),
        None => Err(NativeFailure::ExportMissing {
            path: path.to_owned(),
            name: name.to_str().unwrap_or_default(),
        }),
    }
}

/// Keeps the module that holds this address for the life of the process.
fn pin(address: *const c_void) -> Result<(), NativeFailure> {
    let mut module = HMODULE::default();
    let flags = GET_MODULE_HANDLE_EX_FLAG_FROM_ADDRESS | GET_MODULE_HANDLE_EX_FLAG_PIN;
    // SAFETY: with these flags the name is an address, which is only looked up among those of modules, never read; the
    // place for the module's handle is valid.
    unsafe { GetModuleHandleExW(flags, PCWSTR(address.cast()), &raw mut module) }.map_err(|error| {
        tracing::debug!(%error, "a module could not be kept from being unloaded");
        NativeFailure::NotCalled("the attestation library could not be kept from being unloaded")
    })
}

fn tell_left_out(lines: &Allowance) {
    match lines.renew() {
        0 => {}
        count => tracing::warn!(target: TARGET, count, "lines of the attestation library left out"),
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
        225 => "the virus scanner refused it",
        1114 => "its initialisation failed",
        1260 | 4551 => "a policy of this host refused it",
        _ => "Windows refused it",
    };
    NativeFailure::NotLoadable {
        path: PathBuf::from(path),
        reason,
        cause: io::Error::from_raw_os_error(code).into(),
    }
}

/// No message box of Windows stops this thread while it lives; it does not leave it ([`PhantomData`]).
struct Quiet {
    before: Option<THREAD_ERROR_MODE>,
    _of_this_thread: PhantomData<*const ()>,
}

impl Quiet {
    fn begin() -> Self {
        let mut before = THREAD_ERROR_MODE::default();
        let mode = SEM_FAILCRITICALERRORS | SEM_NOOPENFILEERRORBOX;
        // SAFETY: the place for the old mode is valid. Where it fails, a box may appear; nothing else changes.
        let changed = unsafe { SetThreadErrorMode(mode, Some(&raw mut before)) };
        Self {
            before: changed.ok().map(|()| before),
            _of_this_thread: PhantomData,
        }
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        if let Some(before) = self.before {
            // SAFETY: the mode is the one of before, of this thread; no place for the old one is passed.
            let _ = unsafe { SetThreadErrorMode(before, None) };
        }
    }
}
