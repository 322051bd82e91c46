//! Calls to a fake library, and its return values.
use crate::support::{Key, attest, attest_with, copy_of, failure, number, original, pinned};
use keybound_attestation::native::{NativeCode, NativeFailure};
use keybound_core::{ErrorKind, Guid, KeyStrength, SecretString, Stage};
use keybound_testing::CapturedLog;
use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use url::Url;

#[tokio::test]
async fn attests_keyguard_key() {
    let token = attest_with(&copy_of(FAKE, "attested"), "token")
        .await
        .unwrap();
    assert_eq!(token.expose(), "eyJhbGciOiJub25lIn0.e30.c2ln");
}

#[tokio::test]
async fn passes_arguments_to_library() {
    let log = CapturedLog::of_process();
    let path = copy_of(FAKE, "arguments");
    let provider = pinned(&path).client_payload("arguments").unwrap();
    let provider = provider
        .auth_token(&SecretString::new("let me in".into()))
        .unwrap();
    attest(&provider, &Key::keyguard()).await.unwrap();
    let line = log.wait_for("auth <let");
    assert!(
        line.contains("endpoint https://maa.example.net auth <let me in> payload <arguments> key 1234 client 11111111-1111-4111-8111-111111111111"),
        "{line}"
    );
    assert!(
        line.starts_with("ERROR keybound_attestation::library"),
        "{line}"
    );
    assert!(
        line.contains("tag=FakeLibrary function=log_line line="),
        "{line}"
    );
    assert!(!format!("{provider:?}").contains("let me in"));
}

#[tokio::test]
async fn passes_empty_or_null_for_unset_arguments() {
    let log = CapturedLog::of_process();
    let path = copy_of(FAKE, "not-set");
    attest(&pinned(&path), &Key::keyguard()).await.unwrap();
    log.wait_for("auth <> payload <{}> key 1234");
    let provider = pinned(&path).null_arguments();
    attest(&provider, &Key::keyguard()).await.unwrap();
    log.wait_for("auth NULL<> payload NULL<> key 1234");
    let provider = provider.client_payload("arguments").unwrap();
    attest(&provider, &Key::keyguard()).await.unwrap();
    log.wait_for("auth NULL<> payload <arguments> key 1234");
}

#[tokio::test]
async fn maps_each_code_to_its_error() {
    let path = copy_of(FAKE, "codes");
    for code in NativeCode::known().chain([-36, 1, 99].map(NativeCode::new)) {
        let error = attest_with(&path, &format!("code:{}", code.number()))
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AttestationFailed);
        assert_eq!(error.stage(), Stage::Attestation);
        assert_eq!(error.is_retryable(), code.is_transient());
        assert_eq!(error.next_step(), code.next_step());
        assert!(
            matches!(failure(&error), NativeFailure::LibraryFailed(of) if *of == code),
            "{code}"
        );
    }
}

#[tokio::test]
async fn frees_token_unread_after_failure() {
    let path = copy_of(FAKE, "poison");
    let error = attest_with(&path, "poison:-6").await.unwrap_err();
    assert_eq!(failure(&error).code(), Some(NativeCode::new(-6)));
    assert_eq!(number(&path, "outstanding").await, 0);
}

#[tokio::test]
async fn attested_or_error_for_success_without_token() {
    let path = copy_of(FAKE, "no-token");
    for (action, text) in [
        ("null", "no token"),
        ("empty", "empty"),
        ("blank", "empty"),
        ("huge", "too long"),
        ("binary", "not UTF-8"),
        ("word", "not a JWT"),
    ] {
        let error = attest_with(&path, action).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AttestationFailed, "{action}");
        assert!(
            matches!(failure(&error), NativeFailure::NoToken(_)),
            "{action}"
        );
        let message = failure(&error).to_string();
        assert!(message.contains(text), "{action}: {message}");
        assert!(!format!("{error:?} {message}").contains("eyJ"), "{action}");
    }
    assert_eq!(number(&path, "outstanding").await, 0);
}

