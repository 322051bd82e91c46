//! Attestation of KeyGuard keys by `AttestationClientLib.dll`, Microsoft's native library for Windows.
//!
//! It is not part of Keybound: see docs/attestation.md for where it comes from. It is looked for at the path that was
//! named, else at the one in `ATTESTATION_CLIENTLIB_PATH`, else in the program's folder, in `native` there, and in
//! System32; never in the working folder or on `PATH`. It is used only where its Authenticode signature is Microsoft's,
//! or its SHA-256 the one that was pinned. What is checked and loaded is a copy in a folder of this account's: nobody else
//! can change it between check and load, as one who may write the file could.
//!
//! A process loads a library once and never unloads it: its threads may call back at any time. Calls to it are made one
//! after another, each on a thread of its own; one that hangs holds up the next ones until their deadlines, not the
//! runtime.
mod code;
mod error;
#[cfg(any(windows, test))]
mod exchange;
#[cfg(any(windows, test))]
mod lines;
#[cfg(any(windows, test))]
mod location;
mod probe;
mod text;

#[cfg(not(windows))]
mod elsewhere;
#[cfg(windows)]
mod windows;

#[cfg(not(windows))]
use self::elsewhere as platform;
#[cfg(windows)]
use self::windows as platform;

pub use code::NativeCode;
pub use error::NativeFailure;
pub use probe::{LibraryPlace, LibraryTrust, NativeProbe, ProbedLibrary, ProbedPlace};

use crate::{AttestationFuture, AttestationProvider, AttestationRequest};
use keybound_core::{KeyStrength, Result, SecretString};
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use text::Text;

/// Has KeyGuard keys attested by the native library. Nothing is looked for before the first key.
///
/// On platforms other than Windows each attestation ends with
/// [`AttestationUnavailable`](keybound_core::ErrorKind::AttestationUnavailable).
///
/// Failures are of stage attestation and have a [`NativeFailure`] as their source: `AttestationUnavailable` where there
/// is no library or the key is no KeyGuard key, `AttestationLibraryUnusable` where the library is there and must not or
/// cannot be used, `AttestationFailed` where it was asked and gave no token. For the library's codes, whether a retry
/// helps and what to do next are those of the [`NativeCode`].
pub struct NativeAttestation {
    settings: Settings,
    loaded: platform::Loaded,
}

impl NativeAttestation {
    /// The library of this host, at the places where it may be.
    pub fn new() -> Self {
        Self {
            settings: Settings::default(),
            loaded: platform::Loaded::default(),
        }
    }

    /// The absolute path of the library: it is looked for there and nowhere else.
    #[must_use]
    pub fn library(mut self, path: impl Into<PathBuf>) -> Self {
        self.settings.selection.named = Some(path.into());
        self
    }

    /// What the environment variable `ATTESTATION_CLIENTLIB_PATH` says, for programs that honour it: an absolute path,
    /// as [`library`](Self::library), which goes before it.
    #[must_use]
    pub fn library_from_environment(mut self, path: impl Into<PathBuf>) -> Self {
        self.settings.selection.environment = Some(path.into());
        self
    }

    /// The SHA-256 of the one file that is used. Its signature is then not looked at.
    #[must_use]
    pub fn pinned_sha256(mut self, sha256: [u8; 32]) -> Self {
        self.settings.selection.pinned = Some(sha256);
        self
    }

    /// Passes NULL to the library for the authentication token and the client payload where they are not set, as MSAL .NET
    /// and MSAL Go do. Default: an empty text and `{}`, as earlier PowerShell and Python clients. Both were seen to work; for a
    /// library that answers [-8 or -9](NativeCode), the other one is worth a try.
    #[must_use]
    pub fn null_arguments(mut self) -> Self {
        self.settings.null_arguments = true;
        self
    }

    /// The token with which the library goes to the attestation service. Default: empty, or
    /// [NULL](Self::null_arguments).
    ///
    /// # Errors
    /// [`InvalidRequest`](keybound_core::ErrorKind::InvalidRequest) where it holds NUL or is longer than
    /// [`MAX_JWT`](keybound_core::MAX_JWT).
    pub fn auth_token(mut self, token: &SecretString) -> Result<Self> {
        self.settings.auth_token = Some(Text::new(token.expose())?);
        Ok(self)
    }

    /// JSON that the attestation service puts into its token. Default: `{}`, or [NULL](Self::null_arguments).
    ///
    /// # Errors
    /// As [`auth_token`](Self::auth_token).
    pub fn client_payload(mut self, json: &str) -> Result<Self> {
        self.settings.client_payload = Some(Text::new(json)?);
        Ok(self)
    }

    /// Tells whether the library is found, may be used, loads and starts; nothing is attested. It blocks, usually for
    /// less than a second and never for more than 30, and loads the library for the life of the process.
    pub fn probe(&self) -> NativeProbe {
        self.probe_within(LONGEST_PROBE)
    }

    /// The same with a limit of the caller's. A library that is not through by then has failed, with what was found before.
    /// One thread goes on waiting for it, however many probes follow: each of them fails at its own limit.
    pub fn probe_within(&self, limit: Duration) -> NativeProbe {
        platform::probe(&self.settings, limit)
    }

    async fn token(&self, request: AttestationRequest<'_>) -> Attested {
        let Some(key) = request.key.cng_handle().filter(|_| is_keyguard(&request)) else {
            return Err(platform::not_attestable());
        };
        platform::attest(&self.settings, &self.loaded, &request, key).await
    }
}

impl Default for NativeAttestation {
    fn default() -> Self {
        Self::new()
    }
}

impl AttestationProvider for NativeAttestation {
    fn attest<'a>(&'a self, request: AttestationRequest<'a>) -> AttestationFuture<'a> {
        Box::pin(async move { Ok(self.token(request).await?) })
    }
}

/// Neither token nor payload.
impl fmt::Debug for NativeAttestation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NativeAttestation")
            .field("library", &self.settings.selection.path())
            .field("pinned", &self.settings.selection.pinned.is_some())
            .field("null_arguments", &self.settings.null_arguments)
            .finish_non_exhaustive()
    }
}

/// What was set.
#[derive(Default)]
struct Settings {
    selection: Selection,
    auth_token: Option<Text>,
    client_payload: Option<Text>,
    null_arguments: bool,
}

#[cfg(any(windows, test))]
impl Settings {
    /// `None` is NULL.
    fn auth_token(&self) -> Option<Text> {
        self.argument(self.auth_token.as_ref(), "")
    }

    fn client_payload(&self) -> Option<Text> {
        self.argument(self.client_payload.as_ref(), "{}")
    }

    fn argument(&self, set: Option<&Text>, default: &'static str) -> Option<Text> {
        let default = || (!self.null_arguments).then(|| Text::constant(default));
        set.cloned().or_else(default)
    }
}

/// Which file is the library.
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

/// For the virus scanner, the list of revoked certificates, and the start.
const LONGEST_PROBE: Duration = Duration::from_secs(30);

type Attested = std::result::Result<keybound_core::AttestationToken, NativeFailure>;

fn is_keyguard(request: &AttestationRequest<'_>) -> bool {
    request.key.strength() == KeyStrength::KeyGuard && !request.key.is_simulated()
}
