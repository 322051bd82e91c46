//! Keys in a file: whose they are, how old, and when the file is read.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

mod support;

use keybound_resource::{
    ClientCertificate, Guid, KeyFile, KeyFileError, KeyRefresh, KeySetError, Keys, Reason, Verifier,
};
use keybound_testing::CapturedLog;
use keybound_testing::attacks::{OTHER_TENANT, RESOURCE, TENANT, TokenRecipe};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::time::Duration;
use support::{TestClock, issuer};

/// A verifier of two tenants with a key file.
struct Api {
    folder: tempfile::TempDir,
    clock: TestClock,
    certificate: ClientCertificate,
}

impl Api {
    fn new() -> Self {
        let der = issuer().certificates.der("client").unwrap();
        Self {
            folder: tempfile::tempdir().unwrap(),
            clock: TestClock::new(),
            certificate: ClientCertificate::from_der(&der).unwrap(),
        }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("keys.json")
    }

    fn write(&self, file: &Value) {
        std::fs::write(self.path(), file.to_string()).unwrap();
    }

    fn verifier(&self, change: impl FnOnce(Keys) -> Keys) -> Verifier {
        Verifier::builder()
            .audience(RESOURCE)
            .tenants([TENANT, OTHER_TENANT].map(|tenant| Guid::parse(tenant).unwrap()))
            .keys(change(Keys::file(self.path()).unwrap()))
            .clock(self.clock.clone())
            .build()
            .unwrap()
    }

    fn verify(&self, verifier: &Verifier, token: &str) -> Result<(), Reason> {
        let header = format!("mtls_pop {token}");
        let verified = verifier.verify(header.as_str(), &self.certificate);
        verified.map(|_| ()).map_err(|refusal| refusal.reason())
    }
}

/// Each issuer of Entra with some of the keys, which were fetched some seconds ago.
fn file(keys_of: impl Fn(&str) -> &'static [&'static str], age: i64) -> Value {
    let mut file = issuer().key_file();
    for entry in file["issuers"].as_array_mut().unwrap() {
        entry["fetched_at"] = (issuer().now() - age).into();
        let ids = keys_of(entry["issuer"].as_str().unwrap());
        let keys = entry["keys"].as_array_mut().unwrap();
        keys.retain(|key| ids.contains(&key["kid"].as_str().unwrap()));
    }
    file
}

fn token(version: u8, key: &str) -> String {
    let recipe = json!({ "version": version, "key": key });
    let recipe: TokenRecipe = serde_json::from_value(recipe).unwrap();
    recipe.make(issuer())
}

fn run(refresh: KeyRefresh) -> Result<(), keybound_resource::FetchError> {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    runtime.unwrap().block_on(refresh.run())
}

#[test]
fn key_of_one_issuer_signs_no_token_of_another() {
    let api = Api::new();
    // No key names its issuer.
    api.write(&file(
        |name| match name {
            v2 if v2.contains("/v2.0") && v2.contains(TENANT) => &["second"],
            v1 if v1.contains(TENANT) => &["any"],
            _ => &["foreign"],
        },
        0,
    ));
    let verifier = api.verifier(|keys| keys);
    for (version, key, expected) in [
        (1, "any", Ok(())),
        (2, "second", Ok(())),
        (1, "second", Err(Reason::KeyUnknown)),
        (2, "any", Err(Reason::KeyUnknown)),
        (1, "foreign", Err(Reason::KeyUnknown)),
        (2, "foreign", Err(Reason::KeyUnknown)),
    ] {
        let found = api.verify(&verifier, &token(version, key));
        assert_eq!(found, expected, "{version} {key}");
    }
    // A key that names its issuer is that of no other one, wherever it is.
    api.write(&file(|_| &["any", "v2", "foreign"], 0));
    let verifier = api.verifier(|keys| keys);
    for (version, key, expected) in [
        (2, "v2", Ok(())),
        (1, "foreign", Err(Reason::KeyIssuerMismatch)),
        (2, "foreign", Err(Reason::KeyIssuerMismatch)),
    ] {
        let found = api.verify(&verifier, &token(version, key));
        assert_eq!(found, expected, "{version} {key}");
    }
}

