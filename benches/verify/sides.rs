use crate::pairs::{Figure, compare_processor_time};
use keybound_resource::{ClientCertificate, Clock as _, Guid, KeySet, Keys, SystemClock, Verifier};
use keybound_testing::attacks::{RESOURCE, TENANT, TestIssuer, TokenRecipe};
use std::hint::black_box;
use std::time::{Duration, UNIX_EPOCH};

/// Keybound's side of the comparisons: verifiers, the client's certificate, and tokens of it.
pub struct Sides {
    pub issuer: TestIssuer,
    pub certificate: ClientCertificate,
    /// Values of `Authorization`.
    pub headers: Vec<String>,
}

impl Sides {
    /// With this number of tokens.
    pub fn new(tokens: usize) -> Self {
        let issuer = TestIssuer::new(UNIX_EPOCH + SystemClock::new().wall());
        let certificate = issuer.certificates.der("client").unwrap();
        let recipe: TokenRecipe = serde_json::from_str(RECIPE).unwrap();
        let header = |number: usize| {
            let mut recipe = recipe.clone();
            recipe
                .claims
                .insert("uti".to_owned(), format!("{number:016}").into());
            format!("mtls_pop {}", recipe.make(&issuer))
        };
        Self {
            headers: (0..tokens).map(header).collect(),
            certificate: ClientCertificate::from_der(&certificate).unwrap(),
            issuer,
        }
    }

    /// A verifier whose cache has this size.
    pub fn verifier(&self, cache_bytes: usize) -> Verifier {
        let keys = KeySet::parse(self.issuer.key_set().to_string().as_bytes()).unwrap();
        Verifier::builder()
            .audience(RESOURCE)
            .tenant(Guid::parse(TENANT).unwrap())
            .require_roles(["Orders.Read.All"])
            .require_app_only(true)
            .keys(Keys::fixed(keys))
            .cache_bytes(cache_bytes)
            .build()
            .unwrap()
    }

    /// The token of a header.
    pub fn token(&self, number: usize) -> &str {
        self.headers[number].split_once(' ').unwrap().1
    }

    /// Verifies a token.
    pub fn accept(&self, verifier: &Verifier, number: usize) {
        let caller = verifier.verify(self.headers[number].as_str(), &self.certificate);
        black_box(caller.unwrap());
    }

    /// A token that is not cached, again and again, compared with another work.
    pub fn compare_uncached(
        &self,
        pairs: usize,
        name: &'static str,
        bound: f64,
        mut other: impl FnMut(),
    ) -> Figure {
        let verifier = self.verifier(0);
        let ours = || repeat(UNCACHED, || self.accept(&verifier, 0));
        let theirs = || repeat(UNCACHED, &mut other);
        compare_processor_time(name, bound, pairs, processor_time, ours, theirs)
    }
}

pub fn repeat(count: usize, mut work: impl FnMut()) {
    for _ in 0..count {
        work();
    }
}

#[cfg(unix)]
pub fn processor_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    time.try_into().unwrap_or_default()
}

/// The monotonic clock.
#[cfg(not(unix))]
pub fn processor_time() -> Duration {
    SystemClock::new().monotonic()
}

/// Tokens of a batch that are verified.
pub const UNCACHED: usize = 50;
/// As long as Entra's tokens.
const RECIPE: &str = r#"{"claims":{
    "rh": "1.AQ8Av4j5cvGGr0GRqy180BHbR8AAAAAAAAAAwAAAAAAAAABkAAAPAA.AgABAwEAAABVrSpeuWamRam2jAF1XRQEAwDs_wUA9P8",
    "wids": ["0997a1d0-0d1d-4acb-b408-d5ca73121e90"],
    "xms_ftd": "k5Xf3gkq2cVbYq0Xz0YF7m3V9lqz1bO0o8s7gC2nZ0EBZXVyb3BlLWRzdGVhc3Q",
    "xms_idrel": "7 14"
}}"#;
