//! Checks and fixtures of several targets.
use keybound_core::{Certificate, Error, ManagedIdentity};
use std::error::Error as _;
use std::sync::LazyLock;
use std::time::{Duration, SystemTime};

/// Replaces secrets in the seeds.
pub const CANARY: &str = "swordfish";

/// The binding key of every target: SubjectPublicKeyInfo of an RSA-2048 key that was deleted.
pub const PUBLIC_KEY: &[u8] = include_bytes!("../fixtures/public_key.der");
pub const CLIENT: &str = "1a1a1111-1111-1111-1111-11111111111b";
pub const TENANT: &str = "2a2a2222-2222-2222-2222-22222222222b";

/// A certificate for this key in the form that IMDS issues.
pub static CERTIFICATE: LazyLock<Certificate> = LazyLock::new(|| {
    let der = include_bytes!("../fixtures/certificate.der");
    Certificate::from_der(der).expect("the fixture is a certificate")
});

/// A day after the start of the validity of [`CERTIFICATE`].
pub fn now() -> SystemTime {
    CERTIFICATE.not_before() + Duration::from_secs(24 * 3600)
}

/// Every kind of identity that a response may be for.
pub fn identities() -> [ManagedIdentity; 2] {
    let by_client_id = ManagedIdentity::client_id(CLIENT).expect("a GUID");
    [ManagedIdentity::system_assigned(), by_client_id]
}

/// Checks that an error and its causes are short, printable and without secrets. The text of a service error is quoted.
pub fn error(error: &Error) {
    let shown = error.to_string();
    assert!(shown.chars().count() <= 2500, "too long: {shown:?}");
    assert_printable(&shown);
    let error = &error.clone().with_service(None);
    assert_safe(&error.to_string());
    let mut cause = error.source();
    while let Some(inner) = cause {
        assert_safe(&inner.to_string());
        assert_no_canary(&format!("{inner:?}"));
        cause = inner.source();
    }
    assert_no_canary(&format!("{error:?}"));
    assert!(!error.next_step().is_empty());
}

/// Checks that a text is short, printable and without secrets.
pub fn assert_safe(text: &str) {
    assert!(text.chars().count() <= 2500, "too long: {text:?}");
    assert_printable(text);
    assert_no_canary(text);
}

/// Checks that no character controls, reorders or hides text. This list is independent of the product's.
pub fn assert_printable(text: &str) {
    for character in text.chars() {
        let code = u32::from(character);
        let hidden = matches!(code, 0..=0x1f | 0x7f..=0x9f | 0xad | 0x61c | 0x180e | 0x200b..=0x200f | 0x2028..=0x202e
            | 0x2060..=0x206f | 0xfeff | 0xfff9..=0xfffb | 0xe0000..=0xe007f);
        assert!(!hidden, "U+{code:04X} in {text:?}");
    }
}

pub fn assert_no_canary(text: &str) {
    assert!(!text.contains(CANARY), "a secret leaks: {text:?}");
}