/// Operators see which file is no longer written, once and not at each attempt, and that it is written again.
#[test]
fn keys_in_a_file_that_become_too_old_say_so() {
    let api = Api::new();
    let all = |_: &str| -> &'static [&'static str] { &["any"] };
    api.write(&file(all, 3590));
    let verifier = api.verifier(|keys| keys.max_age(Duration::from_secs(3600)));
    let read_again = || {
        while let Some(refresh) = verifier.due_key_refresh() {
            run(refresh).unwrap();
        }
    };
    let log = CapturedLog::default();
    log.during(|| {
        for _ in 0..3 {
            api.clock.advance(60);
            read_again();
        }
    });
    assert!(!verifier.has_keys());
    let path = api.path().display().to_string();
    for status in verifier.key_status() {
        let error = status.error().unwrap().to_owned();
        for part in [
            status.issuer(),
            &path,
            "fetched more than 1 h ago",
            "max_age is 3600 s",
            "keybound verify keys --watch",
        ] {
            assert!(error.contains(part), "{error}");
        }
        let lines = log.lines_with(&error);
        assert_eq!(lines.len(), 1, "{lines:?}");
    }
    api.write(&file(all, -180));
    log.during(|| {
        api.clock.advance(5);
        read_again();
    });
    assert!(verifier.has_keys());
    assert!(
        verifier
            .key_status()
            .iter()
            .all(|keys| keys.error().is_none())
    );
    let again = log.lines_with("refreshed again");
    assert_eq!(again.len(), verifier.key_status().len(), "{again:?}");
}

#[test]
fn keys_in_a_file_are_used_for_a_day() {
    const HOUR: u64 = 3600;
    let api = Api::new();
    let all = |_: &str| -> &'static [&'static str] { &["any"] };
    api.write(&file(all, 3600));
    let verifier = api.verifier(|keys| keys);
    let owner = token(1, "any");
    let age = || verifier.key_status()[0].age().unwrap().as_secs();
    assert_eq!(age(), HOUR);
    let read_again = || {
        while let Some(refresh) = verifier.due_key_refresh() {
            run(refresh).unwrap();
        }
    };
    // The file is read again, and is as old as it says.
    for _ in 0..2 {
        api.clock.advance(60);
        read_again();
    }
    assert_eq!(age(), HOUR + 120);
    let recipe = json!({ "version": 1, "key": "any", "claims": { "exp": { "now": 90_000 } } });
    let last: TokenRecipe = serde_json::from_value(recipe).unwrap();
    let last = last.make(issuer());
    api.clock.advance(23 * HOUR - 121);
    read_again();
    assert_eq!(api.verify(&verifier, &last), Ok(()));
    assert!(verifier.has_keys());
    api.clock.advance(1);
    let cached = api.verify(&verifier, &last);
    assert_eq!(cached, Err(Reason::KeysUnavailable));
    assert!(!verifier.has_keys());
    let status = &verifier.key_status()[0];
    assert_eq!((status.is_usable(), age()), (false, 24 * HOUR));
    // A new file ends that.
    api.write(&file(all, -82_800));
    api.clock.advance(5);
    read_again();
    assert!(verifier.has_keys());
    assert_eq!(api.verify(&verifier, &owner), Err(Reason::TokenExpired));
    assert_eq!(api.verify(&verifier, &last), Ok(()));
}

#[test]
fn age_is_a_setting_and_no_keys_are_from_the_future() {
    let api = Api::new();
    let all = |_: &str| -> &'static [&'static str] { &["any"] };
    let owner = token(1, "any");
    for (age, max_age, expected) in [
        (3599, 3600, Ok(())),
        (3600, 3600, Err(Reason::KeysUnavailable)),
        // Discovered keys are refreshed each hour.
        (3599, 1, Ok(())),
        (86_400, 172_800, Ok(())),
        (172_800, 172_800, Err(Reason::KeysUnavailable)),
        (-300, 3600, Ok(())),
        (-301, 3600, Err(Reason::KeysUnavailable)),
        (i64::MIN / 2, 3600, Err(Reason::KeysUnavailable)),
        (i64::MAX / 2, 3600, Err(Reason::KeysUnavailable)),
    ] {
        api.write(&file(all, age));
        let verifier = api.verifier(|keys| keys.max_age(Duration::from_secs(max_age)));
        assert_eq!(api.verify(&verifier, &owner), expected, "{age} {max_age}");
        assert_eq!(verifier.has_keys(), expected.is_ok(), "{age} {max_age}");
    }
}

