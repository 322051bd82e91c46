//! IMDS: checks every request, and returns the cached certificate in the first half of its lifetime.
use super::pki;
use super::script::{RequestContext, ScriptedResponse};
use super::test_host::{CertificateRecord, Reply, parameters, reply, request_id};
use super::{Call, Leg, TestHost};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::request::Parts;
use http::{HeaderMap, Method};
use keybound_core::lock;
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

impl TestHost {
    /// Responds to a request to IMDS.
    pub(super) async fn imds(&self, head: &Parts, body: &[u8], timeout: Duration) -> Reply {
        let path = head.uri.path();
        let query = parameters(head.uri.query().unwrap_or_default().as_bytes());
        self.check_head(head, &query);
        let response = match path {
            METADATA => self.record_request(Leg::Metadata, head, &query, None),
            ISSUE => self.record_request(Leg::Issue, head, &query, Some(body)),
            _ => panic!("unknown path of IMDS: {path}"),
        };
        let server = response.server.as_deref().unwrap_or("IMDS/150.870.65.1854");
        let with_server = |mut reply: http::Response<_>| {
            if !server.is_empty() {
                let headers = reply.headers_mut();
                headers.insert(http::header::SERVER, server.parse().unwrap());
            }
            reply
        };
        if let Some(reply) = self.respond(&response, timeout).await {
            return reply.map(with_server);
        }
        if self.setup.imds_rejects_bypass && query.contains_key("bypass_cache") {
            return Ok(reply(400, HeaderMap::new(), UNSUPPORTED.to_owned()));
        }
        let client = query.get("client_id").map_or(SYSTEM, String::as_str);
        let mut body = match path {
            METADATA => metadata(client),
            _ => self.issue(client, &query, body),
        };
        response.change(&mut body);
        Ok(with_server(reply(
            200,
            HeaderMap::new(),
            response.serialize(&body),
        )))
    }

    fn check_head(&self, head: &Parts, query: &HashMap<String, String>) {
        let text = |name: &str| {
            head.headers
                .get(name)
                .and_then(|value| value.to_str().ok())
                .unwrap_or_default()
        };
        let issue = head.uri.path() == ISSUE;
        let method = if issue { Method::POST } else { Method::GET };
        self.check(head.method == method, format!("{head:?}"));
        self.check(text("Metadata") == "true", "Metadata: true");
        let id = text("x-ms-client-request-id");
        self.check(id.len() == 36, "x-ms-client-request-id");
        self.check(text("x-ms-correlation-id") == id, "x-ms-correlation-id");
        self.check(
            query.get("cred-api-version").map(String::as_str) == Some("2.0"),
            "cred-api-version",
        );
        let json = text("Content-Type") == "application/json; charset=utf-8";
        self.check(json == issue, "Content-Type");
        let bypass = query.get("bypass_cache");
        self.check(
            bypass.is_none_or(|value| issue && value == "true"),
            "bypass_cache",
        );
    }

    fn record_request(
        &self,
        leg: Leg,
        head: &Parts,
        query: &HashMap<String, String>,
        body: Option<&[u8]>,
    ) -> ScriptedResponse {
        let content: Option<Value> = body.and_then(|body| serde_json::from_slice(body).ok());
        let attestation = content
            .as_ref()
            .and_then(|content| content.get("attestation_token")?.as_str());
        self.record(Call {
            leg,
            at: self.elapsed(),
            bypass: query.contains_key("bypass_cache"),
            claims: None,
            attestation: attestation.map(str::to_owned),
            request_id: request_id(head),
            query: BTreeMap::new(),
        });
        self.response(&RequestContext {
            leg,
            certificate: None,
            resource: None,
        })
    }

    fn issue(&self, client: &str, query: &HashMap<String, String>, body: &[u8]) -> Value {
        let content: Value = serde_json::from_slice(body).unwrap_or_default();
        let csr = content
            .get("csr")
            .and_then(Value::as_str)
            .unwrap_or_default();
        let csr = STANDARD.decode(csr).unwrap_or_default();
        let Some(request) = pki::read(&csr) else {
            self.check(false, "the CSR has no valid signature");
            return Value::Null;
        };
        let attested = content.get("attestation_token").is_some();
        let holder = (client.to_owned(), request.public_key.clone(), attested);
        let bypass = query.contains_key("bypass_cache");
        let cached = self.cached(&holder, bypass);
        let signed = cached.unwrap_or_else(|| {
            let lifetimes = pki::Lifetimes {
                certificate: Duration::from_secs_f64(self.setup.certificate_life),
                tokens: self
                    .setup
                    .certificate_token_life
                    .map(Duration::from_secs_f64),
            };
            let signed = pki::sign(&request, holder, self.true_time(), lifetimes);
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
        let last = history
            .certificates
            .iter()
            .rev()
            .find(|signed| signed.holder == *holder)?;
        let half = last.not_after.duration_since(last.not_before).ok()? / 2;
        let cached_for = self.setup.imds_cache_life.map(Duration::from_secs_f64);
        let until = last.not_before + cached_for.unwrap_or(half);
        let fresh = self.setup.imds_cache && !bypass && now < until;
        (fresh || self.setup.imds_stuck).then(|| last.clone())
    }
}

fn metadata(client: &str) -> Value {
    json!({
        "clientId": client,
        "tenantId": TENANT,
        "cuId": { "vmId": "2f1f0a4a-0a6e-4d8e-9c5c-0b1c33b0a6a7", "vmssId": "" },
        "attestationEndpoint": "https://sharedeus.eus.attest.azure.net",
    })
}

pub(super) const TENANT: &str = "72f988bf-86f1-41af-91ab-2d7cd011db47";
pub(super) const ENTRA: &str = "https://eastus.mtlsauth.microsoft.com";
/// The client id of the system-assigned identity.
pub(super) const SYSTEM: &str = "11111111-2222-4333-8444-555555555555";
/// The response of real IMDS.
const UNSUPPORTED: &str =
    r#"{"error":"invalid_request","error_description":"Unsupported query variables"}"#;
/// Whether a path is one of v2.
pub(super) fn is_v2(path: &str) -> bool {
    [METADATA, ISSUE].contains(&path)
}

const METADATA: &str = "/metadata/identity/getplatformmetadata";
const ISSUE: &str = "/metadata/identity/issuecredential";
