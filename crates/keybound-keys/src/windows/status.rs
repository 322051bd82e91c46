//! Statuses of CNG and their meaning.
use crate::{KeyError, KeyErrorKind};
use std::fmt;

/// A `SECURITY_STATUS` of a failure.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Status(pub(crate) u32);

impl Status {
    pub(crate) const NOT_ENOUGH_MEMORY: Self = Self(0x8009_000E);
    pub(crate) const BAD_FLAGS: Self = Self(0x8009_0009);
    /// `NTE_BAD_DATA`: the stored key cannot be decrypted.
    pub(crate) const BAD_DATA: Self = Self(0x8009_0005);
    pub(crate) const NO_KEY: Self = Self(0x8009_000D);
    pub(crate) const EXISTS: Self = Self(0x8009_000F);
    pub(crate) const PERMISSION: Self = Self(0x8009_0010);
    pub(crate) const NOT_FOUND: Self = Self(0x8009_0011);
    pub(crate) const BAD_KEYSET: Self = Self(0x8009_0016);
    pub(crate) const KEYSET_NOT_DEFINED: Self = Self(0x8009_0019);
    pub(crate) const PROVIDER_DLL_FAILED: Self = Self(0x8009_001D);
    pub(crate) const PROVIDER_DLL_NOT_FOUND: Self = Self(0x8009_001E);
    /// `NTE_TEMPORARY_PROFILE`: the profile will be deleted with its keys.
    pub(crate) const TEMPORARY_PROFILE: Self = Self(0x8009_0024);
    /// `NTE_SILENT_CONTEXT`: the key requires a confirmation by its user.
    pub(crate) const SILENT_CONTEXT: Self = Self(0x8009_0022);
    const FAIL: Self = Self(0x8009_0020);
    const SYSTEM_ERROR: Self = Self(0x8009_0021);
    const INTERNAL_ERROR: Self = Self(0x8009_002D);
    const UI_REQUIRED: Self = Self(0x8009_002E);
    const AUTHENTICATION_IGNORED: Self = Self(0x8009_0031);
    const USER_CANCELLED: Self = Self(0x8009_0036);
    const NOT_ACTIVE_CONSOLE: Self = Self(0x8009_0038);
    pub(crate) const BUFFER_TOO_SMALL: Self = Self(0x8009_0028);
    pub(crate) const NOT_SUPPORTED: Self = Self(0x8009_0029);
    pub(crate) const DEVICE_NOT_READY: Self = Self(0x8009_0030);
    pub(crate) const DEVICE_NOT_FOUND: Self = Self(0x8009_0035);
    /// `NTE_VBS_UNAVAILABLE`.
    pub(crate) const VBS_UNAVAILABLE: Self = Self(0x8009_0039);
    /// `NTE_VBS_CANNOT_DECRYPT_KEY`: the container exists, and the protection of its key is lost.
    pub(crate) const VBS_CANNOT_DECRYPT: Self = Self(0x8009_003A);
    /// The creation of a KeyGuard key failed on a host without virtualization-based security.
    pub(crate) const NO_KEYGUARD: Self = Self(0x8089_0014);
    /// `ERROR_FILE_NOT_FOUND`: the status if the account's profile, which has its keys, is not loaded.
    pub(crate) const FILE_NOT_FOUND: Self = Self(0x8007_0002);
    pub(crate) const TPM_NOT_FOUND: Self = Self(0x8028_400F);
    pub(crate) const TPM_SERVICE_NOT_RUNNING: Self = Self(0x8028_4008);
    pub(crate) const TPM_SERVICE_DISABLED: Self = Self(0x8028_4010);
    pub(crate) const TPM_PROVIDER_NOT_READY: Self = Self(0x8029_0401);

    /// Whether it means that no usable key has this name.
    pub(crate) fn is_not_found(self) -> bool {
        [
            Self::BAD_KEYSET,
            Self::NO_KEY,
            Self::NOT_FOUND,
            Self::VBS_CANNOT_DECRYPT,
        ]
        .contains(&self)
    }

    /// Whether a signature that fails with this status shows that the key's material is lost, for every kind of key.
    pub(crate) fn is_loss(self) -> bool {
        self == Self::BAD_DATA || self.is_not_found()
    }

    /// Whether a key that does not sign with this status may sign later, or for another account. Statuses of other facilities
    /// than CNG's are from lower layers (Windows, RPC, the TPM and its services) and do not describe the key.
    pub(crate) fn is_temporary(self) -> bool {
        [
            Self::NOT_ENOUGH_MEMORY,
            Self::PERMISSION,
            Self::BUFFER_TOO_SMALL,
            Self::TEMPORARY_PROFILE,
            Self::SILENT_CONTEXT,
            Self::VBS_UNAVAILABLE,
            Self::FAIL,
            Self::SYSTEM_ERROR,
            Self::INTERNAL_ERROR,
            Self::UI_REQUIRED,
            Self::AUTHENTICATION_IGNORED,
            Self::USER_CANCELLED,
            Self::NOT_ACTIVE_CONSOLE,
        ]
        .contains(&self)
            || self.0 & 0xFFFF_0000 != CNG
            || self.is_without_provider()
    }

