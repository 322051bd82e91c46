//! The step events of acquisitions.
use keybound::{ErrorKind, Step, StepEvent, StepTiming};
use keybound_testing::emulated::{TestHost, attested};
use std::mem::take;
use std::sync::{Arc, Mutex};

#[tokio::test]
async fn reports_each_finished_step_once() {
    let host = TestHost::new();
    let events = Arc::new(Mutex::new(Vec::<StepEvent>::new()));
    let listener = Arc::clone(&events);
    let client = host
        .builder()
        .on_step(move |event| listener.lock().unwrap().push(event.clone()))
        .build()
        .unwrap();

    host.inject("token=status:400");
    let error = client.acquire_token(&attested()).await.unwrap_err();
    let failed = take(&mut *events.lock().unwrap());
    let steps: Vec<_> = failed.iter().map(|event| event.step).collect();
    let expected = [
        Step::Metadata,
        Step::Key,
        Step::Csr,
        Step::Attestation,
        Step::Credential,
        Step::Token,
    ];
    assert_eq!(steps, expected);
    let id = &failed[0].correlation_id;
    assert!(failed.iter().all(|event| event.correlation_id == *id));
    let (last, before) = failed.split_last().unwrap();
    assert!(before.iter().all(|event| event.error.is_none()));
    assert_eq!(last.error.as_ref().unwrap().kind(), error.kind());
    assert_eq!(error.kind(), ErrorKind::Refused);
    assert_eq!(error.stage(), last.step.stage());

    let token = client.acquire_token(&attested()).await.unwrap();
    let succeeded = take(&mut *events.lock().unwrap());
    let steps: Vec<_> = succeeded.iter().map(|event| event.step).collect();
    assert_eq!(steps, [Step::Token, Step::BindingCheck]);
    assert_ne!(succeeded[0].correlation_id, *id);
    let timings = token.timings().iter();
    let timings: Vec<_> = timings
        .map(|StepTiming { step, elapsed, .. }| (*step, *elapsed))
        .collect();
    let reported = succeeded.iter().map(|event| (event.step, event.elapsed));
    assert_eq!(timings, reported.collect::<Vec<_>>());

    client.acquire_token(&attested()).await.unwrap();
    assert_eq!(events.lock().unwrap().len(), 0, "the token was cached");
}
