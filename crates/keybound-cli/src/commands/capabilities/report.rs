//! The capabilities of a host as JSON and as text.
use crate::diagnosis::source_reason;
use crate::report::ErrorReport;
use crate::text::printable_line;
use keybound::capabilities::{AttestationSupport, Capabilities, ImdsVersions, SecurityProfile};
use keybound::{Error, KeyStrength};
use serde::Serialize;

/// What a host can do.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    source: &'static str,
    source_reason: SourceReasonReport,
    source_error: Option<ErrorReport>,
    imds: Option<ImdsReport>,
    imds_v2_disabled: bool,
    operating_system: &'static str,
    security: Option<SecurityReport>,
    security_error: Option<ErrorReport>,
    strongest_key: Option<&'static str>,
    strongest_binding: Option<&'static str>,
    why_not_stronger: Option<ErrorReport>,
    attestation: AttestationReport,
    /// The source and the reason for it, as text.
    #[serde(skip)]
    source_text: String,
}

#[derive(Debug, Serialize)]
struct SourceReasonReport {
    reason: &'static str,
    variables: &'static [&'static str],
}

#[derive(Debug, Serialize)]
struct ImdsReport {
    v1: Option<bool>,
    v2: Option<bool>,
    error: Option<ErrorReport>,
}

#[derive(Debug, Serialize)]
struct SecurityReport {
    r#type: Option<String>,
    secure_boot: Option<bool>,
    virtual_tpm: Option<bool>,
}

#[derive(Debug, Serialize)]
struct AttestationReport {
    support: &'static str,
    library: Option<String>,
    error: Option<ErrorReport>,
}

impl Report {
    pub(super) fn new(found: &Capabilities) -> Self {
        let strength = |strength: Option<KeyStrength>| strength.map(KeyStrength::as_str);
        Self {
            source: found.source.as_str(),
            source_reason: SourceReasonReport {
                reason: found.source_reason.as_str(),
                variables: found.source_reason.variables(),
            },
            source_error: report(found.source_error.as_ref()),
            imds: found.imds.as_ref().map(ImdsReport::new),
            imds_v2_disabled: found.imds_v2_disabled,
            operating_system: found.operating_system.as_str(),
            security: found.security.as_ref().map(SecurityReport::new),
            security_error: report(found.security_error.as_ref()),
            strongest_key: strength(found.strongest_key),
            strongest_binding: strength(found.strongest_binding),
            why_not_stronger: report(found.why_not_stronger.as_ref()),
            attestation: AttestationReport::new(&found.attestation),
            source_text: format!(
                "{}: {}",
                found.source,
                source_reason(found.source_reason, false)
            ),
        }
    }

    /// The report as text: a line for each capability, and below it the reason why it is missing.
    pub(super) fn text(&self) -> String {
        let mut lines = Lines::default();
        lines.add("source", &self.source_text);
        lines.reason(self.source_error.as_ref());
        if let Some(imds) = &self.imds {
            lines.add("IMDS", &imds.text(self.imds_v2_disabled));
            let why = self.why_not_stronger.as_ref().map(ErrorReport::reason);
            // Usually it is also why there is no binding.
            let error = imds.error.as_ref();
            lines.reason(error.filter(|error| Some(error.reason()) != why));
        }
        if self.imds_v2_disabled {
            lines.add("kill switch", "MSAL_MI_DISABLE_IMDS_V2 disables v2");
        }
        lines.add("operating system", self.operating_system);
        if let Some(security) = &self.security {
            lines.add(
                "security type",
                security.r#type.as_deref().unwrap_or("none"),
            );
            lines.add("Secure Boot", on_or_off(security.secure_boot));
            lines.add("virtual TPM", on_or_off(security.virtual_tpm));
        } else if self.imds.is_some() {
            lines.add("security type", "not known");
            lines.reason(self.security_error.as_ref());
        }
        lines.add("strongest key", self.strongest_key.unwrap_or("none"));
        let none = "none: no token of this host can be bound to a key";
        lines.add("strongest binding", self.strongest_binding.unwrap_or(none));
        if matches!(self.strongest_binding, Some("software" | "hardware")) {
            lines.more("IMDS may reject certificates for keys that are not attested KeyGuard keys");
        }
        if let Some(why) = &self.why_not_stronger {
            lines.add("why not stronger", why.reason());
            lines.more(&format!("next: {}", why.next_step()));
            lines.more(&format!("code: {}", why.code()));
        }
        lines.add("attestation", &self.attestation.text());
        lines.reason(self.attestation.error.as_ref());
        lines.0.join("\n")
    }
}

impl ImdsReport {
    fn new(imds: &ImdsVersions) -> Self {
        Self {
            v1: imds.v1,
            v2: imds.v2,
            error: report(imds.error.as_ref()),
        }
    }

    fn text(&self, v2_disabled: bool) -> String {
        let version = |supported| match supported {
            Some(true) => "yes",
            Some(false) => "no",
            None => "not known",
        };
        let v2 = match self.v2 {
            None if v2_disabled => "not asked",
            v2 => version(v2),
        };
        format!("v2 {v2}, v1 {}", version(self.v1))
    }
}

impl SecurityReport {
    fn new(security: &SecurityProfile) -> Self {
        let name = security.security_type.as_ref();
        Self {
            r#type: name.map(|name| printable_line(name.as_str())),
            secure_boot: security.secure_boot,
            virtual_tpm: security.virtual_tpm,
        }
    }
}

impl AttestationReport {
    fn new(found: &AttestationSupport) -> Self {
        let (library, error) = match found {
            AttestationSupport::Library(path) => (Some(path.to_string_lossy().into_owned()), None),
            AttestationSupport::NoLibrary(error) => (None, Some(error)),
            _ => (None, None),
        };
        Self {
            support: found.as_str(),
            library,
            error: report(error),
        }
    }

    fn text(&self) -> String {
        match (&self.library, self.support) {
            (Some(path), _) => format!("library {}", printable_line(path)),
            (None, "no_library") => "no library found".to_owned(),
            (None, _) => "none: keys are attested on Windows only".to_owned(),
        }
    }
}

/// The lines of the text: a name and its value in two columns.
#[derive(Default)]
struct Lines(Vec<String>);

impl Lines {
    fn add(&mut self, name: &str, value: &str) {
        self.0.push(format!("{name:<WIDTH$}{value}"));
    }

    /// Another line of the same value.
    fn more(&mut self, text: &str) {
        self.add("", text);
    }

    fn reason(&mut self, error: Option<&ErrorReport>) {
        if let Some(error) = error {
            self.more(error.reason());
        }
    }
}

fn report(error: Option<&Error>) -> Option<ErrorReport> {
    error.map(ErrorReport::new)
}

fn on_or_off(value: Option<bool>) -> &'static str {
    match value {
        Some(true) => "on",
        Some(false) => "off",
        None => "not known",
    }
}

const WIDTH: usize = 19;
