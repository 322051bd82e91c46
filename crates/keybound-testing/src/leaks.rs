//! Checks that a text holds no secret, or a large part of one.

/// Fails if `text` holds a secret, or a part of it that is long enough to guess the rest.
pub fn assert_no_leak(secrets: &[String], text: &str, whose: &str) {
    for secret in secrets {
        for piece in pieces(secret) {
            assert!(
                !text.contains(piece),
                "{whose}: a secret leaks: …{piece}… in\n{text}"
            );
        }
    }
    assert!(!text.contains("PRIVATE KEY"), "{whose}: a key leaks");
}

/// Pieces of the secret, one in each run of 24 characters. The header of a JWT is no secret.
fn pieces(secret: &str) -> impl Iterator<Item = &str> {
    let start = match secret.split_once('.') {
        Some((header, _)) if secret.starts_with("eyJ") => header.len() + 1,
        _ => 0,
    };
    let secret = &secret[start..];
    let length = secret.len().min(PIECE);
    (0..=secret.len() - length)
        .step_by(PIECE)
        .map(move |at| &secret[at..at + length])
}

const PIECE: usize = 12;

#[cfg(test)]
mod tests {
    use super::*;
    use std::panic::catch_unwind;

    #[test]
    fn detects_leaks() {
        let secret =
            "eyJhbGciOiJub25lIn0.eyJzdWIiOiJzd29yZGZpc2gtMSJ9.c2lnbmF0dXJlLXN3b3JkZmlzaC0x";
        let middle = &secret[30..54];
        for text in [
            format!("x {secret} x"),
            format!("…{middle}…"),
            "-----BEGIN PRIVATE KEY-----".into(),
        ] {
            let result = catch_unwind(|| assert_no_leak(&[secret.into()], &text, "it"));
            assert!(result.is_err(), "{text}");
        }
        assert_no_leak(&[secret.into()], "eyJhbGciOiJub25lIn0 [redacted]", "it");
    }
}
