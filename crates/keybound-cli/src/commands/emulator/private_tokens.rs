//! The directory of Azure Arc's key files for a command of `--exec`. Azure's client libraries accept one path only, which belongs to
//! the host: the command runs in a private mount namespace, in which a directory of the emulator is at that path.
#[cfg(target_os = "linux")]
mod linux;
#[cfg(not(target_os = "linux"))]
mod unsupported;

#[cfg(target_os = "linux")]
pub(super) use linux::PrivateTokens;
#[cfg(not(target_os = "linux"))]
pub(super) use unsupported::PrivateTokens;
