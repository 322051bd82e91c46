//! Entra: checks every request and its client certificate, and binds the token to that.
use super::imds::{ENTRA, TENANT};
use super::script::ScriptedResponse;
use super::services::{parameters, text};
use super::{Call, Leg, TestHost};
use crate::Binding;
use http::Method;
use http::request::Parts;
use keybound_core::lock;
use keybound_transport::{TransportError, TransportErrorKind};
use serde_json::{Value, json};

impl TestHost {
    /// Checks a token request with a client certificate.
    pub(super) fn read_token_request(
        &self,
        binding: &Binding,
        head: &Parts,
        body: &[u8],
    ) -> Result<Call, TransportError> {
        if !head.uri.to_string().starts_with(ENTRA) {
            let message = "no service listens at this address";
            return Err(TransportError::new(TransportErrorKind::Connect, message));
        }
        let thumbprint = binding.certificate().thumbprints().x5t_s256.to_string();
        let call = Call {
            leg: Leg::Token,
            parameters: parameters(body),
            certificate: self.certificate_number(&thumbprint).unwrap_or(0),
            ..Call::default()
        };
        let expected = format!("{ENTRA}/{TENANT}/oauth2/v2.0/token");
        self.check(head.uri == *expected, &head.uri);
        self.check(head.method == Method::POST, &head.method);
        self.check(!text(head, "accept").is_empty(), "accept");
        let client_id = binding.client_id().as_str();
        for (name, is_valid) in [
            (
                "grant_type",
                call.parameter("grant_type") == "client_credentials",
            ),
            ("scope", call.parameter("scope").ends_with("/.default")),
            ("client_id", call.parameter("client_id") == client_id),
            (
                "token_type",
                ["mtls_pop", "bearer"].contains(&call.parameter("token_type")),
            ),
        ] {
            self.check(is_valid, format!("{name}: {:?}", call.parameters));
        }
        let names = ["client_id", "grant_type", "scope", "token_type", "claims"];
        for name in call.parameters.keys() {
            self.check(names.contains(&name.as_str()), format!("parameter {name}"));
        }
        let signed = self.certificate(call.certificate);
        self.check(signed.is_some(), "the certificate is unknown");
        let valid = signed.is_some_and(|signed| {
            signed.not_after > self.true_time()
                && signed.holder.1 == binding.key().public_key_der()
                && signed.holder.0 == client_id
        });
        self.check(
            valid,
            format!("certificate {} is not valid", call.certificate),
        );
        Ok(call)
    }

    /// The response to a token request.
    pub(super) fn entra(&self, call: &Call, response: &ScriptedResponse) -> (u16, Value) {
        let certificate = self.certificate(call.certificate);
        if lock(&self.history).revoked.contains(&call.certificate) {
            let error = "AADSTS1000610: the certificate is revoked";
            return (
                401,
                json!({ "error": "invalid_client", "error_description": error, "error_codes": [1_000_610] }),
            );
        }
        let end = certificate
            .as_ref()
            .and_then(|signed| signed.token_not_after);
        if end.is_some_and(|end| end <= self.true_time()) {
            let error = "AADSTS1000901: the certificate is past its token_not_after";
            return (
                400,
                json!({ "error": "invalid_request", "error_description": error, "error_codes": [1_000_901] }),
            );
        }
        let confirmation = match response.wrong_binding {
            true => Some("bm90LXRoaXMtY2VydGlmaWNhdGUtbm90LXRoaXMtb25lIQ"),
            false => certificate.as_ref().map(|signed| &*signed.thumbprint),
        };
        let claims = json!({
            "appid": call.parameter("client_id"),
            "tid": TENANT,
            "cnf": { "x5t#S256": confirmation },
        });
        let (life, _, token) = self.issue_token(call, response, claims);
        let bound = call.parameter("token_type") == "mtls_pop";
        let mut body = json!({
            "token_type": if bound { "mtls_pop" } else { "Bearer" },
            "expires_in": life as u64,
            "access_token": token,
        });
        let of_host = self.setup.refresh_in.map(|time| time as u64);
        if let Some(refresh_in) = response.refresh_in.or(of_host) {
            body["refresh_in"] = json!(refresh_in);
        }
        (200, body)
    }
}
