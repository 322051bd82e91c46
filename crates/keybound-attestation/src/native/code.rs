use std::fmt;

/// A code of `AttestationClientLib.dll`: 0 is success, anything else a failure. 35 failures are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct NativeCode(i32);

impl NativeCode {
    /// The code of this number, known or not.
    pub fn new(number: i32) -> Self {
        Self(number)
    }

    /// The failures that are known, -1 first.
    pub fn known() -> impl Iterator<Item = Self> {
        (1_i32..).zip(FAILURES).map(|(number, _)| Self(-number))
    }

    /// The number.
    pub fn number(self) -> i32 {
        self.0
    }

    /// Whether it says that the call did what it should.
    pub fn is_success(self) -> bool {
        self.0 == 0
    }

    /// Its name in the library's own documentation; `UNKNOWN` for a number without one.
    pub fn name(self) -> &'static str {
        self.failure().map_or("UNKNOWN", |failure| failure.name)
    }

    /// What it means, lower-case, without a full stop.
    pub fn meaning(self) -> &'static str {
        match self.failure() {
            Some(failure) => failure.meaning,
            None if self.is_success() => "success",
            None => "a code that is not documented",
        }
    }

    /// What to do next, in one sentence.
    pub fn next_step(self) -> &'static str {
        self.failure().map_or(
            "read the library's log lines (-v); a newer library may bring new codes",
            |failure| failure.next_step,
        )
    }

    /// Whether asking again later, unchanged, can help.
    pub fn is_transient(self) -> bool {
        self.failure().is_some_and(|failure| failure.transient)
    }

    fn failure(self) -> Option<&'static Failure> {
        let position = self.0.checked_neg()?.checked_sub(1)?;
        FAILURES.get(usize::try_from(position).ok()?)
    }
}

/// `-13 (ERRORTPMOPERATIONFAILURE)`.
impl fmt::Display for NativeCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.0, self.name())
    }
}

struct Failure {
    name: &'static str,
    meaning: &'static str,
    next_step: &'static str,
    transient: bool,
}

const fn lasting(name: &'static str, meaning: &'static str, next_step: &'static str) -> Failure {
    Failure {
        name,
        meaning,
        next_step,
        transient: false,
    }
}

const fn passing(name: &'static str, meaning: &'static str, next_step: &'static str) -> Failure {
    Failure {
        name,
        meaning,
        next_step,
        transient: true,
    }
}

const WHO_ANSWERS: &str = "check that no proxy or portal answers in place of the attestation endpoint; if it stays, report it to the service";
const WAY: &str = "check that this host reaches the attestation endpoint: name resolution, routes, firewall, proxy, TLS inspection";
const LATER: &str = "try again later; if it stays, report it to the attestation service";
const TPM: &str =
    "check the virtual TPM of this VM (Get-Tpm; Trusted Launch with vTPM on), then restart the VM";
const REPORT: &str = "ask with the library's log lines (-v) where the library is from; an older or newer library may do";
const KEY_OF_THIS_BOOT: &str = "check that virtualization-based security runs (msinfo32) and that the key was made since the last start; restart the VM so that a new one is made";

