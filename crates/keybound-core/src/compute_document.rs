use crate::json::read_response;
use crate::{Error, ErrorKind, Result, Stage, redact};
use serde::Deserialize;
use serde_json::Value;
use std::fmt;

/// What the instance metadata of IMDS states about the virtual machine (`/metadata/instance/compute`), as far as it decides
/// which keys the machine can have. IMDS does not sign it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ComputeDocument {
    /// The operating system (`osType`).
    pub operating_system: OperatingSystem,
    /// The security settings (`securityProfile`).
    pub security: SecurityProfile,
}

impl ComputeDocument {
    /// Parses the body of the response. Members of `securityProfile` that are missing or of another type count as not reported.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidResponse`] if it is not a JSON object with the text `osType`; [`ErrorKind::ResponseTooLarge`] beyond
    /// [`MAX_BODY`](crate::MAX_BODY).
    pub fn parse(body: &[u8]) -> Result<Self> {
        let wire: Wire = read_response(body, Stage::Metadata, "the compute document of IMDS")?;
        Ok(Self {
            operating_system: OperatingSystem::of_wire(&wire.os_type),
            security: SecurityProfile::of_wire(&wire.security_profile.unwrap_or_default()),
        })
    }

    /// Checks that the virtual machine can have KeyGuard keys: Windows, Trusted Launch or a confidential VM, neither Secure Boot
    /// nor the virtual TPM off.
    ///
    /// # Errors
    /// [`ErrorKind::KeyIsolationUnavailable`] names what is missing.
    pub fn check_keyguard(&self) -> Result<()> {
        let security = &self.security;
        let missing = match &security.security_type {
            _ if self.operating_system != OperatingSystem::Windows => {
                "KeyGuard keys exist on Windows only".to_owned()
            }
            Some(SecurityType::TrustedLaunch | SecurityType::ConfidentialVm) => {
                match (security.secure_boot, security.virtual_tpm) {
                    (Some(false), _) => "Secure Boot of the virtual machine is off".to_owned(),
                    (_, Some(false)) => "the virtual machine has no virtual TPM".to_owned(),
                    _ => return Ok(()),
                }
            }
            Some(other) => format!("the security type of the virtual machine is {other}"),
            None => "the virtual machine reports no security type".to_owned(),
        };
        Err(Error::new(
            ErrorKind::KeyIsolationUnavailable,
            Stage::Key,
            missing,
        ))
    }
}

/// An operating system.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OperatingSystem {
    /// Windows.
    Windows,
    /// Linux.
    Linux,
    /// Another one.
    Other,
}

impl OperatingSystem {
    /// The operating system of this program.
    pub fn of_program() -> Self {
        Self::of_wire(std::env::consts::OS)
    }

    fn of_wire(name: &str) -> Self {
        [Self::Windows, Self::Linux]
            .into_iter()
            .find(|system| system.as_str().eq_ignore_ascii_case(name))
            .unwrap_or(Self::Other)
    }

    /// The stable name in results: `windows`, `linux` or `other`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Windows => "windows",
            Self::Linux => "linux",
            Self::Other => "other",
        }
    }
}

/// The security settings of a virtual machine. `None` is what it does not report.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SecurityProfile {
    /// The security type; a machine without special security reports none.
    pub security_type: Option<SecurityType>,
    /// Whether Secure Boot is on.
    pub secure_boot: Option<bool>,
    /// Whether there is a virtual TPM.
    pub virtual_tpm: Option<bool>,
}

impl SecurityProfile {
    fn of_wire(profile: &Value) -> Self {
        Self {
            security_type: profile["securityType"]
                .as_str()
                .and_then(SecurityType::of_wire),
            secure_boot: switch(&profile["secureBootEnabled"]),
            virtual_tpm: switch(&profile["virtualTpmEnabled"]),
        }
    }
}

/// IMDS writes booleans as text, in either case.
fn switch(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(is_on) => Some(*is_on),
        Value::String(text) if text.eq_ignore_ascii_case("true") => Some(true),
        Value::String(text) if text.eq_ignore_ascii_case("false") => Some(false),
        _ => None,
    }
}

/// The security type of a virtual machine.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SecurityType {
    /// `Standard`.
    Standard,
    /// `TrustedLaunch`: Secure Boot and a virtual TPM.
    TrustedLaunch,
    /// `ConfidentialVM`.
    ConfidentialVm,
    /// Another one, as IMDS writes it: printable and bounded.
    Other(String),
}

impl SecurityType {
    fn of_wire(text: &str) -> Option<Self> {
        if text.trim().is_empty() {
            return None;
        }
        let known = [Self::Standard, Self::TrustedLaunch, Self::ConfidentialVm];
        let found = known
            .into_iter()
            .find(|known| known.as_str().eq_ignore_ascii_case(text));
        let other = || Self::Other(redact(text).chars().take(MAX_SECURITY_TYPE).collect());
        Some(found.unwrap_or_else(other))
    }

    /// The name as IMDS writes it: `TrustedLaunch`, …
    pub fn as_str(&self) -> &str {
        match self {
            Self::Standard => "Standard",
            Self::TrustedLaunch => "TrustedLaunch",
            Self::ConfidentialVm => "ConfidentialVM",
            Self::Other(name) => name,
        }
    }
}

impl fmt::Display for SecurityType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[derive(Deserialize)]
struct Wire {
    #[serde(rename = "osType")]
    os_type: String,
    #[serde(rename = "securityProfile")]
    security_profile: Option<Value>,
}

