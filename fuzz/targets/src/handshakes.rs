//! What a server says in a TLS handshake.
use keybound_transport::fuzz::seen_in_handshake;

/// What is seen does not hang on how the bytes come, and is no more than a handshake has.
pub fn server_handshake(data: &[u8]) {
    let seen = seen_in_handshake([data]);
    for step in [1, 5, 1000] {
        assert_eq!(
            seen,
            seen_in_handshake(data.chunks(step)),
            "in steps of {step}"
        );
    }
    // Each takes a record of at least 6 bytes.
    assert!(seen.len() <= data.len() / 6 + 1);
    let ends = |word: &str| word.starts_with("Alert") || word == "NoTls" || word == "Tls13";
    let last = seen.iter().position(|word| ends(word));
    assert!(last.is_none_or(|last| last + 1 == seen.len()), "{seen:?}");
}
