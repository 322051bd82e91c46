//! An emulator, one client, and the checks of both at the end of a test.
use keybound::{
    AccessToken, Clock, KeyRequirements, KeyStrength, ManagedIdentityClient, SystemClock,
    TokenRequest,
};
use keybound_testing::emulated::TestHost;
use std::sync::{Arc, Weak};

pub const CALLERS: usize = 10_000;
pub const RESOURCES: usize = 200;

pub struct Crowd {
    pub host: TestHost,
    pub client: ManagedIdentityClient,
    clock_of_client: Weak<dyn Clock>,
}

impl Crowd {
    pub fn new() -> Self {
        let host = TestHost::lenient();
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let clock_of_client = Arc::downgrade(&clock);
        let client = host.builder_for_platform().clock(clock).build().unwrap();
        Self {
            host,
            client,
            clock_of_client,
        }
    }

    pub fn request(&self, resource: usize) -> TokenRequest {
        TokenRequest::pop(
            name(resource),
            KeyRequirements::unattested().min_strength(KeyStrength::Software),
        )
    }

    pub fn assert_counts(&self, metadata: u64, issue: u64, token: u64) {
        assert_eq!(
            ["metadata", "issue", "token"].map(|leg| self.host.count(leg)),
            [metadata, issue, token]
        );
    }

    /// Checks the scope that the client returned, and the audience in the token.
    pub fn assert_for(&self, resource: usize, token: &AccessToken) {
        assert_eq!(token.scope().resource(), name(resource));
        let claims = token.unverified_claims().unwrap();
        assert_eq!(claims.text("aud"), Some(&*name(resource)));
        assert!(token.binding().is_some());
    }

    /// Checks that no execution or task holds the client's settings any longer.
    pub fn assert_freed(self) {
        drop(self.client);
        assert_eq!(self.clock_of_client.strong_count(), 0);
    }
}

fn name(resource: usize) -> String {
    format!("https://resource-{resource}.example.net")
}
