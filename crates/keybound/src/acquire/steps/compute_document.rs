use super::error_response::kind_of;
use crate::acquire::Flow;
use crate::wire::Route;
use bytes::Bytes;
use http::header::ACCEPT;
use http::{Request, Response};
use keybound_core::retry::Leg;
use keybound_core::{ComputeDocument, Error, Result, ServiceError, Stage};
use keybound_transport::RequestBody;

impl Flow {
    /// Fetches this version of the compute document from IMDS.
    pub(in crate::acquire) async fn compute_document(
        &self,
        version: &str,
    ) -> Result<ComputeDocument> {
        let (leg, stage) = (Leg::ImdsProbe, Stage::Metadata);
        let request = || self.compute_request(version);
        let response = self.send_checked(leg, Route::Plain, stage, check_response, request);
        ComputeDocument::parse(response.await?.body())
    }

    fn compute_request(&self, version: &str) -> http::Result<Request<RequestBody>> {
        let imds = &self.context.settings.shared.imds;
        let url = imds.metadata_url("instance/compute", &[("api-version", version)]);
        Request::get(url.as_str())
            .header("Metadata", "true")
            .header("x-ms-client-request-id", self.request_id.to_string())
            .header(ACCEPT, "application/json")
            .body(RequestBody::empty())
    }
}

/// The `Server` header is not required: the document's content shows whether IMDS sent it.
fn check_response(response: Response<Bytes>) -> Result<Response<Bytes>> {
    let status = response.status().as_u16();
    if status == 200 {
        return Ok(response);
    }
    let message = "IMDS returned no compute document";
    let kind = kind_of(Stage::Source, status, None);
    Err(Error::new(kind, Stage::Metadata, message)
        .with_status(status)
        .with_service(ServiceError::from_response(response.body())))
}
