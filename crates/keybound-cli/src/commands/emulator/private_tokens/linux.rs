//! A mount namespace by `unshare`(1), without privileges if the host allows it.
use crate::failure::Failure;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tempfile::TempDir;

/// A directory for key files, and the namespace in which a command finds it.
pub(in super::super) struct PrivateTokens(TempDir);

impl PrivateTokens {
    /// Creates the directory, and checks that this host allows such a namespace.
    ///
    /// # Errors
    /// [`Failure::Host`] if it does not.
    pub(in super::super) fn create() -> Result<Self, Failure> {
        let tokens = Self::folder().map_err(|error| not_possible(&error.to_string()))?;
        let wrapped = tokens.wrap(&["true".into()]);
        let output = Command::new(&wrapped[0])
            .args(&wrapped[1..])
            .stdin(Stdio::null())
            .output()
            .map_err(|error| not_possible(&format!("unshare: {error}")))?;
        match output.status.success() {
            true => Ok(tokens),
            false => Err(not_possible(&String::from_utf8_lossy(&output.stderr))),
        }
    }

    /// The directory to which the emulator writes the files.
    pub(in super::super) fn written(&self) -> PathBuf {
        self.0.path().join("tokens")
    }

    /// The directory in which the command finds them.
    pub(in super::super) fn found(&self) -> &'static Path {
        Path::new(FOUND)
    }

    /// The command that runs a command in the namespace.
    pub(in super::super) fn wrap(&self, command: &[OsString]) -> Vec<OsString> {
        let mut wrapped: Vec<OsString> = vec!["unshare".into()];
        if !rustix::process::geteuid().is_root() {
            wrapped.extend(["--user", "--map-current-user", "--keep-caps"].map(OsString::from));
        }
        wrapped.extend(["--mount", "--", "sh", "-c", RUN, "sh"].map(OsString::from));
        wrapped.push(self.0.path().into());
        wrapped.extend_from_slice(command);
        wrapped
    }

    fn folder() -> io::Result<Self> {
        let folder = tempfile::Builder::new()
            .prefix("keybound-emulator-arc-")
            .tempdir()?;
        for name in ["tokens", "covered"] {
            fs::create_dir(folder.path().join(name))?;
        }
        Ok(Self(folder))
    }
}

fn not_possible(reason: &str) -> Failure {
    Failure::Host(format!(
        "--source arc: Azure's client libraries accept key files in {FOUND} only, and a private one cannot be mounted for the command \
         ({}): run as root, or write them there with --arc-tokens-dir",
        reason.trim()
    ))
}

const FOUND: &str = "/var/opt/azcmagent/tokens";
const RUN: &str = include_str!("run.sh");
