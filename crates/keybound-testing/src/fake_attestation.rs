//! An attestation provider without a service.
use keybound_attestation::{AttestationFuture, AttestationProvider, AttestationRequest};
use keybound_core::AttestationToken;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Attests every key, each time with another text in the form of a JWT.
#[derive(Debug, Default)]
pub struct FakeAttestation {
    simulated: bool,
    requests: AtomicUsize,
}

impl FakeAttestation {
    /// A provider that is simulated, or not.
    pub fn new(simulated: bool) -> Self {
        Self {
            simulated,
            requests: AtomicUsize::new(0),
        }
    }

    /// How many attestations were requested.
    pub fn requests(&self) -> usize {
        self.requests.load(Ordering::Relaxed)
    }
}

impl AttestationProvider for FakeAttestation {
    fn attest<'a>(&'a self, request: AttestationRequest<'a>) -> AttestationFuture<'a> {
        assert_eq!(request.endpoint.scheme(), "https");
        let number = self.requests.fetch_add(1, Ordering::Relaxed) + 1;
        let process = std::process::id();
        let token =
            format!("eyJhbGciOiJSUzI1NiJ9.swordfish{process}x{number}.c2lnbmF0dXJl{number}");
        Box::pin(async move { AttestationToken::new(token) })
    }

    fn is_simulated(&self) -> bool {
        self.simulated
    }
}
