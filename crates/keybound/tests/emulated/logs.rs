//! What is logged, at every level, on good ways and bad: no secret.
use crate::world::{World, attested, get};
use crate::{captured_log, leaks};
use keybound::Error;
use keybound::attestation::{AttestationFuture, AttestationProvider, AttestationRequest};
use keybound::http::ResourceClient;
use keybound::keys::ProviderChain;
use keybound_emulator::{SimulatedAttestation, SimulatedKeyProvider};
use std::error::Error as _;
use std::sync::{Arc, Mutex};

#[tokio::test]
async fn no_log_and_no_error_holds_a_secret_whatever_goes_wrong() {
    let mark = captured_log::mark();
    let world = World::new();
    let attestation = Arc::new(Overheard {
        provider: SimulatedAttestation::new(world.trust()).unwrap(),
        said: Mutex::default(),
    });
    let keys = ProviderChain::new(vec![Arc::new(SimulatedKeyProvider::new())]);
    // Each starts with empty caches.
    let client = || {
        let builder = world.builder().key_providers(keys.clone());
        let builder = builder.attestation(Arc::clone(&attestation) as _);
        builder.retries(true).build().unwrap()
    };
    let first = client().acquire_token(&attested()).await.unwrap();
    let mut secrets = vec![first.secret().expose().to_owned()];
    let mut shown = format!("{first:?} {:?}", client());
    for fault in faults(first.secret().expose()) {
        world.inject(&fault);
        match client().acquire_token(&attested()).await {
            Ok(token) => {
                secrets.push(token.secret().expose().to_owned());
                shown += &format!("{token:#?}");
            }
            Err(error) => shown += &whole(&error),
        }
    }
    let token = &first;
    for fault in ["vault=status:401", "vault=reset", "vault-tls=reset"] {
        world.inject(fault);
        match get(token, &world.secret_url()).await {
            Ok(answer) => shown += &format!("{answer:?}"),
            Err(error) => shown += &whole(&error),
        }
    }
    let vault = ResourceClient::builder(&client(), attested()).honor_retry_after(true);
    let vault = vault.build().unwrap();
    for fault in RESOURCE_FAULTS {
        world.inject(fault);
        let answer = vault.get(world.secret_url()).send().await.unwrap();
        let token = answer.token();
        secrets.push(token.secret().expose().to_owned());
        shown += &format!("{vault:#?} {answer:#?}");
    }
    secrets.append(&mut attestation.said.lock().unwrap());
    assert!(secrets.len() > 5, "attested more than once");
    let log = mark.since();
    let said = ["retrying", "retrying with a new one", "keybound_step"];
    let said_of_calls = [
        "further claims",
        "on a new connection",
        "waiting as Retry-After",
        "a redirect",
    ];
    for said in said.into_iter().chain(said_of_calls) {
        assert!(log.contains(said), "{said}: that way was not gone");
    }
    leaks::assert_none(&secrets, &log, "the log");
    leaks::assert_none(&secrets, &shown, "what is shown");
    // Nor do tokens that were refused: so begins every JWT, and by chance nothing else.
    assert!(secrets.iter().all(|secret| secret.starts_with(JWT_BEGIN)));
    assert!(
        !log.contains(JWT_BEGIN) && !shown.contains(JWT_BEGIN),
        "{log}{shown}"
    );
}

fn faults(token: &str) -> Vec<String> {
    let refused = r#"{"error":"invalid_client","error_codes":[1000610]}"#;
    let echo = format!(r#"{{"error":"invalid_request","error_description":"got {token}"}}"#);
    let mut faults = vec![
        format!("token=status:401,body={refused}"),
        format!("token=status:400,body={echo}"),
        format!("issue=status:400,body={echo}"),
        format!("metadata=status:500,Retry-After=0,body={echo}"),
    ];
    faults.extend(FAULTS.map(str::to_owned));
    faults
}

fn whole(error: &Error) -> String {
    let mut text = format!("{error} {error:#?}");
    let mut cause = error.source();
    while let Some(error) = cause {
        text += &format!("{error} {error:#?}");
        cause = error.source();
    }
    text
}

/// Records what was attested.
#[derive(Debug)]
struct Overheard {
    provider: SimulatedAttestation,
    said: Mutex<Vec<String>>,
}

impl AttestationProvider for Overheard {
    fn attest<'a>(&'a self, request: AttestationRequest<'a>) -> AttestationFuture<'a> {
        Box::pin(async move {
            let token = self.provider.attest(request).await?;
            self.said.lock().unwrap().push(token.expose().to_owned());
            Ok(token)
        })
    }

    fn is_simulated(&self) -> bool {
        self.provider.is_simulated()
    }
}

/// base64url of `{"alg":`.
const JWT_BEGIN: &str = "eyJhbGciOi";
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
/// What the call is made again after.
const RESOURCE_FAULTS: [&str; 4] = [
    r#"vault=claims-challenge:{"a":1}"#,
    r#"vault=status:401,body={"error":{"message":"MtlsCnfClaimRequestDataValidationFailed"}}"#,
    "vault=status:503,Retry-After=0",
    "vault=redirect:/secrets/demo-secret?api-version=7.4",
];
