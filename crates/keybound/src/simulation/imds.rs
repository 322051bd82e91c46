//! IMDS: checks every request, and returns the cached certificate in the first half of its lifetime.
use super::pki::{self, CertificateRecord};
use super::services::{parameters, text};
use super::{Call, Leg, TestHost};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::Method;
use http::request::Parts;
use keybound_core::lock;
use serde_json::{Value, json};
use std::time::Duration;

impl TestHost {
    /// Checks a request to IMDS.
    pub(super) fn read_imds_request(&self, head: &Parts, body: &[u8]) -> Call {
        let issue = head.uri.path() == ISSUE;
        let (leg, method) = match issue {
            true => (Leg::Issue, Method::POST),
            false => (Leg::Metadata, Method::GET),
        };
        let call = Call {
            leg,
            parameters: parameters(head.uri.query().unwrap_or_default().as_bytes()),
            body: serde_json::from_slice(body).unwrap_or_default(),
            ..Call::default()
        };
        self.check(head.method == method, format!("{head:?}"));
        self.check(text(head, "Metadata") == "true", "Metadata: true");
        let id = text(head, "x-ms-client-request-id");
        let correlated = text(head, "x-ms-correlation-id") == id;
        self.check(correlated, "x-ms-correlation-id");
        let version = call.parameter("cred-api-version");
        self.check(version == "2.0", "cred-api-version");
        let json = text(head, "Content-Type") == "application/json; charset=utf-8";
        self.check(json == issue, "Content-Type");
        let bypass = call.parameters.get("bypass_cache");
        let valid = bypass.is_none_or(|value| issue && value == "true");
        self.check(valid, "bypass_cache");
        call
    }

    /// The response to a request to IMDS.
    pub(super) fn imds(&self, call: &Call) -> (u16, Value) {
        if self.setup.imds_rejects_bypass && call.bypass() {
            // The response of real IMDS.
            let description = "Unsupported query variables";
            return (
                400,
                json!({ "error": "invalid_request", "error_description": description }),
            );
        }
        let client = call.parameters.get("client_id");
        let client = client.map_or(SYSTEM, String::as_str);
        if call.leg == Leg::Issue {
            return (200, self.issue(client, call));
        }
        let metadata = json!({
            "clientId": client,
            "tenantId": TENANT,
            "cuId": { "vmId": "2f1f0a4a-0a6e-4d8e-9c5c-0b1c33b0a6a7", "vmssId": "" },
            "attestationEndpoint": "https://sharedeus.eus.attest.azure.net",
        });
        (200, metadata)
    }

    fn issue(&self, client: &str, call: &Call) -> Value {
        let csr = call.body["csr"].as_str().unwrap_or_default();
        let csr = STANDARD.decode(csr).unwrap_or_default();
        let Some(request) = pki::read(&csr) else {
            self.check(false, "the CSR has no valid signature");
            return Value::Null;
        };
        let attested = call.body.get("attestation_token").is_some();
        let holder = (client.to_owned(), request.public_key.clone(), attested);
        let cached = self.cached(&holder, call.bypass());
        let signed = cached.unwrap_or_else(|| {
            let lifetime = Duration::from_secs_f64(self.setup.certificate_life);
            let tokens = self.setup.certificate_token_life;
            let tokens = tokens.map(Duration::from_secs_f64);
            let signed = pki::sign(&request, holder, self.true_time(), lifetime, tokens);
            lock(&self.history).certificates.push(signed.clone());
            signed
        });
        json!({
            "client_id": client,
            "tenant_id": TENANT,
            "certificate": STANDARD.encode(&signed.der),
            "identity_type": if client == SYSTEM { "SystemAssigned" } else { "UserAssigned" },
            "mtls_authentication_endpoint": ENTRA,
        })
    }

    fn cached(&self, holder: &(String, Vec<u8>, bool), bypass: bool) -> Option<CertificateRecord> {
        let now = self.true_time();
        let history = lock(&self.history);
        let mut newest_first = history.certificates.iter().rev();
        let last = newest_first.find(|signed| signed.holder == *holder)?;
        let half = last.not_after.duration_since(last.not_before).ok()? / 2;
        let cached_for = self.setup.imds_cache_life.map(Duration::from_secs_f64);
        let until = last.not_before + cached_for.unwrap_or(half);
        let fresh = self.setup.imds_cache && !bypass && now < until;
        (fresh || self.setup.imds_stuck).then(|| last.clone())
    }
}

/// Whether a path is one of v2.
pub(super) fn is_v2(path: &str) -> bool {
    [METADATA, ISSUE].contains(&path)
}

pub(super) const TENANT: &str = "72f988bf-86f1-41af-91ab-2d7cd011db47";
pub(super) const ENTRA: &str = "https://eastus.mtlsauth.microsoft.com";
/// The client id of the system-assigned identity.
pub(super) const SYSTEM: &str = "11111111-2222-4333-8444-555555555555";
pub(super) const METADATA: &str = "/metadata/identity/getplatformmetadata";
const ISSUE: &str = "/metadata/identity/issuecredential";
