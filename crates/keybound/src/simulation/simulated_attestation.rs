//! A provider of simulated attestations attests simulated keys only, and other providers attest other keys only.
use super::Leg;
use super::script::Script;
use super::test_host::{Setup, TestHost};
use crate::cache::tests::authority;
use crate::{ErrorKind, KeyRequirements, KeyStrength, Stage, TokenRequest};
use keybound_testing::{FakeAttestation, FixedKeyProvider, TestKey};
use keybound_transport::TrustAnchors;
use std::sync::Arc;

#[tokio::test(start_paused = true)]
async fn attested_or_error_if_only_key_or_attestation_is_simulated() {
    let pem = authority();
    for (key, attestor) in [(true, true), (false, false), (true, false), (false, true)] {
        let host = TestHost::new(Setup::default(), Script::default());
        let provider = Arc::new(FakeAttestation::new(attestor));
        let test_key = TestKey::new().with_strength(KeyStrength::KeyGuard);
        let keys = FixedKeyProvider::new(Arc::new(test_key.with_simulated(key))).at_once();
        let client = host
            .client_builder(Arc::new(keys), 1)
            // Simulated keys need IMDS on loopback and a CA of the caller.
            .imds_endpoint("http://127.0.0.1:1")
            .trust(TrustAnchors::system().with_pem(&pem).unwrap())
            .attestation(Arc::clone(&provider) as _)
            .build()
            .unwrap();
        let request = TokenRequest::pop("https://vault.azure.net", KeyRequirements::attested());
        let result = client.acquire_token(&request).await;
        let requests = provider.requests();
        if key == attestor {
            let token = result.unwrap();
            let binding = token.binding().unwrap();
            let word = if key { "simulated" } else { "attested" };
            assert_eq!((binding.attestation().as_str(), requests), (word, 1));
        } else {
            let error = result.unwrap_err();
            let actual = (error.kind(), error.stage());
            assert_eq!(
                actual,
                (ErrorKind::AttestationUnavailable, Stage::Attestation)
            );
            assert_eq!((requests, host.calls(Leg::Issue).len()), (0, 0));
        }
    }
}
