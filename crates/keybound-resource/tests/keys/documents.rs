//! What an issuer publishes.
use crate::support::discovered::{Api, HOST, keys, made, v2_issuer};
use crate::support::issuer;
use keybound_resource::{KeySet, KeySetError};
use keybound_testing::attacks::TENANT;
use serde_json::{Value, json};

#[tokio::test(start_paused = true)]
async fn unusable_documents_change_nothing() {
    let api = Api::started(&keys(&["any"])).await;
    let token = made(json!({ "claims": { "exp": { "now": 200_000 } } }));
    let keys_url = format!("{HOST}/{TENANT}/discovery/v2.0/keys");
    let twice = json!({ "keys": [keys(&["any"])["keys"][0], keys(&["any"])["keys"][0]] });
    let documents = [
        b"<html>sign in</html>".to_vec(),
        b"{}".to_vec(),
        br#"{"keys":[]}"#.to_vec(),
        twice.to_string().into_bytes(),
        vec![b' '; 2 << 20],
    ];
    for document in documents {
        api.issuer.publish_text(&keys_url, &document);
        api.clock.advance(3600);
        api.verifier.fetch_due_keys().await;
        assert_eq!(api.verify(&token), Ok(()));
        assert!(api.verifier.has_keys());
        let failed = api
            .verifier
            .key_status()
            .iter()
            .any(|keys| keys.error().is_some());
        assert!(
            failed,
            "{}",
            String::from_utf8_lossy(&document[..20.min(document.len())])
        );
    }
    let foreign = json!({ "issuer": v2_issuer("11111111-86f1-41af-91ab-2d7cd011db47"), "jwks_uri": keys_url });
    let elsewhere = json!({ "issuer": v2_issuer(TENANT), "jwks_uri": "https://evil.example/keys" });
    api.issuer.fetches();
    for metadata in [foreign, elsewhere] {
        api.issuer.publish_metadata("/v2.0", &metadata);
        api.clock.advance(3600);
        api.verifier.fetch_due_keys().await;
        let fetched = std::mem::take(&mut api.issuer.0.lock().unwrap().fetched);
        assert!(
            fetched.iter().all(|url| url.starts_with(HOST)),
            "{fetched:?}"
        );
        assert_eq!(fetched.len(), 3, "{fetched:?}");
        assert_eq!(api.verify(&token), Ok(()));
    }
}

#[test]
fn key_set_has_usable_keys_only() {
    let parse = |keys: &Value| KeySet::parse(keys.to_string().as_bytes());
    let set = parse(&issuer().key_set()).unwrap();
    let mut ids: Vec<_> = set.ids().collect();
    ids.sort_unstable();
    assert_eq!(ids, ["any", "foreign", "second", "v2"]);
    let good = keys(&["any"])["keys"][0].clone();
    let with = |member: &str, value: Value| {
        let mut key = good.clone();
        key[member] = value;
        json!({ "keys": [key] })
    };
    let rsa = |bits| openssl::rsa::Rsa::generate(bits).unwrap().n().to_vec();
    use base64::Engine as _;
    let encode =
        |bytes: &[u8]| Value::from(base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes));
    for (keys, error) in [
        (json!({}), KeySetError::Malformed),
        (json!([]), KeySetError::Malformed),
        (json!({ "keys": {} }), KeySetError::Malformed),
        (json!({ "keys": [7] }), KeySetError::Malformed),
        (json!({ "keys": [] }), KeySetError::NoKey),
        (with("kid", Value::Null), KeySetError::NoKey),
        (with("kid", json!(7)), KeySetError::Malformed),
        (with("use", json!("enc")), KeySetError::NoKey),
        (with("alg", json!("RS512")), KeySetError::NoKey),
        (with("kty", json!("EC")), KeySetError::NoKey),
        (with("n", json!("")), KeySetError::NoKey),
        (with("n", json!("not base64")), KeySetError::NoKey),
        (with("n", encode(&rsa(1024))), KeySetError::NoKey),
        (with("n", encode(&vec![0xff; 513])), KeySetError::NoKey),
        (
            with("n", encode(&[vec![0xff; 255], vec![0xfe]].concat())),
            KeySetError::NoKey,
        ),
        (with("e", json!("AQ")), KeySetError::NoKey),
        (with("e", json!("AA")), KeySetError::NoKey),
        (with("e", encode(&[2])), KeySetError::NoKey),
        (with("e", encode(&[0xff; 9])), KeySetError::NoKey),
        (json!({ "keys": [good, good] }), KeySetError::DuplicateId),
        (
            json!({ "keys": vec![json!({ "kty": "oct" }); 1001] }),
            KeySetError::TooManyKeys,
        ),
    ] {
        assert_eq!(parse(&keys).err(), Some(error), "{keys}");
    }
    assert_eq!(
        KeySet::parse(&[b' '; (1 << 20) + 1]).err(),
        Some(KeySetError::TooLong)
    );
    assert_eq!(KeySet::parse(b"\xff").err(), Some(KeySetError::Malformed));
}
