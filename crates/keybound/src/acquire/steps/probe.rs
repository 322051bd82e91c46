use super::send::To;
use crate::acquire::Flow;
use http::header::ACCEPT;
use http::{Method, Request};
use keybound_core::{Error, ErrorKind, Result, Stage};
use keybound_transport::RequestBody;

impl Flow {
    /// Whether IMDS speaks v2: it misses the header of a metadata call where it does, and the whole call where not.
    pub(crate) async fn supports_imds_v2(&self) -> Result<bool> {
        if self.shared.settings.check_v2_enabled().is_err() {
            return Ok(false);
        }
        self.progress.enter(Stage::Metadata);
        let answer = self
            .call(To::ImdsProbe, Stage::Metadata, || self.probe_request())
            .await;
        match answer {
            // Whatever it says: an IMDS that looks for the identity before the header speaks v2, too.
            Err(error) if error.kind() != ErrorKind::NotImds && error.status() == Some(400) => {
                Ok(true)
            }
            Err(error) if error.kind() == ErrorKind::ImdsV2Unavailable => Ok(false),
            Err(error) => Err(error),
            Ok(_) => Err(Error::new(
                ErrorKind::NotImds,
                Stage::Metadata,
                "what answered at the address of IMDS grants a call without the header that IMDS wants",
            )),
        }
    }

    fn probe_request(&self) -> Result<Request<RequestBody>> {
        let request_id = self.request_id.to_string();
        let url = self.imds_url("getplatformmetadata", &[]);
        Request::builder()
            .method(Method::GET)
            .uri(url.as_str())
            .header("x-ms-client-request-id", &request_id)
            .header("x-ms-correlation-id", &request_id)
            .header(ACCEPT, "application/json")
            .body(RequestBody::empty())
            .map_err(|error| {
                Error::invalid_request("the probe of IMDS is malformed").with_source(error)
            })
    }
}
