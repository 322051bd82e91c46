use crate::acquire::Flow;
use crate::step::Step;
use crate::wire::Route;
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{Method, Request, Response};
use keybound_core::csr::Csr;
use keybound_core::retry::Leg;
use keybound_core::{
    AttestationToken, IssueRequest, IssuedCredential, PlatformMetadata, Result, Stage,
};
use keybound_keys::BindingKey;
use keybound_transport::RequestBody;
use std::sync::Arc;
use std::sync::atomic::Ordering;

impl Flow {
    /// Requests the certificate from IMDS, and validates it against the key, the names, the clock, the requested identity and
    /// the identity in the metadata.
    pub(in crate::acquire) async fn credential(
        &self,
        metadata: &PlatformMetadata,
        csr: &Csr,
        attestation: Option<&AttestationToken>,
        key: &Arc<dyn BindingKey>,
        bypass_cache: bool,
    ) -> Result<IssuedCredential> {
        self.step(Step::Credential, async {
            let body = Bytes::from_owner(IssueRequest::new(csr, attestation).to_json());
            let response = if bypass_cache {
                self.issue_past_cache(&body).await?
            } else {
                self.issue(&body, false).await?
            };
            let settings = &self.context.settings;
            let issued = IssuedCredential::parse(
                response.body(),
                key.public_key_der(),
                &settings.identity,
                &settings.shared.policy,
                self.context.now().wall,
            )?;
            issued.check_metadata(metadata)?;
            Ok(issued)
        })
        .await
    }

    /// Sends the request with `bypass_cache`, and again without it if IMDS responds with 400: the parameter is not documented
    /// for any version of IMDS. If IMDS accepts the request without it, the parameter is not sent again.
    async fn issue_past_cache(&self, body: &Bytes) -> Result<Response<Bytes>> {
        let rejects_bypass = &self.context.state.inner().imds_rejects_bypass;
        if rejects_bypass.load(Ordering::Relaxed) {
            return self.issue(body, false).await;
        }
        match self.issue(body, true).await {
            Err(error) if error.status() == Some(400) => {
                tracing::info!(stage = %Stage::Credential, attempt = 1, reason = "400 to bypass_cache", wait_ms = 0, request_id = %self.request_id, "retrying");
                let response = self.issue(body, false).await?;
                rejects_bypass.store(true, Ordering::Relaxed);
                Ok(response)
            }
            result => result,
        }
    }

    async fn issue(&self, body: &Bytes, bypass_cache: bool) -> Result<Response<Bytes>> {
        self.send(Leg::Imds, Route::Plain, Stage::Credential, || {
            self.issue_request(body.clone(), bypass_cache)
        })
        .await
    }

    fn issue_request(&self, body: Bytes, bypass_cache: bool) -> http::Result<Request<RequestBody>> {
        let bypass: &[_] = if bypass_cache {
            &[("bypass_cache", "true")]
        } else {
            &[]
        };
        self.imds_request(Method::POST, "issuecredential", bypass)
            .header("Metadata", "true")
            .header(CONTENT_TYPE, "application/json; charset=utf-8")
            .body(RequestBody::full(body))
    }
}