    /// Whether it means that this host has no virtualization-based security for keys.
    fn is_without_isolation(self, step: Step) -> bool {
        // Versions of Windows without KeyGuard support neither the flags nor the property.
        let unsupported =
            step == Step::Create && [Self::BAD_FLAGS, Self::NOT_SUPPORTED].contains(&self);
        unsupported
            || [
                Self::NO_KEYGUARD,
                Self::VBS_UNAVAILABLE,
                Self::VBS_CANNOT_DECRYPT,
            ]
            .contains(&self)
    }

    /// Whether it means that the provider, or its device, is missing.
    fn is_without_provider(self) -> bool {
        [
            Self::KEYSET_NOT_DEFINED,
            Self::PROVIDER_DLL_FAILED,
            Self::PROVIDER_DLL_NOT_FOUND,
            Self::DEVICE_NOT_READY,
            Self::DEVICE_NOT_FOUND,
            Self::TPM_NOT_FOUND,
            Self::TPM_SERVICE_NOT_RUNNING,
            Self::TPM_SERVICE_DISABLED,
            Self::TPM_PROVIDER_NOT_READY,
        ]
        .contains(&self)
    }
}

/// The code alone: the names of codes are in several headers.
impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "status 0x{:08X}", self.0)
    }
}

impl fmt::Debug for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for Status {}

/// The operation that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    OpenProvider,
    Open,
    Create,
    Export,
    ReadExportPolicy,
    ReadIsolation,
    Sign,
}

impl Step {
    /// The error for a status at this step. `isolated`: whether the key must be isolated.
    pub(crate) fn error(self, status: Status, isolated: bool) -> KeyError {
        let error = if self.has_open_key() {
            // Not an absence: the key exists, so a weaker one must not be used.
            KeyError::new(KeyErrorKind::Failed, self.failed(status))
        } else if isolated && status.is_without_isolation(self) {
            KeyError::new(KeyErrorKind::IsolationUnavailable, WITHOUT_ISOLATION)
        } else if status.is_without_provider()
            || (self == Self::OpenProvider && status.is_not_found())
        {
            KeyError::new(KeyErrorKind::Unavailable, WITHOUT_PROVIDER)
        } else {
            KeyError::new(KeyErrorKind::Failed, self.failed(status))
        };
        error.with_source(status)
    }

    fn has_open_key(self) -> bool {
        match self {
            Self::OpenProvider | Self::Open | Self::Create => false,
            Self::Export | Self::ReadExportPolicy | Self::ReadIsolation | Self::Sign => true,
        }
    }

    fn failed(self, status: Status) -> &'static str {
        match (self, status) {
            (_, Status::VBS_UNAVAILABLE | Status::NO_KEYGUARD) => ISOLATION_STOPPED,
            (_, status) if status.is_without_provider() => WITHOUT_PROVIDER,
            (_, Status::PERMISSION) => WITHOUT_PERMISSION,
            (_, Status::TEMPORARY_PROFILE)
            | (Self::Open | Self::Create, Status::FILE_NOT_FOUND) => WITHOUT_PROFILE,
            (_, Status::NOT_ENOUGH_MEMORY) => "the key storage provider is out of memory",
            (_, Status::SILENT_CONTEXT) => {
                "the key requires a confirmation by a user before it signs: name another key by MSAL_MSI_V2_KEY_NAME"
            }
            (Self::OpenProvider, _) => "the key storage provider could not be opened",
            (Self::Open, _) => "the key could not be opened",
            (Self::Create, _) => "the key could not be created",
            (Self::Export, _) => "the public key could not be read",
            (Self::ReadExportPolicy, _) => {
                "whether the key may be exported from its provider could not be read"
            }
            (Self::ReadIsolation, _) => {
                "whether virtualization-based security isolates the key could not be read"
            }
            (Self::Sign, _) => "the key did not sign",
        }
    }
}

const WITHOUT_ISOLATION: &str = "this host offers no KeyGuard keys: virtualization-based security is not running; use a \
     Trusted Launch VM with Secure Boot and vTPM switched on, and see `Virtualization-based security` in msinfo32";

const ISOLATION_STOPPED: &str = "the key exists and cannot be used: virtualization-based security is not running; see \
     `Virtualization-based security` in msinfo32";
const WITHOUT_PROVIDER: &str = "the key storage provider, or its device, is not available";
const WITHOUT_PERMISSION: &str = "the key storage provider denies this account access to the key: run as the account that \
     created it or, for a key of the machine, grant this account the key (certlm.msc, All Tasks, Manage Private Keys)";
const WITHOUT_PROFILE: &str = "the key storage provider stores keys in the account's user profile, which is not loaded: load it \
     (IIS: LoadUserProfile of the application pool)";

/// `FACILITY_SECURITY`, with the failure bit.
const CNG: u32 = 0x8009_0000;

#[cfg(test)]
mod tests {
    use super::*;
    use std::error::Error as _;

