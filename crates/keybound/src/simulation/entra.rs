//! Entra: checks every request and its client certificate, and binds the token to that.
use super::imds::{ENTRA, TENANT};
use super::script::RequestContext;
use super::test_host::{Reply, TokenRecord, parameters, reply, request_id};
use super::{Call, Leg, TestHost};
use crate::Binding;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::request::Parts;
use http::{HeaderMap, Method};
use keybound_core::lock;
use keybound_transport::{TransportError, TransportErrorKind};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

impl TestHost {
    /// Responds to a token request with a client certificate.
    pub(super) async fn entra(
        &self,
        binding: &Binding,
        head: &Parts,
        body: &[u8],
        timeout: Duration,
    ) -> Reply {
        if !head.uri.to_string().starts_with(ENTRA) {
            let message = "no service listens at this address";
            return Err(TransportError::new(TransportErrorKind::Connect, message));
        }
        let form = parameters(body);
        let text = |name: &str| form.get(name).map_or("", String::as_str);
        let resource = text("scope").trim_end_matches("/.default").to_owned();
        let thumbprint = binding.certificate().thumbprints().x5t_s256.to_string();
        let certificate = self.certificate_number(&thumbprint).unwrap_or(0);
        self.check_token_request(head, binding, certificate);
        self.check(text("grant_type") == "client_credentials", "grant");
        self.check(text("scope").ends_with("/.default"), "scope");
        self.check(
            text("client_id") == binding.client_id().as_str(),
            "client_id",
        );
        let names = ["client_id", "grant_type", "scope", "token_type", "claims"];
        let token_type = text("token_type");
        self.check(
            ["mtls_pop", "bearer"].contains(&token_type),
            format!("token_type {token_type}"),
        );
        self.check(
            form.keys().all(|name| names.contains(&name.as_str())),
            format!("{:?}", form.keys()),
        );
        self.record(Call {
            leg: Leg::Token,
            at: self.elapsed(),
            bypass: false,
            claims: form.get("claims").cloned(),
            attestation: None,
            request_id: request_id(head),
            query: BTreeMap::new(),
        });
        let response = self.response(&RequestContext {
            leg: Leg::Token,
            certificate: Some(certificate),
            resource: Some(&resource),
        });
        if let Some(reply) = self.respond(&response, timeout).await {
            return reply;
        }
        if lock(&self.history).revoked.contains(&certificate) {
            return Ok(reply(401, HeaderMap::new(), revoked().to_string()));
        }
        if self.is_past_token_end(certificate) {
            return Ok(reply(400, HeaderMap::new(), past_token_end().to_string()));
        }
        let life = response
            .expires_in
            .map_or(self.setup.token_life, |life| life as f64);
        let refresh_in = response
            .refresh_in
            .or(self.setup.refresh_in.map(|time| time as u64));
        let issued = self.true_time() - Duration::from_secs(response.age.unwrap_or_default());
        let expires = issued + Duration::from_secs_f64(life);
        let number = {
            let mut history = lock(&self.history);
            history.tokens.push(TokenRecord {
                resource,
                certificate,
                expires,
            });
            history.tokens.len()
        };
        let bound = text("token_type") == "mtls_pop";
        let confirmation = if response.wrong_binding {
            "bm90LXRoaXMtY2VydGlmaWNhdGUtbm90LXRoaXMtb25lIQ"
        } else {
            &thumbprint
        };
        let mut claims = json!({
            "jti": number.to_string(),
            "appid": binding.client_id().as_str(),
            "tid": TENANT,
            "exp": seconds(expires),
            "cnf": { "x5t#S256": confirmation },
        });
        for (name, value) in &response.claims {
            claims[name] = value.clone();
        }
        let token = jwt(&claims);
        lock(&self.history).secrets.push(token.clone());
        let mut body = json!({
            "token_type": if bound { "mtls_pop" } else { "Bearer" },
            "expires_in": life as u64,
            "access_token": token,
        });
        if let Some(refresh_in) = refresh_in {
            body["refresh_in"] = json!(refresh_in);
        }
        response.change(&mut body);
        let mut headers = HeaderMap::new();
        if !self.setup.no_date {
            let date = httpdate::fmt_http_date(self.true_time());
            headers.insert(http::header::DATE, date.parse().unwrap());
        }
        Ok(reply(200, headers, response.serialize(&body)))
    }

    fn is_past_token_end(&self, certificate: usize) -> bool {
        let history = lock(&self.history);
        let signed = history.certificates.get(certificate.wrapping_sub(1));
        let end = signed.and_then(|signed| signed.token_not_after);
        end.is_some_and(|end| end <= self.true_time())
    }

    fn check_token_request(&self, head: &Parts, binding: &Binding, certificate: usize) {
        let expected = format!("{ENTRA}/{TENANT}/oauth2/v2.0/token");
        self.check(head.uri == *expected, &head.uri);
        self.check(head.method == Method::POST, &head.method);
        let has = |name: &str| head.headers.contains_key(name);
        self.check(has("x-ms-client-request-id"), "request id");
        self.check(has("accept"), "accept");
        let signed = lock(&self.history)
            .certificates
            .get(certificate.wrapping_sub(1))
            .cloned();
        self.check(signed.is_some(), "the certificate is unknown");
        let valid = signed.is_some_and(|signed| {
            signed.not_after > self.true_time()
                && signed.holder.1 == binding.key().public_key_der()
                && signed.holder.0 == binding.client_id().as_str()
        });
        self.check(valid, format!("certificate {certificate} is not valid"));
    }
}

/// A JWT without a valid signature.
pub(super) fn jwt(claims: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}.c2ln", part(&json!({"alg":"none"})), part(claims))
}

pub(super) fn seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs()
}

fn past_token_end() -> Value {
    json!({
        "error": "invalid_request",
        "error_description": "AADSTS1000901: the certificate is past its token_not_after",
        "error_codes": [1_000_901],
    })
}

fn revoked() -> Value {
    json!({
        "error": "invalid_client",
        "error_description": "AADSTS1000610: the certificate is revoked",
        "error_codes": [1_000_610],
    })
}
