//! Attestation of KeyGuard keys by `AttestationClientLib.dll`, Microsoft's native library for Windows.
//!
//! It is not part of Keybound: see docs/attestation.md. It is searched for at the configured path, otherwise at the one in
//! `ATTESTATION_CLIENTLIB_PATH`, otherwise in the program's directory, in `native` there, and in System32; never in the working
//! directory or on `PATH`. It is used only if its Authenticode signature is Microsoft's, or if its SHA-256 is the pinned one. A
//! copy in a directory of this account is verified and loaded: other accounts cannot change it between verification and load.
//!
//! A process loads a library once and never unloads it, since its threads may call back at any time. Calls are serialized,
//! each on its own thread; a call that hangs delays the next ones until their deadlines, but not the runtime.
#[cfg(any(windows, test))]
mod arguments;
#[cfg(any(windows, test))]
mod location;
#[cfg(any(windows, test))]
mod log_line;
mod native_code;
mod native_failure;
mod native_probe;
mod secret_c_string;

#[cfg(not(windows))]
mod unsupported;
#[cfg(windows)]
mod windows;

#[cfg(not(windows))]
use self::unsupported as platform;
#[cfg(windows)]
use self::windows as platform;

pub use native_code::NativeCode;
pub use native_failure::NativeFailure;
pub use native_probe::{LibraryPlace, LibraryTrust, NativeProbe, ProbedLibrary, ProbedPlace};

use crate::{AttestationFuture, AttestationProvider, AttestationRequest};
use keybound_core::{AttestationToken, Error, Guid, KeyStrength, Result, SecretString};
use keybound_keys::CngHandle;
use secret_c_string::SecretCString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use url::Url;

/// Attests KeyGuard keys with the native library, which is loaded for the first key.
///
/// On platforms other than Windows each attestation fails with
/// [`AttestationUnavailable`](keybound_core::ErrorKind::AttestationUnavailable).
///
/// Errors have the stage attestation and a [`NativeFailure`] as their source: `AttestationUnavailable` if there is no library
/// or the key is not a KeyGuard key, `AttestationLibraryUnusable` if the library exists and cannot be used,
/// `AttestationFailed` if it returned no token. For the library's codes, retryability and next step are those of the
/// [`NativeCode`].
#[derive(Default)]
pub struct NativeAttestation {
    settings: Settings,
    loaded: platform::LoadedLibrary,
}

impl NativeAttestation {
    /// Uses the library of this host from the default locations.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the absolute path of the library, the only location then.
    #[must_use]
    pub fn library(mut self, path: impl Into<PathBuf>) -> Self {
        self.settings.selection.named = Some(path.into());
        self
    }

    /// Sets the absolute path from the environment variable `ATTESTATION_CLIENTLIB_PATH`. [`library`](Self::library) takes
    /// precedence.
    #[must_use]
    pub fn library_from_environment(mut self, path: impl Into<PathBuf>) -> Self {
        self.settings.selection.environment = Some(path.into());
        self
    }

    /// Pins the SHA-256 of the library. Its signature is then not verified.
    #[must_use]
    pub fn pinned_sha256(mut self, sha256: [u8; 32]) -> Self {
        self.settings.selection.pinned = Some(sha256);
        self
    }

    /// Passes NULL to the library for an authentication token and a client payload that are not set, as MSAL .NET and MSAL Go
    /// do. Default: an empty string and `{}`, as earlier PowerShell and Python clients. Both work in practice; if the library
    /// returns [-8 or -9](NativeCode), try the other one.
    #[must_use]
    pub fn null_arguments(mut self) -> Self {
        self.settings.null_arguments = true;
        self
    }

