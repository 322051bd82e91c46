//! How often a key file is read, and where.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

mod support;

use keybound_resource::{ClientCertificate, Guid, KeyRefresh, Keys, Reason, Refusal, Verifier};
use keybound_testing::attacks::{OTHER_TENANT, RESOURCE, TENANT, TokenRecipe};
use serde_json::json;
use support::{TestClock, issuer};
use tokio::task::yield_now;

#[tokio::test]
async fn file_is_read_once_for_all_issuers_and_verifiers() {
    let file = KeysInFile::new(&["any"]);
    let verifiers = [file.verifier(), file.verifier()];
    file.clock.advance(60);
    file.write(&["any", "second"]);
    let due = |verifier: &Verifier| verifier.due_key_refresh();
    let refresh = due(&verifiers[0]).unwrap();
    assert!(verifiers.iter().all(|verifier| due(verifier).is_none()));
    refresh.run().await.unwrap();
    assert!(verifiers.iter().all(|verifier| due(verifier).is_none()));
    for verifier in &verifiers {
        for version in [1, 2] {
            assert_eq!(file.verify(verifier, &token(version, "second")), Ok(()));
        }
        let status = verifier.key_status();
        assert_eq!(status.len(), 4, "two issuers of two tenants");
        assert!(status.iter().all(|keys| keys.succeeded() == 1));
    }
}

#[tokio::test]
async fn unknown_keys_have_the_file_read_once_a_minute() {
    let file = KeysInFile::new(&["any"]);
    let verifiers = [file.verifier(), file.verifier()];
    let unknown = [1, 2].map(|version| token(version, "second"));
    let mut reads = 0;
    for _ in 0..60 {
        for verifier in &verifiers {
            for token in &unknown {
                let mut refusal = file.refusal(verifier, token);
                assert_eq!(refusal.reason(), Reason::KeyUnknown);
                if let Some(refresh) = refusal.take_key_refresh() {
                    refresh.run().await.unwrap();
                    reads += 1;
                }
            }
        }
        file.clock.advance(1);
    }
    assert_eq!(reads, 1);
    file.write(&["any", "second"]);
    let mut refusal = file.refusal(&verifiers[1], &unknown[0]);
    refusal.take_key_refresh().unwrap().run().await.unwrap();
    for verifier in &verifiers {
        assert!(
            unknown
                .iter()
                .all(|token| file.verify(verifier, token).is_ok())
        );
    }
}

#[tokio::test(start_paused = true)]
async fn key_that_was_taken_out_of_the_file_is_refused_after_minutes_without_requests() {
    let file = KeysInFile::new(&["any", "second"]);
    let verifier = file.verifier();
    let tokens = [1, 2].map(|version| token(version, "second"));
    for token in &tokens {
        assert_eq!(file.verify(&verifier, token), Ok(()));
    }
    file.write(&["any"]);
    file.clock.advance(180);
    for token in &tokens {
        assert_eq!(file.verify(&verifier, token), Err(Reason::KeysUnavailable));
        let header = format!("mtls_pop {token}");
        let verified = verifier.authenticate(header.as_str(), &file.certificate);
        assert_eq!(verified.await.unwrap_err().reason(), Reason::KeyUnknown);
        assert_eq!(file.verify(&verifier, &self::token(1, "any")), Ok(()));
        file.clock.advance(180);
    }
}

/// Requests are answered while the file is read.
#[test]
fn file_is_read_on_a_thread_for_blocking_work() {
    let file = KeysInFile::new(&["any"]);
    let verifier = file.verifier();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .max_blocking_threads(1)
        .build()
        .unwrap();
    let (release, released) = std::sync::mpsc::channel::<()>();
    runtime.block_on(async {
        // The only such thread is busy.
        let busy = tokio::task::spawn_blocking(move || released.recv());
        file.clock.advance(60);
        let refresh: KeyRefresh = verifier.due_key_refresh().unwrap();
        let refresh = tokio::spawn(refresh.run());
        for _ in 0..10 {
            yield_now().await;
        }
        assert!(!refresh.is_finished());
        assert_eq!(file.verify(&verifier, &token(2, "any")), Ok(()));
        // A file system that hangs occupies no second one.
        file.clock.advance(30);
        let second = verifier.due_key_refresh().unwrap().run().await;
        let second = second.unwrap_err().to_string();
        assert_eq!(second, "the key file is still being read");
        release.send(()).unwrap();
        busy.await.unwrap().unwrap();
        refresh.await.unwrap().unwrap();
    });
}

/// A key file of two tenants, and the clock of its verifiers.
struct KeysInFile {
    folder: tempfile::TempDir,
    keys: Keys,
    clock: TestClock,
    certificate: ClientCertificate,
}

impl KeysInFile {
    fn new(ids: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let der = issuer().certificates.der("client").unwrap();
        let path = folder.path().join("keys.json");
        std::fs::write(&path, content(ids)).unwrap();
        Self {
            folder,
            keys: Keys::file(path).unwrap(),
            clock: TestClock::new(),
            certificate: ClientCertificate::from_der(&der).unwrap(),
        }
    }

    fn write(&self, ids: &[&str]) {
        std::fs::write(self.folder.path().join("keys.json"), content(ids)).unwrap();
    }

    fn verifier(&self) -> Verifier {
        Verifier::builder()
            .audience(RESOURCE)
            .tenants([TENANT, OTHER_TENANT].map(|tenant| Guid::parse(tenant).unwrap()))
            .keys(self.keys.clone())
            .clock(self.clock.clone())
            .build()
            .unwrap()
    }

    fn verify(&self, verifier: &Verifier, token: &str) -> Result<(), Reason> {
        let header = format!("mtls_pop {token}");
        let verified = verifier.verify(header.as_str(), &self.certificate);
        verified.map(|_| ()).map_err(|refusal| refusal.reason())
    }

    fn refusal(&self, verifier: &Verifier, token: &str) -> Refusal {
        let header = format!("mtls_pop {token}");
        let verified = verifier.verify(header.as_str(), &self.certificate);
        verified.unwrap_err()
    }
}

/// Each issuer with these keys.
fn content(ids: &[&str]) -> String {
    let mut file = issuer().key_file();
    for entry in file["issuers"].as_array_mut().unwrap() {
        let keys = entry["keys"].as_array_mut().unwrap();
        keys.retain(|key| ids.contains(&key["kid"].as_str().unwrap()));
    }
    file.to_string()
}

fn token(version: u8, key: &str) -> String {
    let recipe = json!({ "version": version, "key": key });
    let recipe: TokenRecipe = serde_json::from_value(recipe).unwrap();
    recipe.make(issuer())
}