#[tokio::test]
async fn frees_every_token() {
    let path = copy_of(FAKE, "given-back");
    let provider = pinned(&path);
    for _ in 0..1000 {
        attest(&provider, &Key::keyguard()).await.unwrap();
    }
    assert_eq!(number(&path, "outstanding").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn starts_once_and_serializes_calls() {
    let path = copy_of(FAKE, "one-at-a-time");
    let calls: Vec<_> = (0..16)
        .map(|_| {
            let path = path.clone();
            tokio::spawn(async move { attest_with(&path, "overlapped").await })
        })
        .collect();
    for call in calls {
        call.await.unwrap().unwrap();
    }
    assert_eq!(number(&path, "starts").await, 1);
}

#[test]
fn hanging_call_blocks_neither_runtime_nor_cancelled_callers() {
    let log = CapturedLog::of_process();
    let path = copy_of(FAKE, "hang");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    runtime.block_on(async {
        attest_with(&path, "token").await.unwrap();
        let provider = pinned(&path).client_payload("hang").unwrap();
        let key = Key::keyguard();
        let mut hanging = Box::pin(attest(&provider, &key));
        let logged = tokio::task::spawn_blocking(|| log.wait_for("hanging"));
        let mut logged = pin!(logged);
        poll_fn(|context| {
            assert!(hanging.as_mut().poll(context).is_pending());
            logged.as_mut().poll(context)
        })
        .await
        .unwrap();
        drop(hanging);
        // The next call waits, and can be cancelled too.
        let mut next = pin!(attest(&provider, &key));
        poll_fn(|context| {
            assert!(next.as_mut().poll(context).is_pending());
            Poll::Ready(())
        })
        .await;
    });
    drop(runtime);
}

#[tokio::test]
async fn secrets_stay_secret_in_log_lines() {
    let log = CapturedLog::of_process();
    attest_with(&copy_of(FAKE, "secret"), "secret")
        .await
        .unwrap();
    let line = log.wait_for("MAA said");
    assert!(
        line.contains("[redacted]") && !line.contains("eyJ"),
        "{line}"
    );
    assert!(!line.contains('\u{1b}'), "{line:?}");
}

#[tokio::test]
async fn limits_and_counts_log_lines() {
    let log = CapturedLog::of_process();
    attest_with(&copy_of(FAKE, "storm"), "storm:1000000")
        .await
        .unwrap();
    assert_eq!(log.lines_with("storm line").len(), 256);
    let rest = log.wait_for("suppressed");
    assert!(rest.contains("count=999744"), "{rest}");
}

#[tokio::test]
async fn logs_lines_after_the_call() {
    let log = CapturedLog::of_process();
    attest_with(&copy_of(FAKE, "late"), "late").await.unwrap();
    let line = log.wait_for("late line");
    assert!(line.starts_with("WARN"), "{line}");
}

#[tokio::test]
async fn attests_only_keyguard_keys() {
    let provider = pinned(&original(FAKE));
    let weak = Key {
        strength: KeyStrength::Hardware,
        ..Key::keyguard()
    };
    let without_handle = Key {
        handle: None,
        ..Key::keyguard()
    };
    for key in [weak, without_handle] {
        let error = attest(&provider, &key).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AttestationUnavailable);
        assert!(matches!(failure(&error), NativeFailure::KeyNotAttestable));
    }
}

#[tokio::test]
async fn attests_a_handle_of_the_caller() {
    let log = CapturedLog::of_process();
    let path = copy_of(FAKE, "handle");
    let endpoint = Url::parse("https://maa.example.net/").unwrap();
    let client_id = Guid::parse("11111111-1111-4111-8111-111111111111").unwrap();
    let handle = Key::keyguard().handle.unwrap();
    let token = pinned(&path)
        .attest_handle(&endpoint, &client_id, handle)
        .await
        .unwrap();
    assert!(!token.expose().is_empty());
    log.wait_for("key 1234 client 11111111-1111-4111-8111-111111111111");
}

const FAKE: &str = "fake_library.dll";
