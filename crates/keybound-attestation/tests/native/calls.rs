//! A stand-in that is loaded, and each way in which it answers.
use crate::support::{Key, asked, attest, copy_of, failure, log, number, original, pinned};
use keybound_attestation::native::{NativeCode, NativeFailure};
use keybound_core::{ErrorKind, KeyStrength, SecretString, Stage};
use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

#[tokio::test]
async fn a_keyguard_key_is_attested() {
    let token = asked(&copy_of(STAND_IN, "attested"), "token")
        .await
        .unwrap();
    assert_eq!(token.expose(), "eyJhbGciOiJub25lIn0.e30.c2ln");
}

#[tokio::test]
async fn the_library_gets_what_it_is_to_get() {
    let log = log();
    let path = copy_of(STAND_IN, "arguments");
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
        line.contains(r#"tag="StandIn" function="tell" line="#),
        "{line}"
    );
    assert!(!format!("{provider:?}").contains("let me in"));
}

#[tokio::test]
async fn what_is_not_set_is_empty_or_null() {
    let log = log();
    let path = copy_of(STAND_IN, "not-set");
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
async fn each_code_is_its_own_error() {
    let path = copy_of(STAND_IN, "codes");
    for code in NativeCode::known().chain([-36, 1, 99].map(NativeCode::new)) {
        let error = asked(&path, &format!("code:{}", code.number()))
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AttestationFailed);
        assert_eq!(error.stage(), Stage::Attestation);
        assert_eq!(error.is_retryable(), code.is_transient());
        assert_eq!(error.next_step(), code.next_step());
        assert!(
            matches!(failure(&error), NativeFailure::Answered(of) if *of == code),
            "{code}"
        );
    }
}

#[tokio::test]
async fn after_a_failure_the_token_is_given_back_unread() {
    let path = copy_of(STAND_IN, "poison");
    let error = asked(&path, "poison:-6").await.unwrap_err();
    assert_eq!(failure(&error).code(), Some(NativeCode::new(-6)));
    assert_eq!(number(&path, "outstanding").await, 0);
}

#[tokio::test]
async fn attested_or_error_where_success_brings_no_token() {
    let path = copy_of(STAND_IN, "no-token");
    for (does, says) in [
        ("null", "no token"),
        ("empty", "empty"),
        ("blank", "empty"),
        ("huge", "too long"),
        ("binary", "no text"),
        ("word", "no JWT"),
    ] {
        let error = asked(&path, does).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AttestationFailed, "{does}");
        assert!(
            matches!(failure(&error), NativeFailure::NoToken(_)),
            "{does}"
        );
        let text = failure(&error).to_string();
        assert!(text.contains(says), "{does}: {text}");
        assert!(!format!("{error:?} {text}").contains("eyJ"), "{does}");
    }
    assert_eq!(number(&path, "outstanding").await, 0);
}

#[tokio::test]
async fn every_token_is_given_back() {
    let path = copy_of(STAND_IN, "given-back");
    let provider = pinned(&path);
    for _ in 0..1000 {
        attest(&provider, &Key::keyguard()).await.unwrap();
    }
    assert_eq!(number(&path, "outstanding").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_library_is_started_once_and_called_by_one_at_a_time() {
    let path = copy_of(STAND_IN, "one-at-a-time");
    let calls: Vec<_> = (0..16)
        .map(|_| {
            let path = path.clone();
            tokio::spawn(async move { asked(&path, "overlapped").await })
        })
        .collect();
    for call in calls {
        call.await.unwrap().unwrap();
    }
    assert_eq!(number(&path, "starts").await, 1);
}

#[test]
fn a_call_that_hangs_holds_up_neither_the_runtime_nor_those_who_give_up() {
    let log = log();
    let path = copy_of(STAND_IN, "hang");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    runtime.block_on(async {
        asked(&path, "token").await.unwrap();
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
        // The next one waits for its turn, and may give up too.
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
async fn secrets_stay_secret_in_the_librarys_lines() {
    let log = log();
    asked(&copy_of(STAND_IN, "secret"), "secret").await.unwrap();
    let line = log.wait_for("MAA said");
    assert!(
        line.contains("[redacted]") && !line.contains("eyJ"),
        "{line}"
    );
    assert!(!line.contains('\u{1b}'), "{line:?}");
}

#[tokio::test]
async fn a_storm_of_lines_is_cut_and_its_rest_counted() {
    let log = log();
    asked(&copy_of(STAND_IN, "storm"), "storm:1000000")
        .await
        .unwrap();
    assert_eq!(log.lines_with("storm line").len(), 256);
    let rest = log.wait_for("left out");
    assert!(rest.contains("count=999744"), "{rest}");
}

#[tokio::test]
async fn lines_that_come_after_the_call_are_logged_too() {
    let log = log();
    asked(&copy_of(STAND_IN, "late"), "late").await.unwrap();
    let line = log.wait_for("late line");
    assert!(line.starts_with("WARN"), "{line}");
}

#[tokio::test]
async fn only_keyguard_keys_are_attested() {
    let provider = pinned(&original(STAND_IN));
    let weak = Key {
        strength: KeyStrength::Hardware,
        ..Key::keyguard()
    };
    let elsewhere = Key {
        handle: None,
        ..Key::keyguard()
    };
    for key in [weak, elsewhere] {
        let error = attest(&provider, &key).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AttestationUnavailable);
        assert!(matches!(failure(&error), NativeFailure::KeyNotAttestable));
    }
}

const STAND_IN: &str = "stand_in.dll";
