//! Rules that hold for more than one target, and the fixtures they share.
use keybound_core::{Certificate, Error, ManagedIdentity};
use std::error::Error as _;
use std::sync::LazyLock;
use std::time::{Duration, SystemTime};

/// Stands where secrets stand in the seeds.
pub const CANARY: &str = "swordfish";

/// The binding key of every target: SubjectPublicKeyInfo of an RSA-2048 key that nobody has any more.
pub const PUBLIC_KEY: &[u8] = include_bytes!("../fixtures/public_key.der");
pub const CLIENT: &str = "1a1a1111-1111-1111-1111-11111111111b";
pub const TENANT: &str = "2a2a2222-2222-2222-2222-22222222222b";

/// A certificate for it, as IMDS issues them.
pub static CERTIFICATE: LazyLock<Certificate> = LazyLock::new(|| {
    let der = include_bytes!("../fixtures/certificate.der");
    Certificate::from_der(der).expect("the fixture is a certificate")
});

/// A day into the life of [`CERTIFICATE`].
pub fn now() -> SystemTime {
    CERTIFICATE.not_before() + Duration::from_secs(24 * 3600)
}

/// Every kind of identity that an answer may be for.
pub fn identities() -> [ManagedIdentity; 2] {
    let by_client_id = ManagedIdentity::client_id(CLIENT).expect("a GUID");
    [ManagedIdentity::system_assigned(), by_client_id]
}

/// An error is short, safe to be shown, and quotes no secret: neither itself nor its causes. A service's words in the
/// place of an answer are quoted.
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

/// Text that may be shown as it is.
pub fn assert_safe(text: &str) {
    assert!(text.chars().count() <= 2500, "too long: {text:?}");
    assert_printable(text);
    assert_no_canary(text);
}

/// No character that controls, reorders or hides what is shown. Written here again, not taken from the reader.
pub fn assert_printable(text: &str) {
    for character in text.chars() {
        let code = u32::from(character);
        let hidden = matches!(code, 0..=0x1f | 0x7f..=0x9f | 0xad | 0x61c | 0x180e | 0x200b..=0x200f | 0x2028..=0x202e
            | 0x2060..=0x206f | 0xfeff | 0xfff9..=0xfffb | 0xe0000..=0xe007f);
        assert!(!hidden, "U+{code:04X} in {text:?}");
    }
}

pub fn assert_no_canary(text: &str) {
    assert!(!text.contains(CANARY), "a secret came out: {text:?}");
}
