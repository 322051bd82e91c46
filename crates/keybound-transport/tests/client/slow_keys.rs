//! Slow and hanging keys, and the thread on which they sign.
use crate::support::fixture::BOTH;
use crate::support::keys::{callback_key, hanging_key, shared_key};
use crate::support::pki::{Authority, ClientIdentities as _};
use crate::support::server::{ClientAuth, Server, ServerConfig, resource_server};
use crate::support::{client_builder, error_chain, get};
use bytes::Bytes;
use futures_util::stream;
use http_body::Frame;
use http_body_util::StreamBody;
use keybound_keys::{BindingKey, KeyError, KeyErrorKind, SigningCost};
use keybound_transport::{HttpsClient, RequestBody, TransportErrorKind};
use openssl::ssl::SslVersion;
use std::cell::RefCell;
use std::convert::Infallible;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, mpsc};
use std::task::Poll;
use std::thread::ThreadId;
use std::time::{Duration, Instant};
use tokio::sync::mpsc as async_mpsc;

async fn fixture(
    version: SslVersion,
    client_auth: ClientAuth,
    key: Arc<dyn BindingKey>,
) -> (Server, HttpsClient) {
    let authority = Authority::new("test authority");
    let server_config = ServerConfig {
        leaf: authority.server("localhost"),
        version: Some(version),
        client_auth,
        client_ca: authority.clone(),
    };
    let client = client_builder(&authority)
        .identity(authority.client("client", key))
        .build()
        .unwrap();
    (resource_server(server_config.context()).await, client)
}

#[tokio::test(flavor = "current_thread")]
async fn callers_tasks_run_while_a_slow_key_signs() {
    for version in BOTH {
        for (client_auth, path) in [(ClientAuth::Required, "/"), (ClientAuth::None, "/secure")] {
            let (entered, mut has_entered) = async_mpsc::unbounded_channel();
            let (release, released) = mpsc::channel::<()>();
            let released = Mutex::new(released);
            // The signature waits for another task of the caller's only thread, which could not run if the key signed on it.
            let key = callback_key(SigningCost::Slow, move |scheme, digest| {
                entered.send(()).unwrap();
                let waited = released
                    .lock()
                    .unwrap()
                    .recv_timeout(Duration::from_secs(20));
                waited.map_err(|_| KeyError::new(KeyErrorKind::Failed, "no other task ran"))?;
                shared_key().sign(scheme, digest)
            });
            let (server, client) = fixture(version, client_auth, key).await;
            let other = tokio::spawn(async move {
                has_entered.recv().await.unwrap();
                release.send(()).unwrap();
            });
            let response = get(&client, &server.uri(path)).await.unwrap();
            assert_eq!(response.status, 200);
            other.await.unwrap();
        }
    }
}

#[tokio::test(flavor = "current_thread")]
async fn deadline_passes_while_a_slow_key_signs() {
    for version in BOTH {
        let (release, released) = mpsc::channel::<()>();
        let released = Mutex::new(released);
        let key = callback_key(SigningCost::Slow, move |scheme, digest| {
            let _ = released.lock().unwrap().recv();
            shared_key().sign(scheme, digest)
        });
        // The server requests the certificate after the request, on a connection that was used before.
        let (server, client) = fixture(version, ClientAuth::None, key).await;
        get(&client, &server.uri("/")).await.unwrap();
        let request = crate::support::request("GET", &server.uri("/secure"), RequestBody::empty());
        let error = client.send(request, Duration::from_millis(300)).await;
        let error = error.unwrap_err();
        assert_eq!(error.kind(), TransportErrorKind::Timeout, "{error}");
        drop(release);
    }
}

async fn signing_thread(cost: SigningCost) -> ThreadId {
    let (thread, threads) = mpsc::channel();
    let key = callback_key(cost, move |scheme, digest| {
        thread.send(std::thread::current().id()).unwrap();
        shared_key().sign(scheme, digest)
    });
    let (server, client) = fixture(SslVersion::TLS1_3, ClientAuth::Required, key).await;
    get(&client, &server.uri("/")).await.unwrap();
    threads.recv().unwrap()
}

#[tokio::test(flavor = "current_thread")]
async fn only_quick_keys_sign_on_the_callers_runtime() {
    let caller = std::thread::current().id();
    assert_eq!(signing_thread(SigningCost::Quick).await, caller);
    assert_ne!(signing_thread(SigningCost::Slow).await, caller);
}

#[tokio::test]
async fn thread_ends_with_the_client_and_its_last_response() {
    struct AtExit(async_mpsc::UnboundedSender<()>);
    impl Drop for AtExit {
        fn drop(&mut self) {
            let _ = self.0.send(());
        }
    }
    thread_local! {
        static AT_EXIT: RefCell<Option<AtExit>> = const { RefCell::new(None) };
    }
    let (exit, mut has_exited) = async_mpsc::unbounded_channel();
    let key = callback_key(SigningCost::Slow, |scheme, digest| {
        shared_key().sign(scheme, digest)
    });
    let (server, client) = fixture(SslVersion::TLS1_3, ClientAuth::Required, key).await;
    // The body is polled on the thread that drives the connection.
    let body = RequestBody::stream(StreamBody::new(stream::poll_fn(move |_| {
        AT_EXIT.with_borrow_mut(|slot| *slot = Some(AtExit(exit.clone())));
        Poll::Ready(None::<Result<Frame<Bytes>, Infallible>>)
    })));
    let request = crate::support::request("POST", &server.uri("/"), body);
    let response = client
        .send(request, crate::support::TEST_TIMEOUT)
        .await
        .unwrap();
    drop(client);
    // The response can still be read.
    assert!(has_exited.try_recv().is_err());
    assert!(!response.into_body().collect(1000).await.unwrap().is_empty());
    assert_eq!(has_exited.recv().await, Some(()));
}

/// Several clients in sequence share the thread.
#[tokio::test]
async fn hanging_key_occupies_one_thread_and_is_an_error() {
    let (key, _release, signature_calls) = hanging_key();
    for _ in 0..5 {
        let (server, client) =
            fixture(SslVersion::TLS1_3, ClientAuth::Required, Arc::clone(&key)).await;
        let error = get(&client, &server.uri("/")).await.unwrap_err();
        let message = error_chain(&error);
        assert_eq!(error.kind(), TransportErrorKind::Key, "{message}");
        assert!(message.contains("the key hangs"), "{message}");
    }
    // The key's thread may start after its callers have timed out: their timeout is zero.
    let deadline = Instant::now() + crate::support::TEST_TIMEOUT;
    while signature_calls.load(Ordering::SeqCst) == 0 && Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(signature_calls.load(Ordering::SeqCst), 1);
}