/// The failure -1 is first.
static FAILURES: &[Failure] = &[
    lasting(
        "ERRORCURLINITIALIZATION",
        "the library's HTTP client (libcurl) did not start",
        "restart the program; if it stays, replace the library",
    ),
    lasting(
        "ERRORRESPONSEPARSING",
        "the attestation service's answer could not be read",
        WHO_ANSWERS,
    ),
    passing(
        "ERRORMSITOKENNOTFOUND",
        "the library got no managed identity token for a request of its own",
        "check that the VM has a managed identity and that IMDS answers",
    ),
    passing(
        "ERRORHTTPREQUESTEXCEEDEDRETRIES",
        "the attestation service did not answer well in any of the library's attempts",
        WAY,
    ),
    passing(
        "ERRORHTTPREQUESTFAILED",
        "the request to the attestation service failed: network, status or timeout",
        WAY,
    ),
    lasting(
        "ERRORATTESTATIONFAILED",
        "the service's enclave rejected the evidence: kind of key, state of the boot, signature or policy",
        "check that the key is a KeyGuard key and that Secure Boot and vTPM are on (msinfo32); then read the policy of the attestation service",
    ),
    passing(
        "ERRORSENDINGCURLREQUESTFAILED",
        "the request could not be sent: name resolution, TLS or the connection failed",
        WAY,
    ),
    lasting(
        "ERRORINVALIDINPUTPARAMETER",
        "the library took an argument for invalid: endpoint, key, client id, token or payload",
        "check the authentication token and client payload if you set them, else have NULL passed for them (--attestation-null-arguments); if it stays, report it with the log lines (-v)",
    ),
    lasting(
        "ERRORATTESTATIONPARAMETERSVALIDATIONFAILED",
        "the library's own check of the attestation's parameters failed",
        "check the client payload if you set it (it is JSON), else have NULL passed for it (--attestation-null-arguments); if it stays, report it with the log lines (-v)",
    ),
    passing(
        "ERRORFAILEDMEMORYALLOCATION",
        "the library got no memory",
        "free memory on this host and try again",
    ),
    lasting(
        "ERRORFAILEDTOGETOSINFO",
        "the version of Windows for the evidence could not be read",
        "check that this Windows is one that the library supports; read the log lines (-v)",
    ),
    lasting(
        "ERRORTPMINTERNALFAILURE",
        "the TPM failed while evidence was gathered",
        TPM,
    ),
    lasting(
        "ERRORTPMOPERATIONFAILURE",
        "a TPM operation failed, or there is no TPM",
        TPM,
    ),
    lasting(
        "ERRORJWTDECRYPTIONFAILED",
        "the service's encrypted token could not be decrypted",
        KEY_OF_THIS_BOOT,
    ),
    lasting(
        "ERRORJWTDECRYPTIONTPMERROR",
        "the TPM failed to decrypt the service's token",
        TPM,
    ),
    lasting(
        "ERRORINVALIDJSONRESPONSE",
        "the service's answer is no JSON, or lacks members",
        WHO_ANSWERS,
    ),
    passing(
        "ERROREMPTYVCEKCERT",
        "the certificate of the AMD processor (VCEK) came back empty",
        LATER,
    ),
    passing("ERROREMPTYRESPONSE", "the service's answer is empty", LATER),
    lasting(
        "ERROREMPTYREQUESTBODY",
        "the library made an empty request",
        REPORT,
    ),
    lasting(
        "ERRORHCLREPORTPARSINGFAILURE",
        "the report of the host compatibility layer (HCL) could not be read",
        "check that the VM is one with Trusted Launch or confidential computing; then report it with the log lines (-v)",
    ),
    lasting(
        "ERRORHCLREPORTEMPTY",
        "the report of the host compatibility layer (HCL) is empty",
        "check that the VM is one with Trusted Launch or confidential computing, then restart it",
    ),
    lasting(
        "ERROREXTRACTINGJWKINFO",
        "the evidence holds no JSON web key that can be read",
        REPORT,
    ),
    lasting(
        "ERRORCONVERTINGJWKTORSAPUB",
        "a JSON web key of the evidence is no RSA public key",
        REPORT,
    ),
    lasting(
        "ERROREVPPKEYENCRYPTINITFAILED",
        "RSA encryption could not begin (the library's OpenSSL)",
        REPORT,
    ),
    lasting(
        "ERROREVPPKEYENCRYPTFAILED",
        "RSA encryption of a claim failed (the library's OpenSSL)",
        REPORT,
    ),
    lasting(
        "ERRORDATADECRYPTIONTPMERROR",
        "the TPM failed to decrypt data",
        TPM,
    ),
    passing(
        "ERRORPARSINGDNSINFO",
        "the name of the attestation endpoint could not be made out in DNS",
        WAY,
    ),
    lasting(
        "ERRORPARSINGATTESTATIONRESPONSE",
        "the envelope of the service's answer could not be read",
        WHO_ANSWERS,
    ),
    passing(
        "ERRORAKCERTPROVISIONINGFAILED",
        "the TPM's attestation key got no certificate",
        "wait a few minutes after the first start of a VM and try again; if it stays, check the virtual TPM (Get-Tpm)",
    ),
    lasting(
        "ERRORCLIENTINITFAILED",
        "the library's client did not start",
        "restart the program; read the log lines (-v); if it stays, replace the library",
    ),
    passing(
        "ERROREMPTYJWTRESPONSE",
        "the service answered an empty token",
        LATER,
    ),
    lasting(
        "ERRORCREATEKGATTESTATIONREPORT",
        "the KeyGuard report on the key could not be made",
        KEY_OF_THIS_BOOT,
    ),
    lasting(
        "ERROREXTRACTIMPORTKEYPUB",
        "the public key could not be exported",
        KEY_OF_THIS_BOOT,
    ),
    lasting(
        "ERRORUNEXPECTEDEXCEPTION",
        "an unexpected C++ exception arose in the library",
        REPORT,
    ),
    lasting(
        "ERRORLOGGERINITIALIZATION",
        "the library's logger did not start: a file, a path or a permission",
        "check that the account may write to its temporary folder and to the library's log folder",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn all_35_codes_have_a_meaning_and_a_next_step() {
        let known: Vec<_> = NativeCode::known().collect();
        let numbers: Vec<_> = known.iter().map(|code| code.number()).collect();
        assert_eq!(numbers, (1..=35).map(|n| -n).collect::<Vec<_>>());
        let names: HashSet<_> = known.iter().map(|code| code.name()).collect();
        assert_eq!(names.len(), 35);
        for code in known {
            assert!(code.name().starts_with("ERROR"), "{code}");
            for text in [code.meaning(), code.next_step()] {
                assert!(text.len() > 20 && !text.ends_with('.'), "{code}: {text}");
                // Only names may begin large.
                assert!(
                    !text.starts_with(char::is_uppercase) || text.starts_with("RSA"),
                    "{code}: {text}"
                );
            }
        }
    }

    #[test]
    fn numbers_have_their_names() {
        for (number, name) in [
            (-1, "ERRORCURLINITIALIZATION"),
            (-6, "ERRORATTESTATIONFAILED"),
            (-13, "ERRORTPMOPERATIONFAILURE"),
            (-20, "ERRORHCLREPORTPARSINGFAILURE"),
            (-27, "ERRORPARSINGDNSINFO"),
            (-32, "ERRORCREATEKGATTESTATIONREPORT"),
            (-35, "ERRORLOGGERINITIALIZATION"),
        ] {
            assert_eq!(NativeCode::new(number).name(), name);
        }
        assert_eq!(
            NativeCode::new(-13).to_string(),
            "-13 (ERRORTPMOPERATIONFAILURE)"
        );
    }

    #[test]
    fn unknown_numbers_are_failures_without_a_name() {
        for number in [-36, 1, i32::MIN, i32::MAX] {
            let code = NativeCode::new(number);
            assert_eq!(code.name(), "UNKNOWN");
            assert!(!code.is_success() && !code.is_transient());
        }
        assert!(NativeCode::new(0).is_success());
    }
}
