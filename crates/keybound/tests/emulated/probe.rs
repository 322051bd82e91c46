//! The probe whether IMDS supports v2.
use keybound::{ErrorKind, Stage};
use keybound_testing::emulated::{TestHost, assert_failed, with_more_time};
use std::time::Duration;

#[tokio::test]
async fn v2_is_supported_unless_the_endpoint_is_missing() {
    let host = TestHost::new();
    // With retries; 404 is not retried here.
    let client = host.builder().retries(true).build().unwrap();
    assert!(client.supports_imds_v2(TIMEOUT).await.unwrap());
    host.inject("probe=status:404");
    assert!(!client.supports_imds_v2(TIMEOUT).await.unwrap());
    assert_eq!((host.count("probe"), host.count("metadata")), (2, 0));
}

#[tokio::test]
async fn any_400_of_imds_means_supported() {
    let host = TestHost::new();
    let client = host.client();
    for body in [
        r#"{"error":"identity_not_found","error_description":"Managed Identity not found"}"#,
        r#"{"error":"invalid_request","error_description":"Identity not found"}"#,
        r#"{"error":"invalid_request","error_description":"Unsupported query variables"}"#,
        "no",
    ] {
        host.inject(&format!("probe=status:400,body={body}"));
        assert!(client.supports_imds_v2(TIMEOUT).await.unwrap(), "{body}");
    }
    assert_eq!(host.count("probe"), 4);
}

#[tokio::test]
async fn other_responses_are_errors() {
    let host = TestHost::new();
    let client = host.client();
    for (fault, kind) in [
        ("probe=html", ErrorKind::NotImds),
        ("probe=status:400,Server=nginx", ErrorKind::NotImds),
        ("probe=status:403,Server=nginx", ErrorKind::NotImds),
        ("probe=status:404,Server=nginx", ErrorKind::NotImds),
        ("probe=status:403", ErrorKind::Refused),
        ("probe=status:503", ErrorKind::ServiceUnavailable),
        ("probe=redirect", ErrorKind::RedirectNotAllowed),
        ("probe=not-http", ErrorKind::InvalidResponse),
    ] {
        host.inject(fault);
        let error = client.supports_imds_v2(TIMEOUT).await.unwrap_err();
        assert_failed(&error, kind, Stage::Metadata);
    }
}

#[tokio::test]
async fn probe_returns_the_last_error_response_at_its_deadline() {
    let (_, error) = with_more_time(async |timeout| {
        let host = TestHost::new();
        let client = host.builder().retries(true).build().unwrap();
        host.inject("probe=status:503,Retry-After=30*always");
        let error = client.supports_imds_v2(timeout).await.unwrap_err();
        (host, error)
    })
    .await;
    assert_failed(&error, ErrorKind::ServiceUnavailable, Stage::Metadata);
    assert!(error.deadline_exceeded());
}

const TIMEOUT: Duration = Duration::from_secs(60);
