use crate::acquire::Flow;
use crate::wire::Route;
use http::{Method, Request};
use keybound_core::retry::Leg;
use keybound_core::{Error, ErrorKind, Result, Stage};
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

    fn probe_request(&self) -> http::Result<Request<RequestBody>> {
        self.imds_request(Method::GET, "getplatformmetadata", &[])
            .body(RequestBody::empty())
    }
}