    /// Sets the token with which the library authenticates to the attestation service. Default: empty, or
    /// [NULL](Self::null_arguments).
    ///
    /// # Errors
    /// [`InvalidRequest`](keybound_core::ErrorKind::InvalidRequest) if it contains NUL or is longer than
    /// [`MAX_JWT`](keybound_core::MAX_JWT).
    pub fn auth_token(mut self, token: &SecretString) -> Result<Self> {
        self.settings.auth_token = Some(SecretCString::new(token.expose())?);
        Ok(self)
    }

    /// Sets JSON that the attestation service includes in its token. Default: `{}`, or [NULL](Self::null_arguments).
    ///
    /// # Errors
    /// As [`auth_token`](Self::auth_token).
    pub fn client_payload(mut self, json: &str) -> Result<Self> {
        self.settings.client_payload = Some(SecretCString::new(json)?);
        Ok(self)
    }

    /// Probes whether the library is found, can be used, loads and starts, without an attestation. It blocks, usually for less
    /// than a second and at most for 30, and the library stays loaded until the process ends.
    pub fn probe(&self) -> NativeProbe {
        self.probe_within(PROBE_TIMEOUT)
    }

    /// Probes with a timeout. A library that has not started by then counts as failed; the result has what was found before.
    /// One thread continues to wait for it; further probes start no threads and fail at their own timeouts.
    pub fn probe_within(&self, timeout: Duration) -> NativeProbe {
        platform::probe(&self.settings, timeout)
    }

    /// Attests a KeyGuard key of the caller that is not a [`BindingKey`](keybound_keys::BindingKey). That it is a KeyGuard key is
    /// checked by the library and the service.
    ///
    /// # Errors
    /// As those of [`attest`](AttestationProvider::attest).
    pub async fn attest_handle(
        &self,
        endpoint: &Url,
        client_id: &Guid,
        key: CngHandle,
    ) -> Result<AttestationToken> {
        let attested = platform::attest(&self.settings, &self.loaded, endpoint, client_id, key);
        Ok(attested.await?)
    }

    async fn token(&self, request: AttestationRequest<'_>) -> Attested {
        let Some(key) = request.key.cng_handle().filter(|_| is_keyguard(&request)) else {
            return Err(if cfg!(windows) {
                NativeFailure::KeyNotAttestable
            } else {
                NativeFailure::NotWindows
            });
        };
        let (endpoint, client_id) = (request.endpoint, request.client_id);
        platform::attest(&self.settings, &self.loaded, endpoint, client_id, key).await
    }
}

impl AttestationProvider for NativeAttestation {
    fn attest<'a>(&'a self, request: AttestationRequest<'a>) -> AttestationFuture<'a> {
        Box::pin(async move { Ok(self.token(request).await?) })
    }

    fn find_library(&self) -> Option<Result<PathBuf>> {
        Some(platform::find(&self.settings).map_err(Error::from))
    }
}

/// Hides authentication token and payload.
impl fmt::Debug for NativeAttestation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NativeAttestation")
            .field("library", &self.settings.selection.path())
            .field("pinned", &self.settings.selection.pinned.is_some())
            .field("null_arguments", &self.settings.null_arguments)
            .finish_non_exhaustive()
    }
}

#[derive(Default)]
struct Settings {
    selection: Selection,
    auth_token: Option<SecretCString>,
    client_payload: Option<SecretCString>,
    null_arguments: bool,
}

/// The file to use as the library.
#[derive(Clone, Default)]
struct Selection {
    named: Option<PathBuf>,
    environment: Option<PathBuf>,
    pinned: Option<[u8; 32]>,
}

impl Selection {
    fn path(&self) -> Option<&Path> {
        self.named.as_deref().or(self.environment.as_deref())
    }
}

/// For the virus scanner, the signature and the start.
const PROBE_TIMEOUT: Duration = Duration::from_secs(30);

type Attested = std::result::Result<AttestationToken, NativeFailure>;

fn is_keyguard(request: &AttestationRequest<'_>) -> bool {
    request.key.strength() == KeyStrength::KeyGuard && !request.key.is_simulated()
}
