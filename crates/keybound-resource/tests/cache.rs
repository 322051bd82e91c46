//! The cache of verified tokens.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

mod support;

use keybound_resource::{CacheCounters, ClientCertificate, MIN_CACHE_BYTES, Reason, Verifier};
use keybound_testing::attacks::{PolicyOfCase, TokenRecipe};
use support::{TestClock, builder, issuer};

/// The end of the signature finds the entry; it does not decide.
#[test]
fn cached_signature_under_other_claims_is_refused() {
    let verifier = verifier(1 << 20);
    let valid = token("a");
    assert_eq!(verify(&verifier, &valid), Ok(()));
    let (header, rest) = valid.split_once('.').unwrap();
    let (claims, signature) = rest.split_once('.').unwrap();
    let other = token("b");
    let other_claims = other.split('.').nth(1).unwrap();
    let forged = format!("{header}.{other_claims}.{signature}");
    assert_eq!(verify(&verifier, &forged), Err(Reason::SignatureInvalid));
    let longer = format!("{header}.{claims}.A{signature}");
    assert!(verify(&verifier, &longer).is_err());
    assert_eq!(
        verify(&verifier, &signature[signature.len() - 32..]),
        Err(Reason::TokenMalformed)
    );
    assert_eq!(verify(&verifier, &valid), Ok(()));
}

#[test]
fn memory_is_bounded() {
    const BOUND: usize = 256 * 1024;
    let verifier = verifier(BOUND);
    let mut largest = 0;
    for number in 0..600 {
        assert_eq!(verify(&verifier, &token(&number.to_string())), Ok(()));
        assert!(verifier.cached_bytes() <= BOUND);
        largest = largest.max(verifier.cached_bytes());
    }
    assert!(largest > BOUND / 2, "{largest}");
}

#[test]
fn only_verified_tokens_are_cached() {
    let verifier = verifier(1 << 20);
    let valid = token("a");
    let junk = format!("{}AAAA", &valid[..valid.len() - 4]);
    for token in [junk.as_str(), "a.b.c", &valid[1..]] {
        assert!(verify(&verifier, token).is_err());
        assert_eq!(verifier.cached_bytes(), 0);
    }
    assert_eq!(verify(&verifier, &valid), Ok(()));
    let bytes = verifier.cached_bytes();
    assert!(bytes > valid.len());
    assert_eq!(verify(&verifier, &valid), Ok(()));
    assert_eq!(verifier.cached_bytes(), bytes);
}

#[test]
fn expired_token_leaves_the_cache() {
    let clock = TestClock::new();
    let policy = PolicyOfCase::default();
    let verifier = builder(&policy, &clock).build().unwrap();
    let token = token("a");
    assert_eq!(verify(&verifier, &token), Ok(()));
    clock.advance(3899);
    assert_eq!(verify(&verifier, &token), Ok(()));
    assert!(verifier.cached_bytes() > 0);
    clock.advance(1);
    assert_eq!(verify(&verifier, &token), Err(Reason::TokenExpired));
    assert_eq!(verifier.cached_bytes(), 0);
}

#[test]
fn small_cache_caches_nothing() {
    for bytes in [0, 1, MIN_CACHE_BYTES - 1, MIN_CACHE_BYTES] {
        let verifier = verifier(bytes);
        assert_eq!(verify(&verifier, &token("a")), Ok(()));
        let caches = verifier.cached_bytes() > 0;
        assert_eq!(caches, bytes >= MIN_CACHE_BYTES, "{bytes}");
    }
}

/// While other threads evict.
#[test]
fn concurrent_callers_get_the_right_decisions() {
    let verifier = verifier(64 * 1024);
    let tokens: Vec<String> = (0..64).map(|number| token(&number.to_string())).collect();
    let der = issuer().certificates.der("other").unwrap();
    let other = ClientCertificate::from_der(&der).unwrap();
    std::thread::scope(|scope| {
        for start in 0..3 {
            let (verifier, tokens, other) = (&verifier, &tokens, &other);
            scope.spawn(move || {
                for number in 0..500 {
                    let token = &tokens[(start * 20 + number) % tokens.len()];
                    assert_eq!(verify(verifier, token), Ok(()));
                    let header = format!("mtls_pop {token}");
                    let stolen = verifier.verify(header.as_str(), other);
                    assert_eq!(stolen.unwrap_err().reason(), Reason::BindingMismatch);
                }
            });
        }
    });
    assert!(verifier.cached_bytes() <= 64 * 1024);
    let counters = verifier.cache_counters();
    assert_eq!(counters.hits() + counters.misses(), 3 * 500 * 2);
}

#[test]
fn lookups_are_counted() {
    let clock = TestClock::new();
    let counters = CacheCounters::new();
    let of = |cache_bytes| {
        let builder = builder(&PolicyOfCase::default(), &clock).cache_bytes(cache_bytes);
        builder.cache_counters(&counters).build().unwrap()
    };
    let caching = of(1 << 20);
    let counts = || (counters.hits(), counters.misses());
    assert_eq!(verify(&caching, &token("a")), Ok(()));
    assert_eq!(counts(), (0, 1));
    assert_eq!(verify(&caching, &token("a")), Ok(()));
    assert_eq!(verify(&caching, &token("b")), Ok(()));
    assert!(verify(&caching, "a.b.c").is_err());
    assert_eq!(counts(), (1, 3));
    // Refused by a cached token; without a token nothing is looked up.
    let header = format!("mtls_pop {}", token("a"));
    caching.verify(header.as_str(), None).unwrap_err();
    caching.verify(None, &certificate()).unwrap_err();
    assert_eq!(counts(), (2, 3));
    // Another verifier, as after a reload, and one that caches nothing.
    assert_eq!(verify(&of(1 << 20), &token("a")), Ok(()));
    assert_eq!(verify(&of(0), &token("a")), Ok(()));
    assert_eq!(counts(), (2, 4));
    assert_eq!(caching.cache_counters().misses(), 4);
}

/// Neither verifier, caller nor refusal shows a token.
#[test]
fn secrets_stay_secret() {
    let verifier = verifier(1 << 20);
    let token = token("a");
    let header = format!("mtls_pop {token}");
    let caller = verifier.verify(header.as_str(), &certificate()).unwrap();
    let refusal = verifier.verify(header.as_str(), None).unwrap_err();
    let authorization = keybound_resource::Authorization::from(header.as_str());
    let shown = format!("{verifier:?} {caller:?} {refusal:?} {refusal} {authorization:?}");
    let (_, signature) = token.rsplit_once('.').unwrap();
    for part in token.split('.').chain([signature]) {
        assert!(!shown.contains(part), "{shown}");
    }
}

fn verifier(cache_bytes: usize) -> Verifier {
    let policy = PolicyOfCase::default();
    let builder = builder(&policy, &TestClock::new());
    builder.cache_bytes(cache_bytes).build().unwrap()
}

fn verify(verifier: &Verifier, token: &str) -> Result<(), Reason> {
    let header = format!("mtls_pop {token}");
    let verified = verifier.verify(header.as_str(), &certificate());
    verified.map(|_| ()).map_err(|refusal| refusal.reason())
}

fn certificate() -> ClientCertificate {
    ClientCertificate::from_der(&issuer().certificates.der("client").unwrap()).unwrap()
}

/// Tokens that differ in their id.
fn token(id: &str) -> String {
    let mut recipe = TokenRecipe::default();
    recipe.claims.insert("uti".to_owned(), id.into());
    recipe.make(issuer())
}