#[test]
fn keys_in_a_file_are_read_again() {
    let api = Api::new();
    assert!(Keys::file(api.path()).is_err());
    api.write(&file(|_| &["any"], 0));
    let verifier = api.verifier(|keys| keys);
    let second = token(2, "second");
    let header = format!("mtls_pop {second}");
    let mut refusal = verifier
        .verify(header.as_str(), &api.certificate)
        .unwrap_err();
    assert_eq!(refusal.reason(), Reason::KeyUnknown);
    api.write(&file(|_| &["any", "second"], 0));
    run(refusal.take_key_refresh().unwrap()).unwrap();
    assert_eq!(api.verify(&verifier, &second), Ok(()));
    // It is read every minute, and one that is missing or broken changes nothing.
    for broken in [
        None,
        Some("{"),
        Some(r#"{"issuers":[]}"#),
        Some(r#"{"keys":[]}"#),
    ] {
        match broken {
            None => std::fs::remove_file(api.path()).unwrap(),
            Some(text) => std::fs::write(api.path(), text).unwrap(),
        }
        api.clock.advance(60);
        let mut refreshes = 0;
        while let Some(refresh) = verifier.due_key_refresh() {
            assert!(run(refresh).is_err(), "{broken:?}");
            refreshes += 1;
        }
        assert_eq!(refreshes, 1, "one for all issuers");
        assert_eq!(api.verify(&verifier, &second), Ok(()), "{broken:?}");
    }
}

#[test]
fn malformed_key_files_are_refused() {
    let key = issuer().key_set()["keys"][0].clone();
    let entry = |keys: Value| json!({ "issuer": "a", "fetched_at": 7, "keys": keys });
    let of = |entries: Value| json!({ "issuers": entries }).to_string();
    let good = entry(json!([key]));
    assert!(KeyFile::parse(of(json!([good])).as_bytes()).is_ok());
    for (text, error) in [
        ("{}".to_owned(), KeyFileError::Malformed),
        ("[]".to_owned(), KeyFileError::Malformed),
        ("<html>".to_owned(), KeyFileError::Malformed),
        (issuer().key_set().to_string(), KeyFileError::WithoutIssuers),
        (of(json!({})), KeyFileError::Malformed),
        (
            of(json!([{ "issuer": "a", "keys": [key] }])),
            KeyFileError::Malformed,
        ),
        (
            of(json!([{ "fetched_at": 7, "keys": [key] }])),
            KeyFileError::Malformed,
        ),
        (
            of(json!([{ "issuer": "a", "fetched_at": "7", "keys": [key] }])),
            KeyFileError::Malformed,
        ),
        (of(json!([good, good])), KeyFileError::DuplicateIssuer),
        (
            of(json!([entry(json!([]))])),
            KeyFileError::Keys("a".to_owned(), KeySetError::NoKey),
        ),
        (
            of(json!([entry(json!([key, key]))])),
            KeyFileError::Keys("a".to_owned(), KeySetError::DuplicateId),
        ),
        (" ".repeat((8 << 20) + 1), KeyFileError::TooLong),
    ] {
        let found = KeyFile::parse(text.as_bytes()).err();
        assert_eq!(found, Some(error), "{}", &text[..text.len().min(200)]);
    }
}

#[test]
fn key_file_is_read_as_it_was_written() {
    let written = KeyFile::parse(issuer().key_file().to_string().as_bytes()).unwrap();
    let read = KeyFile::parse(written.to_json().as_bytes()).unwrap();
    assert_eq!(read.to_json(), written.to_json());
    assert_eq!(read.iter().count(), 6);
    let name = "https://sts.windows.net/{tenantid}/";
    let keys = read.issuer(name).unwrap();
    assert_eq!(
        (keys.issuer(), keys.fetched_at()),
        (name, issuer().now() - 3600)
    );
    let set: Value = serde_json::from_str(&keys.keys().to_json()).unwrap();
    let v2 = &set["keys"][3];
    assert_eq!(v2["kid"], "v2");
    assert_eq!(
        v2["issuer"],
        "https://login.microsoftonline.com/{tenantid}/v2.0"
    );
    let pem = keys.keys().to_pem();
    assert_eq!(pem[3].0, "v2");
    let parsed = openssl::pkey::PKey::public_key_from_pem(pem[3].1.as_bytes()).unwrap();
    assert!(parsed.public_eq(issuer().key("v2")));
}
