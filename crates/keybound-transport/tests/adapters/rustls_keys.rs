//! Keys that fail, panic or hang, with rustls.
use crate::fixture::{error_chain, fixture_with, get, thumbprint};
use crate::rustls_clients::{config, connect};
use crate::support::fixture::BOTH;
use crate::support::keys::{callback_key, hanging_key, shared_key};
use crate::support::server::ClientAuth;
use keybound_keys::{BindingKey, KeyError, KeyErrorKind, SigningCost};
use openssl::ssl::SslVersion;
use std::sync::atomic::Ordering;
use std::sync::{Arc, mpsc};
use std::time::Duration;

/// Connects to a server that requires the certificate, and returns the errors of rustls.
async fn failure(key: Arc<dyn BindingKey>) -> Vec<rustls::Error> {
    let mut failures = vec![];
    for version in BOTH {
        let fixture = fixture_with(version, ClientAuth::Required, Arc::clone(&key)).await;
        let config = config(&fixture.identity, &fixture.trust);
        let error = connect(config, &fixture.server).await.unwrap_err();
        assert_eq!(fixture.server.requests(), 0, "{}", error_chain(&error));
        let inner = error.into_inner().unwrap();
        failures.push(*inner.downcast::<rustls::Error>().unwrap());
    }
    failures
}

async fn fails_with(key: Arc<dyn BindingKey>, expected: &str) {
    for error in failure(key).await {
        let rustls::Error::Other(cause) = &error else {
            panic!("{error:?}");
        };
        let cause = cause.0.downcast_ref::<KeyError>().unwrap();
        assert_eq!(cause.kind(), KeyErrorKind::Failed);
        assert_eq!(cause.to_string(), expected);
        assert!(error.to_string().contains(expected), "{error}");
    }
}

#[tokio::test]
async fn failing_key_fails_the_handshake_with_its_message() {
    let key = callback_key(SigningCost::Quick, |_, _| {
        Err(KeyError::new(KeyErrorKind::Failed, "the key is gone"))
    });
    fails_with(key, "the key is gone").await;
}

#[tokio::test]
async fn panicking_key_fails_the_handshake() {
    for cost in [SigningCost::Quick, SigningCost::Slow] {
        let key = callback_key(cost, |_, _| panic!("on purpose, in a test"));
        fails_with(key, "the key panicked while signing").await;
    }
}

#[tokio::test]
async fn never_sends_invalid_signatures() {
    for length in [0, 100, 256, 10_000] {
        let key = callback_key(SigningCost::Quick, move |_, _| Ok(vec![7; length]));
        let expected = "the key's signature is invalid for its own public key";
        fails_with(key, expected).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn runtime_runs_tasks_while_a_slow_key_signs() {
    for version in BOTH {
        // The signature waits for another task of the only worker.
        let key = callback_key(SigningCost::Slow, |scheme, digest| {
            let (sender, receiver) = mpsc::channel();
            tokio::spawn(async move { sender.send(()) });
            receiver
                .recv_timeout(Duration::from_secs(20))
                .map_err(|_| KeyError::new(KeyErrorKind::Failed, "no other task ran"))?;
            shared_key().sign(scheme, digest)
        });
        let fixture = fixture_with(version, ClientAuth::Required, key).await;
        let expected = format!("0 {}", thumbprint(&fixture.identity));
        // The test's own thread is not a worker.
        let response = tokio::spawn(async move {
            let config = config(&fixture.identity, &fixture.trust);
            let mut stream = connect(config, &fixture.server).await.unwrap();
            get(&mut stream, "/").await.unwrap()
        });
        assert_eq!(response.await.unwrap(), expected);
    }
}

#[tokio::test]
async fn hanging_key_occupies_one_thread_and_fails_the_handshake() {
    let (key, _release, signature_calls) = hanging_key();
    for _ in 0..3 {
        let fixture = fixture_with(SslVersion::TLS1_3, ClientAuth::Required, key.clone()).await;
        let error = connect(config(&fixture.identity, &fixture.trust), &fixture.server)
            .await
            .unwrap_err();
        assert!(error_chain(&error).contains("the key hangs"), "{error}");
    }
    assert_eq!(signature_calls.load(Ordering::SeqCst), 1);
}