const MAX_SECURITY_TYPE: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(body: &str) -> ComputeDocument {
        ComputeDocument::parse(body.as_bytes()).unwrap()
    }

    fn windows(profile: &str) -> ComputeDocument {
        parse(&format!(
            r#"{{"osType":"Windows","securityProfile":{profile},"tags":""}}"#
        ))
    }

    #[test]
    fn reads_switches_in_either_case_and_ignores_other_types() {
        for (value, expected) in [
            (r#""true""#, Some(true)),
            (r#""TRUE""#, Some(true)),
            (r#""False""#, Some(false)),
            ("true", Some(true)),
            ("false", Some(false)),
            (r#""""#, None),
            (r#""yes""#, None),
            ("1", None),
            ("null", None),
            ("{}", None),
        ] {
            let profile = format!(r#"{{"secureBootEnabled":{value},"virtualTpmEnabled":{value}}}"#);
            let security = windows(&profile).security;
            let found = (security.secure_boot, security.virtual_tpm);
            assert_eq!(found, (expected, expected), "{value}");
        }
    }

    #[test]
    fn reads_security_type_and_bounds_unknown_ones() {
        let found = |value: &str| {
            let document = windows(&format!(r#"{{"securityType":{value}}}"#));
            document.security.security_type
        };
        for (value, expected) in [
            (r#""TrustedLaunch""#, Some(SecurityType::TrustedLaunch)),
            (r#""confidentialvm""#, Some(SecurityType::ConfidentialVm)),
            (r#""Standard""#, Some(SecurityType::Standard)),
            (r#""Later""#, Some(SecurityType::Other("Later".to_owned()))),
            (r#""""#, None),
            (r#"" ""#, None),
            ("7", None),
            ("null", None),
        ] {
            assert_eq!(found(value), expected, "{value}");
        }
        let hostile = found(&format!(r#""\u001b[2J{}""#, "x ".repeat(100))).unwrap();
        assert_eq!(hostile.as_str().chars().count(), MAX_SECURITY_TYPE);
        assert!(!hostile.as_str().contains('\u{1b}'));
    }

    #[test]
    fn accepts_a_document_without_a_usable_profile() {
        for body in [
            r#"{"osType":"linux"}"#,
            r#"{"osType":"LINUX","securityProfile":null}"#,
            r#"{"osType":"Linux","securityProfile":"x"}"#,
            r#"{"osType":"Linux","securityProfile":[]}"#,
            "\u{feff}{\"osType\":\"Linux\"}",
        ] {
            let document = parse(body);
            assert_eq!(document.operating_system, OperatingSystem::Linux, "{body}");
            assert_eq!(document.security, SecurityProfile::default(), "{body}");
        }
        assert_eq!(
            parse(r#"{"osType":"Plan 9"}"#).operating_system,
            OperatingSystem::Other
        );
    }

    #[test]
    fn rejects_what_is_no_compute_document() {
        for body in [
            "",
            "{}",
            "[]",
            "null",
            "<html>",
            r#"{"osType":null}"#,
            r#"{"osType":7}"#,
            r#"{"compute":{"osType":"Windows"}}"#,
            r#"{"osType":"Windows","osType":"Linux"}"#,
        ] {
            let error = ComputeDocument::parse(body.as_bytes()).unwrap_err();
            let found = (error.kind(), error.stage());
            assert_eq!(
                found,
                (ErrorKind::InvalidResponse, Stage::Metadata),
                "{body}"
            );
        }
    }

    #[test]
    fn bounded_input() {
        let body = r#"{"osType":"Windows"}"#.to_owned() + &" ".repeat(crate::MAX_BODY);
        let error = ComputeDocument::parse(body.as_bytes()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ResponseTooLarge);
    }

    #[test]
    fn keyguard_needs_windows_and_trusted_launch_or_a_confidential_vm() {
        const ON: &str = r#""secureBootEnabled":"true","virtualTpmEnabled":"true""#;
        for (os, profile, missing) in [
            (
                "Windows",
                format!(r#"{{"securityType":"TrustedLaunch",{ON}}}"#),
                None,
            ),
            (
                "windows",
                format!(r#"{{"securityType":"ConfidentialVM",{ON}}}"#),
                None,
            ),
            (
                "Windows",
                r#"{"securityType":"TrustedLaunch"}"#.to_owned(),
                None,
            ),
            (
                "Linux",
                format!(r#"{{"securityType":"TrustedLaunch",{ON}}}"#),
                Some("Windows only"),
            ),
            ("Windows", format!("{{{ON}}}"), Some("no security type")),
            (
                "Windows",
                format!(r#"{{"securityType":"Standard",{ON}}}"#),
                Some("is Standard"),
            ),
            (
                "Windows",
                r#"{"securityType":"TrustedLaunch","secureBootEnabled":"false"}"#.to_owned(),
                Some("Secure Boot"),
            ),
            (
                "Windows",
                r#"{"securityType":"TrustedLaunch","virtualTpmEnabled":"False"}"#.to_owned(),
                Some("no virtual TPM"),
            ),
        ] {
            let document = parse(&format!(
                r#"{{"osType":"{os}","securityProfile":{profile}}}"#
            ));
            match (document.check_keyguard(), missing) {
                (Ok(()), None) => {}
                (Err(error), Some(part)) => {
                    assert_eq!(error.kind(), ErrorKind::KeyIsolationUnavailable);
                    assert!(error.to_string().contains(part), "{error}");
                }
                (found, _) => panic!("{os} {profile}: {found:?}"),
            }
        }
    }
}
