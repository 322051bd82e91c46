use std::fmt;

/// A return code of `AttestationClientLib.dll`: 0 is success, any other a failure. 35 failures are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct NativeCode(i32);

impl NativeCode {
    /// The code with this number, known or not.
    pub fn new(number: i32) -> Self {
        Self(number)
    }

    /// The known failures, from -1 on.
    pub fn known() -> impl Iterator<Item = Self> {
        (1_i32..).zip(FAILURES).map(|(number, _)| Self(-number))
    }

    /// The number.
    pub fn number(self) -> i32 {
        self.0
    }

    /// Whether it is success.
    pub fn is_success(self) -> bool {
        self.0 == 0
    }

    /// Its name in the library's documentation; `UNKNOWN` if it is not known.
    pub fn name(self) -> &'static str {
        self.failure().map_or("UNKNOWN", |failure| failure.name)
    }

    /// Its meaning, lower-case, without a full stop.
    pub fn meaning(self) -> &'static str {
        match self.failure() {
            Some(failure) => failure.meaning,
            None if self.is_success() => "success",
            None => "a code that is not documented",
        }
    }

    /// The next step, in one sentence.
    pub fn next_step(self) -> &'static str {
        self.failure().map_or(
            "read the library's log lines (-v); a newer library may have new codes",
            |failure| failure.next_step,
        )
    }

    /// Whether a later retry can help.
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

const fn permanent(name: &'static str, meaning: &'static str, next_step: &'static str) -> Failure {
    Failure {
        name,
        meaning,
        next_step,
        transient: false,
    }
}

const fn transient(name: &'static str, meaning: &'static str, next_step: &'static str) -> Failure {
    Failure {
        transient: true,
        ..permanent(name, meaning, next_step)
    }
}

const RESPONDER: &str = "check that no proxy or portal responds instead of the attestation endpoint; if the error persists, report it to the service";
const NETWORK: &str = "check that this host reaches the attestation endpoint: name resolution, routes, firewall, proxy, TLS inspection";
const LATER: &str = "try again later; if the error persists, report it to the attestation service";
const TPM: &str =
    "check the virtual TPM of this VM (Get-Tpm; Trusted Launch with vTPM on), then restart the VM";
const REPORT: &str =
    "report the library's log lines (-v) to its supplier; try an older or newer library";
const KEY_OF_THIS_BOOT: &str = "check that virtualization-based security is running (msinfo32) and that the key was created since the last boot; restart the VM to create a new one";

