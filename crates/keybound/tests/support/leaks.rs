//! Whether a text holds a secret, or enough of one.

/// Fails where `text` holds a secret, or a part of it as long as a guess at it would need.
pub fn assert_none(secrets: &[String], text: &str, whose: &str) {
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

/// Overlapping pieces, so that any run of 24 characters of the secret holds one. The header of a JWT is no secret.
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
