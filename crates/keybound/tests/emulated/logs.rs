//! No log line at any level contains a secret, in success and failure.
use keybound::Error;
use keybound::attestation::{AttestationFuture, AttestationProvider, AttestationRequest};
use keybound::http::ResourceClient;
use keybound::keys::ProviderChain;
use keybound_emulator::{SimulatedAttestation, SimulatedKeyProvider};
use keybound_testing::emulated::{TestHost, attested, get};
use keybound_testing::{CapturedLog, assert_no_leak};
use std::error::Error as _;
use std::sync::{Arc, Mutex};

#[tokio::test]
async fn logs_and_errors_contain_no_secrets() {
    let log = CapturedLog::of_process();
    let position = log.position();
    let host = TestHost::new();
    let attestation = Arc::new(RecordingAttestation {
        provider: SimulatedAttestation::new(host.trust()).unwrap(),
        tokens: Mutex::default(),
    });
    let keys = ProviderChain::new(vec![Arc::new(SimulatedKeyProvider::new())]);
    // Each client starts with empty caches.
    let client = || {
        let builder = host.builder().key_providers(keys.clone());
        let builder = builder.attestation(Arc::clone(&attestation) as _);
        builder.retries(true).build().unwrap()
    };
    let first = client().acquire_token(&attested()).await.unwrap();
    let mut secrets = vec![first.secret().expose().to_owned()];
    let mut output = format!("{first:?} {:?}", client());
    for fault in faults(first.secret().expose()) {
        host.inject(&fault);
        match client().acquire_token(&attested()).await {
            Ok(token) => {
                secrets.push(token.secret().expose().to_owned());
                output += &format!("{token:#?}");
            }
            Err(error) => output += &full_text(&error),
        }
    }
    let token = &first;
    let echo = format!(
        r#"{{"error":{{"code":"Unauthorized","message":"bad {}"}}}}"#,
        token.secret().expose()
    );
    for fault in [
        &*format!("vault=status:401,body={echo}"),
        "vault=never-ask",
        "vault=reset",
        "vault-tls=reset",
    ] {
        host.inject(fault);
        match get(token, &host.secret_url()).await {
            Ok(response) => output += &format!("{response:?}"),
            Err(error) => output += &full_text(&error),
        }
    }
    let vault = ResourceClient::builder(&client(), attested()).honor_retry_after(true);
    let vault = vault.build().unwrap();
    for fault in RESOURCE_FAULTS {
        host.inject(fault);
        let response = vault.get(host.secret_url()).send().await.unwrap();
        let token = response.token();
        secrets.push(token.secret().expose().to_owned());
        output += &format!("{vault:#?} {response:#?}");
    }
    secrets.append(&mut attestation.tokens.lock().unwrap());
    assert!(secrets.len() > 5, "attested more than once");
    let log = log.text_since(position);
    let expected = ["retrying", "retrying with a new one", "keybound_step"];
    let expected_of_calls = [
        "further claims",
        "on a new connection",
        "waiting as Retry-After",
        "a redirect",
    ];
    for text in expected.into_iter().chain(expected_of_calls) {
        assert!(log.contains(text), "not logged: {text}");
    }
    assert_no_leak(&secrets, &log, "the log");
    assert_no_leak(&secrets, &output, "the Debug output");
    // The same for tokens that were rejected: every JWT starts like this.
    assert!(secrets.iter().all(|secret| secret.starts_with(JWT_START)));
    assert!(
        !log.contains(JWT_START) && !output.contains(JWT_START),
        "{log}{output}"
    );
}

fn faults(token: &str) -> Vec<String> {
    let rejected = r#"{"error":"invalid_client","error_codes":[1000610]}"#;
    let echo = format!(r#"{{"error":"invalid_request","error_description":"got {token}"}}"#);
    let mut faults = vec![
        format!("token=status:401,body={rejected}"),
        format!("token=status:400,body={echo}"),
        format!(r#"token=status:401,body={{"error":"{token}","trace_id":"{token}"}}"#),
        format!("token=status:500,WWW-Authenticate=x {token},body={token}"),
        format!("issue=status:400,body={echo}"),
        format!("metadata=status:500,Retry-After=0,body={echo}"),
    ];
    faults.extend(FAULTS.map(str::to_owned));
    faults
}

fn full_text(error: &Error) -> String {
    let mut text = format!("{error} {error:#?}");
    let mut cause = error.source();
    while let Some(error) = cause {
        text += &format!("{error} {error:#?}");
        cause = error.source();
    }
    text
}

/// Records the attestation tokens.
#[derive(Debug)]
struct RecordingAttestation {
    provider: SimulatedAttestation,
    tokens: Mutex<Vec<String>>,
}

impl AttestationProvider for RecordingAttestation {
    fn attest<'a>(&'a self, request: AttestationRequest<'a>) -> AttestationFuture<'a> {
        Box::pin(async move {
            let token = self.provider.attest(request).await?;
            self.tokens.lock().unwrap().push(token.expose().to_owned());
            Ok(token)
        })
    }

    fn is_simulated(&self) -> bool {
        self.provider.is_simulated()
    }
}

/// base64url of `{"alg":`.
const JWT_START: &str = "eyJhbGciOi";
const FAULTS: [&str; 16] = [
    "token-tls=reject-certificate:certificate_revoked",
    "metadata=status:429,Retry-After=0",
    "issue=status:503,Retry-After=0",
    "issue=redirect",
    "issue=html",
    "issue=certificate:other-key",
    "attest=status:500",
    "attest=html",
    "token=no-cnf",
    "token=other-cnf",
    "token=garbage-token",
    "token=expired-token",
    "token=token-type:Bearer",
    "token=redirect",
    "token=reset",
    "token=oversized",
];
/// Responses after which the call is repeated.
const RESOURCE_FAULTS: [&str; 4] = [
    r#"vault=claims-challenge:{"a":1}"#,
    r#"vault=status:401,body={"error":{"message":"MtlsCnfClaimRequestDataValidationFailed"}}"#,
    "vault=status:503,Retry-After=0",
    "vault=redirect:/secrets/demo-secret?api-version=7.4",
];
