//! Keys that fail, panic or return invalid signatures.
use crate::support::fixture::{BOTH, name};
use crate::support::keys::{callback_key, shared_key};
use crate::support::pki::{Authority, ClientIdentities as _};
use crate::support::server::{ClientAuth, ServerConfig, resource_server};
use crate::support::{client_builder, error_chain, get};
use keybound_keys::memory::MemoryKey;
use keybound_keys::{BindingKey, KeyError, KeyErrorKind, SigningCost};
use keybound_transport::{ClientIdentity, TransportErrorKind};
use std::sync::Arc;

/// Calls a server that requests the certificate in the first handshake, and one that requests it later.
async fn fails_with(key: Arc<dyn BindingKey>, kind: TransportErrorKind, word: &str) {
    for version in BOTH {
        let authority = Authority::new("test authority");
        for (client_auth, path) in [(ClientAuth::Required, "/"), (ClientAuth::None, "/secure")] {
            let server_config = ServerConfig {
                leaf: authority.server("localhost"),
                version: Some(version),
                client_auth,
                client_ca: authority.clone(),
            };
            let server = resource_server(server_config.context()).await;
            let client = client_builder(&authority)
                .identity(authority.client("client", Arc::clone(&key)))
                .build()
                .unwrap();
            let error = get(&client, &server.uri(path)).await.unwrap_err();
            let message = error_chain(&error);
            assert_eq!(error.kind(), kind, "{} {path}: {message}", name(version));
            assert!(message.contains(word), "{message}");
        }
    }
}

#[tokio::test]
async fn failing_key_fails_the_handshake_with_its_message() {
    let key = callback_key(SigningCost::Quick, |_, _| {
        Err(KeyError::new(KeyErrorKind::Failed, "the key is gone"))
    });
    fails_with(key, TransportErrorKind::Key, "the key is gone").await;
}

#[tokio::test]
async fn panicking_key_fails_the_handshake() {
    let key = callback_key(SigningCost::Quick, |_, _| panic!("on purpose, in a test"));
    fails_with(key, TransportErrorKind::Key, "panicked").await;
}

#[tokio::test]
async fn signature_of_a_wrong_length_fails_the_handshake() {
    let key = callback_key(SigningCost::Quick, |_, _| Ok(vec![7; 100]));
    fails_with(key, TransportErrorKind::Key, "wrong length").await;
}

#[tokio::test]
async fn server_rejects_invalid_signatures() {
    let key = callback_key(SigningCost::Quick, |_, _| Ok(vec![7; 256]));
    fails_with(
        key,
        TransportErrorKind::ClientCertificateRejected,
        "rejected the client certificate",
    )
    .await;
}

#[tokio::test]
async fn failing_slow_key_fails_the_handshake() {
    let key = callback_key(SigningCost::Slow, |_, _| {
        Err(KeyError::new(KeyErrorKind::Failed, "the key is gone"))
    });
    fails_with(key, TransportErrorKind::Key, "the key is gone").await;
}

#[test]
fn rejects_a_certificate_of_another_key() {
    let authority = Authority::new("test authority");
    let identity = authority.client("client", shared_key());
    let other = Arc::new(MemoryKey::generate().unwrap());
    let error = ClientIdentity::new(identity.certificate().clone(), other).unwrap_err();
    assert_eq!(
        error.kind(),
        keybound_core::ErrorKind::CertificateKeyMismatch
    );
}

#[test]
fn clones_of_an_identity_share_a_gate() {
    let authority = Authority::new("test authority");
    let (release, hold) = std::sync::mpsc::channel::<()>();
    let key = callback_key(SigningCost::Slow, |_, _| unreachable!());
    assert!(key.gate().is_none());
    let identity = authority.client("client", key);
    let gates = [&identity, &identity.clone()].map(|identity| identity.key().gate().cloned());
    let [Some(one), Some(other)] = gates else {
        panic!("{gates:?}");
    };
    // While one runs an operation, the other waits.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    runtime.block_on(async {
        let mut first = Box::pin(one.run(move || {
            let _ = hold.recv();
            Ok(())
        }));
        let mut second = Box::pin(other.run(|| Ok(())));
        tokio::select! {
            biased;
            _ = &mut first => panic!("the operation has ended"),
            _ = &mut second => panic!("both operations run"),
            () = std::future::ready(()) => drop(release),
        }
        first.await.unwrap();
        second.await.unwrap();
    });
}

#[tokio::test]
async fn client_releases_its_key() {
    let authority = Authority::new("test authority");
    let server_config = ServerConfig {
        leaf: authority.server("localhost"),
        version: None,
        client_auth: ClientAuth::Required,
        client_ca: authority.clone(),
    };
    let server = resource_server(server_config.context()).await;
    let key: Arc<dyn BindingKey> = callback_key(SigningCost::Slow, |scheme, digest| {
        shared_key().sign(scheme, digest)
    });
    let client = client_builder(&authority)
        .identity(authority.client("client", Arc::clone(&key)))
        .build()
        .unwrap();
    assert_eq!(get(&client, &server.uri("/")).await.unwrap().status, 200);
    assert!(Arc::strong_count(&key) > 1);
    drop((client, server));
    // The last connection ends on another thread.
    while Arc::strong_count(&key) > 1 {
        tokio::task::yield_now().await;
    }
}
