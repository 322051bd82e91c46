//! The second leg: Entra exchanges assertions for tokens of an app registration in another tenant, whose federated credentials are
//! those of the system-assigned identity and of a Kubernetes service account.
use super::case::{Acquire, AppCredential};
use super::imds::SYSTEM;
use super::script::ScriptedResponse;
use super::services::{Services, jwt, parameters, seconds, text};
use super::{Call, Leg, TestHost};
use crate::confidential::{AssertionReason, AssertionRequest, ClientAssertion, ClientCredential};
use crate::{
    BoxError, ConfidentialClient, Environment, KeyRequirements, ManagedIdentityClient, Result,
    TokenRequest,
};
use http::Method;
use http::request::Parts;
use keybound_core::{KeyStrength, UnverifiedJwt, lock};
use serde_json::{Value, json};
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// An assertion in a file.
#[derive(Clone, Debug, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct WrittenAssertion {
    /// In seconds from now; negative for one that has expired.
    life: f64,
    subject: String,
    /// The whole content instead.
    content: Option<String>,
}

impl Default for WrittenAssertion {
    fn default() -> Self {
        Self {
            life: 3600.0,
            subject: SERVICE_ACCOUNT.to_owned(),
            content: None,
        }
    }
}

impl TestHost {
    /// A client of the app registration, whose assertions are from `identity`, from a file or from a function.
    pub(super) fn app_client(
        self: &Arc<Self>,
        acquire: &Acquire,
        credential: AppCredential,
        identity: &ManagedIdentityClient,
        other: &ManagedIdentityClient,
    ) -> Result<ConfidentialClient> {
        let credential = match credential {
            AppCredential::ManagedIdentity => ClientCredential::managed_identity(identity),
            AppCredential::File => ClientCredential::token_file(self.assertion_file()),
            _ => self.callback(credential, identity.clone(), other.clone()),
        };
        let own_network = matches!(
            credential.0,
            crate::confidential::Credential::ManagedIdentity(_)
        );
        let environment = acquire.environment.clone();
        let mut builder = ConfidentialClient::builder(APP_TENANT, APP, credential)
            .environment(Environment::from_lookup(move |name| {
                environment.get(name).cloned()
            }))
            .retries(self.setup.retries);
        if !own_network {
            builder = builder
                .clock(Arc::clone(self) as _)
                .simulated(Services(Arc::clone(self)), 7);
        }
        if let Some(capabilities) = &acquire.app_capabilities {
            builder = builder.client_capabilities(capabilities);
        }
        builder.build()
    }

    /// A function that returns assertions of a client of a managed identity.
    fn callback(
        self: &Arc<Self>,
        credential: AppCredential,
        identity: ManagedIdentityClient,
        other: ManagedIdentityClient,
    ) -> ClientCredential {
        let host = Arc::clone(self);
        ClientCredential::callback(move |request: AssertionRequest| {
            assert_eq!(
                (request.client_id.as_str(), request.tenant_id.as_str()),
                (APP, APP_TENANT)
            );
            let reason = describe_reason(&request);
            let mut history = lock(&host.history);
            let is_first_call = history.assertion_reasons.is_empty();
            history.assertion_reasons.push(reason);
            drop(history);
            let (identity, other) = (identity.clone(), other.clone());
            let refused = matches!(request.reason, AssertionReason::Refused(_));
            let requires_new = refused || matches!(request.reason, AssertionReason::Challenge);
            let token_request = match request.requirements {
                _ if credential == AppCredential::LenientCallback => TokenRequest::pop(
                    AUDIENCE,
                    KeyRequirements::unattested().min_strength(KeyStrength::Software),
                ),
                Some(requirements) => TokenRequest::pop(AUDIENCE, requirements),
                None => TokenRequest::bearer(AUDIENCE),
            };
            let is_cached = credential == AppCredential::CachedCallback;
            let token_request = token_request.force_refresh(requires_new && !is_cached);
            let host = Arc::clone(&host);
            async move {
                let token = identity.acquire_token(&token_request);
                let assertion = match credential {
                    AppCredential::FailingCallback => {
                        return Err(BoxError::from("the vault of assertions is closed"));
                    }
                    AppCredential::HangingCallback if is_first_call => std::future::pending().await,
                    AppCredential::OnceCallback if refused => {
                        return Err(BoxError::from("there is no other assertion"));
                    }
                    AppCredential::PanickingCallback => {
                        panic!("the vault of assertions is on fire")
                    }
                    AppCredential::UnboundCallback => {
                        ClientAssertion::bearer(token.await?.secret().clone())
                    }
                    AppCredential::OtherCertificateCallback => {
                        let (token, other) =
                            (token.await?, other.acquire_token(&token_request).await?);
                        let binding = Arc::clone(other.binding().expect("a bound token"));
                        ClientAssertion::bound(token.secret().clone(), binding)
                    }
                    AppCredential::KeptCallback => {
                        let kept = lock(&host.history).kept_assertion.clone();
                        match kept {
                            Some(kept) => kept,
                            None => {
                                let first = ClientAssertion::from(token.await?);
                                lock(&host.history).kept_assertion = Some(first.clone());
                                first
                            }
                        }
                    }
                    _ => ClientAssertion::from(token.await?),
                };
                Ok(assertion)
            }
        })
    }

