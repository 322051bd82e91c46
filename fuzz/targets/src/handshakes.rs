//! The observation of a TLS handshake.
use keybound_transport::fuzz::handshake_events;

/// The events do not depend on the segmentation of the bytes, and their number is bounded.
pub fn server_handshake(data: &[u8]) {
    let events = handshake_events([data]);
    for step in [1, 5, 1000] {
        assert_eq!(
            events,
            handshake_events(data.chunks(step)),
            "in segments of {step}"
        );
    }
    // Each event takes a record of at least 6 bytes.
    assert!(events.len() <= data.len() / 6 + 1);
    let is_last = |event: &str| event.starts_with("Alert") || event == "NotTls" || event == "Tls13";
    let last = events.iter().position(|event| is_last(event));
    assert!(
        last.is_none_or(|last| last + 1 == events.len()),
        "{events:?}"
    );
}