/// From -1 on.
static FAILURES: &[Failure] = &[
    permanent(
        "ERRORCURLINITIALIZATION",
        "the library's HTTP client (libcurl) did not start",
        "restart the program; if the error persists, replace the library",
    ),
    permanent(
        "ERRORRESPONSEPARSING",
        "the attestation service's response could not be parsed",
        RESPONDER,
    ),
    transient(
        "ERRORMSITOKENNOTFOUND",
        "the library could not get a managed identity token for its own requests",
        "check that the VM has a managed identity and that IMDS responds",
    ),
    transient(
        "ERRORHTTPREQUESTEXCEEDEDRETRIES",
        "none of the library's requests to the attestation service succeeded",
        NETWORK,
    ),
    transient(
        "ERRORHTTPREQUESTFAILED",
        "the request to the attestation service failed: network, status or timeout",
        NETWORK,
    ),
    permanent(
        "ERRORATTESTATIONFAILED",
        "the service's enclave rejected the evidence: key type, boot state, signature or policy",
        "check that the key is a KeyGuard key and that Secure Boot and vTPM are on (msinfo32); then read the policy of the attestation service",
    ),
    transient(
        "ERRORSENDINGCURLREQUESTFAILED",
        "the request could not be sent: name resolution, TLS or the connection failed",
        NETWORK,
    ),
    permanent(
        "ERRORINVALIDINPUTPARAMETER",
        "the library rejected an argument: endpoint, key, client id, token or payload",
        "check the authentication token and client payload if you set them, otherwise pass NULL for them (--attestation-null-arguments); if the error persists, report it with the log lines (-v)",
    ),
    permanent(
        "ERRORATTESTATIONPARAMETERSVALIDATIONFAILED",
        "the library's own check of the attestation's parameters failed",
        "check the client payload if you set it (it is JSON), otherwise pass NULL for it (--attestation-null-arguments); if the error persists, report it with the log lines (-v)",
    ),
    transient(
        "ERRORFAILEDMEMORYALLOCATION",
        "the library could not allocate memory",
        "free memory on this host and try again",
    ),
    permanent(
        "ERRORFAILEDTOGETOSINFO",
        "the version of Windows for the evidence could not be read",
        "check that the library supports this version of Windows; read the log lines (-v)",
    ),
    permanent(
        "ERRORTPMINTERNALFAILURE",
        "the TPM failed while evidence was collected",
        TPM,
    ),
    permanent(
        "ERRORTPMOPERATIONFAILURE",
        "a TPM operation failed, or there is no TPM",
        TPM,
    ),
    permanent(
        "ERRORJWTDECRYPTIONFAILED",
        "the service's encrypted token could not be decrypted",
        KEY_OF_THIS_BOOT,
    ),
    permanent(
        "ERRORJWTDECRYPTIONTPMERROR",
        "the TPM failed to decrypt the service's token",
        TPM,
    ),
    permanent(
        "ERRORINVALIDJSONRESPONSE",
        "the service's response is not JSON, or members are missing",
        RESPONDER,
    ),
    transient(
        "ERROREMPTYVCEKCERT",
        "the certificate of the AMD processor (VCEK) is empty",
        LATER,
    ),
    transient(
        "ERROREMPTYRESPONSE",
        "the service's response is empty",
        LATER,
    ),
    permanent(
        "ERROREMPTYREQUESTBODY",
        "the library created an empty request",
        REPORT,
    ),
    permanent(
        "ERRORHCLREPORTPARSINGFAILURE",
        "the report of the host compatibility layer (HCL) could not be read",
        "check that the VM has Trusted Launch or confidential computing; then report it with the log lines (-v)",
    ),
    permanent(
        "ERRORHCLREPORTEMPTY",
        "the report of the host compatibility layer (HCL) is empty",
        "check that the VM has Trusted Launch or confidential computing, then restart it",
    ),
    permanent(
        "ERROREXTRACTINGJWKINFO",
        "the evidence contains no readable JSON web key",
        REPORT,
    ),
    permanent(
        "ERRORCONVERTINGJWKTORSAPUB",
        "a JSON web key in the evidence is not an RSA public key",
        REPORT,
    ),
    permanent(
        "ERROREVPPKEYENCRYPTINITFAILED",
        "RSA encryption could not be initialized (the library's OpenSSL)",
        REPORT,
    ),
    permanent(
        "ERROREVPPKEYENCRYPTFAILED",
        "RSA encryption of a claim failed (the library's OpenSSL)",
        REPORT,
    ),
    permanent(
        "ERRORDATADECRYPTIONTPMERROR",
        "the TPM failed to decrypt data",
        TPM,
    ),
    transient(
        "ERRORPARSINGDNSINFO",
        "the name of the attestation endpoint could not be resolved",
        NETWORK,
    ),
    permanent(
        "ERRORPARSINGATTESTATIONRESPONSE",
        "the envelope of the service's response could not be parsed",
        RESPONDER,
    ),
    transient(
        "ERRORAKCERTPROVISIONINGFAILED",
        "no certificate was issued for the TPM's attestation key",
        "wait a few minutes after the first start of a VM and try again; if the error persists, check the virtual TPM (Get-Tpm)",
    ),
    permanent(
        "ERRORCLIENTINITFAILED",
        "the library's client did not start",
        "restart the program; read the log lines (-v); if the error persists, replace the library",
    ),
    transient(
        "ERROREMPTYJWTRESPONSE",
        "the service returned an empty token",
        LATER,
    ),
    permanent(
        "ERRORCREATEKGATTESTATIONREPORT",
        "the KeyGuard report on the key could not be created",
        KEY_OF_THIS_BOOT,
    ),
    permanent(
        "ERROREXTRACTIMPORTKEYPUB",
        "the public key could not be exported",
        KEY_OF_THIS_BOOT,
    ),
    permanent(
        "ERRORUNEXPECTEDEXCEPTION",
        "an unexpected C++ exception occurred in the library",
        REPORT,
    ),
    permanent(
        "ERRORLOGGERINITIALIZATION",
        "the library's logger did not start: a file, a path or a permission",
        "check that the account may write to its temporary directory and to the library's log directory",
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
                // Only names begin with a capital.
                assert!(
                    !text.starts_with(char::is_uppercase) || text.starts_with("RSA"),
                    "{code}: {text}"
                );
            }
        }
    }

    #[test]
    fn maps_numbers_to_names() {
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