    /// Writes the file with the assertion.
    pub(super) fn write_assertion(&self, written: &WrittenAssertion) {
        let life = Duration::from_secs_f64(written.life.abs());
        let expires = match written.life < 0.0 {
            true => self.true_time() - life,
            false => self.true_time() + life,
        };
        let claims = json!({
            "iss": KUBERNETES,
            "sub": written.subject,
            "aud": [AUDIENCE],
            "exp": seconds(expires),
        });
        let content = written.content.clone().unwrap_or_else(|| jwt(&claims));
        if !content.trim().is_empty() {
            lock(&self.history).secrets.push(content.clone());
        }
        // As Kubernetes: the name is moved to the new file.
        let path = self.assertion_file();
        let new = path.with_extension("new");
        fs::write(&new, content + "\n").unwrap();
        fs::rename(&new, &path).unwrap();
    }

    fn assertion_file(&self) -> PathBuf {
        self.arc_tokens().join("assertion")
    }

    /// Checks the exchange of an assertion.
    pub(super) fn read_exchange(
        &self,
        thumbprint: Option<&str>,
        head: &Parts,
        body: &[u8],
    ) -> Call {
        let number = thumbprint.map(|thumbprint| self.certificate_number(thumbprint).unwrap_or(0));
        let call = Call {
            leg: Leg::Exchange,
            parameters: parameters(body),
            certificate: number.unwrap_or(0),
            ..Call::default()
        };
        let (host, assertion_type) = match thumbprint {
            Some(_) => ("mtlsauth.microsoft.com", "jwt-pop"),
            None => ("login.microsoftonline.com", "jwt-bearer"),
        };
        let expected = format!("https://{host}/{APP_TENANT}/oauth2/v2.0/token");
        self.check(head.uri == *expected, &head.uri);
        self.check(head.method == Method::POST, &head.method);
        self.check(!text(head, "accept").is_empty(), "accept");
        let assertion_type =
            format!("urn:ietf:params:oauth:client-assertion-type:{assertion_type}");
        for (name, expected) in [
            ("client_id", APP),
            ("grant_type", "client_credentials"),
            ("client_assertion_type", &*assertion_type),
        ] {
            self.check(
                call.parameter(name) == expected,
                format!("{name}: {:?}", call.parameters),
            );
        }
        for (name, value) in &call.parameters {
            let is_valid = match name.as_str() {
                "client_id" | "grant_type" | "client_assertion_type" | "claims" => true,
                "scope" => value.ends_with("/.default"),
                "client_assertion" => !value.is_empty(),
                // An app registration omits the type of a bearer token.
                "token_type" => value == "mtls_pop" && thumbprint.is_some(),
                _ => false,
            };
            self.check(is_valid, format!("parameter {name}"));
        }
        call
    }

