use super::send::To;
use crate::access_token::Step;
use crate::acquire::Flow;
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{Method, Request, Response};
use keybound_core::csr::Csr;
use keybound_core::{
    AttestationToken, Error, IssueRequest, IssuedCredential, PlatformMetadata, Result, Stage,
};
use keybound_keys::BindingKey;
use keybound_transport::RequestBody;
use std::sync::Arc;
use std::sync::atomic::Ordering;

impl Flow {
    /// Has IMDS sign the certificate, and checks what it answers against the key, the names, the clock, the identity
    /// asked for and the one that the metadata named.
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
            let answer = if bypass_cache {
                self.issue_past_cache(&body).await?
            } else {
                self.issue(&body, false).await?
            };
            let settings = &self.shared.settings;
            let issued = IssuedCredential::parse(
                answer.body(),
                key.public_key_der(),
                &settings.identity,
                &settings.policy,
                self.shared.now().wall,
            )?;
            issued.check_metadata(metadata)?;
            Ok(issued)
        })
        .await
    }

    /// Asks with `bypass_cache`, and once more without it where IMDS answers 400: no version of IMDS is documented to know the
    /// parameter. Where IMDS takes the request without it, the parameter is not sent again.
    async fn issue_past_cache(&self, body: &Bytes) -> Result<Response<Bytes>> {
        let refuses_bypass = &self.shared.state.inner().imds_refuses_bypass;
        if refuses_bypass.load(Ordering::Relaxed) {
            return self.issue(body, false).await;
        }
        match self.issue(body, true).await {
            Err(error) if error.status() == Some(400) => {
                tracing::info!(stage = %Stage::Credential, attempt = 1, reason = "400 to bypass_cache", wait_ms = 0, request_id = %self.request_id, "trying again");
                let answer = self.issue(body, false).await?;
                refuses_bypass.store(true, Ordering::Relaxed);
                Ok(answer)
            }
            answer => answer,
        }
    }

    async fn issue(&self, body: &Bytes, bypass_cache: bool) -> Result<Response<Bytes>> {
        self.call(To::Imds, Stage::Credential, || {
            self.issue_request(body.clone(), bypass_cache)
        })
        .await
    }

    fn issue_request(&self, body: Bytes, bypass_cache: bool) -> Result<Request<RequestBody>> {
        let bypass: &[_] = if bypass_cache {
            &[("bypass_cache", "true")]
        } else {
            &[]
        };
        self.imds_request(Method::POST, "issuecredential", bypass)
            .header(CONTENT_TYPE, "application/json; charset=utf-8")
            .body(RequestBody::full(body))
            .map_err(|error| {
                Error::invalid_request("the credential request is malformed").with_source(error)
            })
    }
}
