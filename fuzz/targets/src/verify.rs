//! The daemon that verifies tokens for proxies.
use crate::check;

/// A message of Envoy's external authorization. What is logged of it has no secret.
pub fn verify_check_request(data: &[u8]) {
    if let Some(shown) = keybound_verify::fuzz::check_request(data) {
        assert!(!shown.contains(check::CANARY), "{shown}");
    }
}

/// The configuration of the daemon, and what is printed from it for proxies.
pub fn verify_config(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    if let Some(error) = keybound_verify::fuzz::config(text) {
        assert!(error.chars().count() <= 2500, "too long: {error:?}");
        assert!(!error.chars().any(char::is_control), "{error:?}");
    }
}
