//! The probe: does this host's IMDS speak v2?
use crate::world::{World, assert_failed, with_more_time};
use keybound::{ErrorKind, Stage};
use std::time::Duration;

#[tokio::test]
async fn a_host_that_misses_the_header_supports_v2_and_one_that_misses_the_call_does_not() {
    let world = World::new();
    // With its repeats, of which 404 is none here.
    let client = world.builder().retries(true).build().unwrap();
    assert!(client.supports_imds_v2(PATIENCE).await.unwrap());
    world.inject("probe=status:404");
    assert!(!client.supports_imds_v2(PATIENCE).await.unwrap());
    assert_eq!((world.count("probe"), world.count("metadata")), (2, 0));
}

#[tokio::test]
async fn a_400_of_imds_is_a_yes_whatever_it_says() {
    let world = World::new();
    let client = world.client();
    for body in [
        r#"{"error":"identity_not_found","error_description":"Managed Identity not found"}"#,
        r#"{"error":"invalid_request","error_description":"Identity not found"}"#,
        r#"{"error":"invalid_request","error_description":"Unsupported query variables"}"#,
        "no",
    ] {
        world.inject(&format!("probe=status:400,body={body}"));
        assert!(client.supports_imds_v2(PATIENCE).await.unwrap(), "{body}");
    }
    assert_eq!(world.count("probe"), 4);
}

#[tokio::test]
async fn no_other_answer_is_taken_for_a_yes_or_a_no() {
    let world = World::new();
    let client = world.client();
    for (fault, kind) in [
        ("probe=html", ErrorKind::NotImds),
        ("probe=status:400,Server=nginx", ErrorKind::NotImds),
        ("probe=status:403,Server=nginx", ErrorKind::NotImds),
        ("probe=status:404,Server=nginx", ErrorKind::NotImds),
        ("probe=status:403", ErrorKind::Refused),
        ("probe=status:503", ErrorKind::ServiceUnavailable),
        ("probe=redirect", ErrorKind::RedirectRefused),
        ("probe=not-http", ErrorKind::InvalidResponse),
    ] {
        world.inject(fault);
        let error = client.supports_imds_v2(PATIENCE).await.unwrap_err();
        assert_failed(&error, kind, Stage::Metadata);
    }
}

#[tokio::test]
async fn the_probe_ends_with_its_time_and_tells_what_was_said_last() {
    let (_, error) = with_more_time(async |timeout| {
        let world = World::new();
        let client = world.builder().retries(true).build().unwrap();
        world.inject("probe=status:503,Retry-After=30*always");
        let error = client.supports_imds_v2(timeout).await.unwrap_err();
        (world, error)
    })
    .await;
    assert_failed(&error, ErrorKind::ServiceUnavailable, Stage::Metadata);
    assert!(error.deadline_reached());
}

const PATIENCE: Duration = Duration::from_secs(60);
