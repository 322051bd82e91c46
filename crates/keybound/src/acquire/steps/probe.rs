use super::error_response::error_of;
use super::imds_server::names_imds;
use crate::acquire::Flow;
use crate::wire::Route;
use bytes::Bytes;
use http::header::ACCEPT;
use http::{Method, Request, Response};
use keybound_core::retry::Leg;
use keybound_core::{Error, ErrorKind, Result, ServiceError, Stage};
use keybound_transport::RequestBody;

impl Flow {
    /// Whether IMDS supports v2: a metadata request without the required header is rejected with 400 by v2, and with 404
    /// otherwise.
    pub(crate) async fn supports_imds_v2(&self) -> Result<bool> {
        let settings = &self.context.settings;
        if settings.check_issues_certificates().is_err() || settings.check_v2_enabled().is_err() {
            return Ok(false);
        }
        self.progress.enter(Stage::Metadata);
        let result = self
            .send(Leg::ImdsProbe, Route::Plain, Stage::Metadata, || {
                self.probe_request()
            })
            .await;
        match result {
            // Whatever the reason: IMDS may look up the identity before it checks the header.
            Err(error) if error.kind() != ErrorKind::NotImds && error.status() == Some(400) => {
                Ok(true)
            }
            Err(error) if error.kind() == ErrorKind::ImdsV2Unavailable => Ok(false),
            Err(error) => Err(error),
            Ok(_) => Err(Error::new(
                ErrorKind::NotImds,
                Stage::Metadata,
                "the server at the address of IMDS accepted a request without the required header",
            )),
        }
    }

    /// Whether IMDS issues tokens (v1): a token request without the required header is rejected with 400. IMDS may be replaced by
    /// a service that issues tokens only and does not name itself.
    pub(crate) async fn supports_imds_v1(&self) -> Result<bool> {
        let (leg, stage) = (Leg::ImdsProbe, Stage::Source);
        let check = |response: Response<Bytes>| match response.status().as_u16() {
            408 | 410 | 429 | 500..=599 => Err(error_of(stage, &response)),
            _ => Ok(response),
        };
        let request = || self.v1_probe_request();
        let response = self.send_checked(leg, Route::Plain, stage, check, request);
        let response = response.await?;
        let is_error = || ServiceError::parse(response.body()).is_some();
        Ok(response.status() == 400 && (names_imds(&response) || is_error()))
    }

    fn v1_probe_request(&self) -> http::Result<Request<RequestBody>> {
        let imds = &self.context.settings.shared.imds;
        let url = imds.url("oauth2/token", &[("api-version", "2018-02-01")]);
        Request::get(url.as_str())
            .header("x-ms-client-request-id", self.request_id.to_string())
            .header(ACCEPT, "application/json")
            .body(RequestBody::empty())
    }

    fn probe_request(&self) -> http::Result<Request<RequestBody>> {
        self.imds_request(Method::GET, "getplatformmetadata", &[])
            .body(RequestBody::empty())
    }
}