    /// The response to the exchange of an assertion.
    pub(super) fn exchanged(&self, call: &Call, response: &ScriptedResponse) -> (u16, Value) {
        if let Err((code, error)) = self.check_exchange(call) {
            let description = format!("AADSTS{code}: {}", call.parameter("client_assertion"));
            return (
                if error == "invalid_client" { 401 } else { 400 },
                json!({ "error": error, "error_description": description, "error_codes": [code] }),
            );
        }
        let certificate = self.certificate(call.certificate);
        let bound = call.parameter("token_type") == "mtls_pop";
        let confirmation = match response.wrong_binding {
            true => Some("bm90LXRoaXMtY2VydGlmaWNhdGUtbm90LXRoaXMtb25lIQ"),
            false => certificate.as_ref().map(|signed| &*signed.thumbprint),
        };
        let mut claims = json!({ "appid": APP, "tid": APP_TENANT });
        if bound {
            claims["cnf"] = json!({ "x5t#S256": confirmation });
        }
        let (life, _, token) = self.issue_token(call, response, claims);
        let mut body = json!({
            "token_type": if bound { "mtls_pop" } else { "Bearer" },
            "expires_in": life as u64,
            "access_token": token,
        });
        if let Some(refresh_in) = response.refresh_in {
            body["refresh_in"] = json!(refresh_in);
        }
        (200, body)
    }

    /// Compares the assertion with the federated credentials and the certificate, as Entra.
    fn check_exchange(&self, call: &Call) -> Result<(), (u64, &'static str)> {
        let invalid_request = |code| Err((code, "invalid_request"));
        let invalid_client = |code| Err((code, "invalid_client"));
        let assertion = call.parameter("client_assertion");
        let Some(jwt) = UnverifiedJwt::parse(assertion) else {
            return invalid_request(50_027);
        };
        let history = lock(&self.history);
        let issued = history.tokens.iter().find(|token| token.token == assertion);
        let issued_for = issued.map(|token| token.resource.as_str());
        let (subject, expected) = match jwt.text("iss") {
            Some(KUBERNETES) => (jwt.text("sub"), SERVICE_ACCOUNT),
            _ => (jwt.text("appid").or(jwt.text("client")), SYSTEM),
        };
        if jwt.text("iss") != Some(KUBERNETES) && issued_for != Some(AUDIENCE) {
            return invalid_request(700_212);
        }
        if subject != Some(expected) {
            return invalid_request(700_213);
        }
        let end = jwt.expires().ok().flatten();
        if end.is_none_or(|end| end.as_secs() <= seconds(self.true_time())) {
            return invalid_client(700_024);
        }
        if history.revoked.contains(&call.certificate) {
            return invalid_client(1_000_610);
        }
        drop(history);
        let presented = self.certificate(call.certificate);
        let thumbprint = presented.map(|signed| signed.thumbprint);
        if call.certificate > 0 && jwt.confirmation() != thumbprint.as_deref() {
            return invalid_client(500_181);
        }
        Ok(())
    }
}

/// The reason of a call, with the refusal or the claims.
fn describe_reason(request: &AssertionRequest) -> String {
    let reason = match &request.reason {
        AssertionReason::First => "first".to_owned(),
        AssertionReason::Refresh => "refresh".to_owned(),
        AssertionReason::Forced => "forced".to_owned(),
        AssertionReason::Challenge => "challenge".to_owned(),
        AssertionReason::Refused(error) => {
            let codes = error.service().map_or(&[][..], |service| &service.codes);
            format!("refused by {codes:?}")
        }
    };
    match &request.claims {
        Some(claims) => format!("{reason}, {claims}"),
        None => reason,
    }
}

pub(super) const APP: &str = "aaaaaaaa-2222-4333-8444-555555555555";
pub(super) const APP_TENANT: &str = "bbbbbbbb-86f1-41af-91ab-2d7cd011db47";
const AUDIENCE: &str = "api://AzureADTokenExchange";
const KUBERNETES: &str = "https://oidc.kubernetes.example";
const SERVICE_ACCOUNT: &str = "system:serviceaccount:shop:orders";