    #[test]
    fn isolation_errors_name_the_settings_to_enable() {
        for (step, status) in [
            (Step::Create, Status::NO_KEYGUARD),
            (Step::Open, Status::VBS_UNAVAILABLE),
            (Step::Create, Status::VBS_CANNOT_DECRYPT),
            (Step::Create, Status::BAD_FLAGS),
            (Step::Create, Status::NOT_SUPPORTED),
        ] {
            let error = step.error(status, true);
            assert_eq!(
                error.kind(),
                KeyErrorKind::IsolationUnavailable,
                "{status:?}"
            );
            for word in ["Trusted Launch", "Secure Boot", "vTPM", "msinfo32"] {
                assert!(error.to_string().contains(word), "{error}");
            }
            assert_eq!(error.source().unwrap().to_string(), status.to_string());
        }
        assert_eq!(Status::NO_KEYGUARD.to_string(), "status 0x80890014");
    }

    #[test]
    fn unknown_statuses_are_failures_and_no_reason_for_a_weaker_key() {
        for (step, status, isolated) in [
            (Step::Open, Status::NOT_SUPPORTED, true),
            (Step::Open, Status::PERMISSION, true),
            (Step::Create, Status::NOT_SUPPORTED, false),
            (Step::Create, Status(0x8000_4005), true),
            (Step::Sign, Status::BAD_KEYSET, false),
        ] {
            let error = step.error(status, isolated);
            assert_eq!(error.kind(), KeyErrorKind::Failed, "{status:?}");
        }
    }

    #[test]
    fn errors_name_missing_rights_and_the_next_step() {
        for (step, status, words) in [
            (Step::Open, Status::PERMISSION, "Manage Private Keys"),
            (Step::Sign, Status::PERMISSION, "run as the account"),
            (Step::Create, Status::TEMPORARY_PROFILE, "LoadUserProfile"),
            (Step::Create, Status::FILE_NOT_FOUND, "LoadUserProfile"),
            (Step::Sign, Status::FILE_NOT_FOUND, "did not sign"),
        ] {
            let error = step.error(status, true);
            assert_eq!(error.kind(), KeyErrorKind::Failed, "{status:?}");
            assert!(error.to_string().contains(words), "{error}");
            assert_eq!(error.source().unwrap().to_string(), status.to_string());
        }
    }

    #[test]
    fn classifies_statuses_as_loss_or_temporary_or_neither() {
        for loss in [
            0x8009_0005,
            0x8009_000D,
            0x8009_0011,
            0x8009_0016,
            0x8009_003A,
        ] {
            let status = Status(loss);
            assert!(status.is_loss() && !status.is_temporary(), "{status}");
        }
        for temporary in [
            // NTE_NO_MEMORY, NTE_PERM, NTE_FAIL, NTE_SYS_ERR, NTE_SILENT_CONTEXT, NTE_TEMPORARY_PROFILE, NTE_INTERNAL_ERROR,
            // NTE_UI_REQUIRED, NTE_DEVICE_NOT_READY, NTE_DEVICE_NOT_FOUND, NTE_VBS_UNAVAILABLE.
            0x8009_000E,
            0x8009_0010,
            0x8009_0020,
            0x8009_0021,
            0x8009_0022,
            0x8009_0024,
            0x8009_002D,
            0x8009_002E,
            0x8009_0030,
            0x8009_0035,
            0x8009_0039,
            // E_FAIL, files, access, parameters, RPC, the TPM, its base services, its provider, KeyGuard, an NTSTATUS.
            0x8000_4005,
            0x8007_0002,
            0x8007_0005,
            0x8007_0057,
            0x8007_06BA,
            0x8007_06BF,
            0x8028_0921,
            0x8028_400F,
            0x8029_0401,
            0x8089_0014,
            0xC000_0001,
        ] {
            let status = Status(temporary);
            assert!(status.is_temporary() && !status.is_loss(), "{status}");
        }
        for unknown in [0x8009_0003, 0x8009_0026, 0x8009_0027, 0x8009_002C] {
            let status = Status(unknown);
            assert!(!status.is_temporary() && !status.is_loss(), "{status}");
        }
    }

    #[test]
    fn no_weaker_key_where_the_device_of_an_open_key_fails() {
        for step in [
            Step::Export,
            Step::ReadExportPolicy,
            Step::ReadIsolation,
            Step::Sign,
        ] {
            for status in [
                Status::DEVICE_NOT_READY,
                Status::TPM_SERVICE_NOT_RUNNING,
                Status::VBS_UNAVAILABLE,
                Status::NO_KEYGUARD,
            ] {
                let error = step.error(status, true);
                assert_eq!(error.kind(), KeyErrorKind::Failed, "{step:?} {status}");
                assert!(error.to_string().contains("not "), "{error}");
            }
        }
    }

    #[test]
    fn missing_providers_and_devices_are_absences() {
        for (step, status) in [
            (Step::OpenProvider, Status::NOT_FOUND),
            (Step::OpenProvider, Status::KEYSET_NOT_DEFINED),
            (Step::Create, Status::TPM_NOT_FOUND),
            (Step::Open, Status::DEVICE_NOT_READY),
        ] {
            let kind = step.error(status, false).kind();
            assert_eq!(kind, KeyErrorKind::Unavailable, "{status:?}");
        }
    }
}
