use crate::acquire::Flow;
use crate::step::Step;
use crate::wire::Route;
use http::header::ACCEPT;
use http::{Method, Request, request};
use keybound_core::retry::Leg;
use keybound_core::{PlatformMetadata, Result, Stage};
use keybound_transport::RequestBody;

impl Flow {
    /// Fetches the platform metadata from IMDS, and checks that it is that of the requested identity.
    pub(in crate::acquire) async fn metadata(&self) -> Result<PlatformMetadata> {
        self.step(Step::Metadata, async {
            let response = self
                .send(Leg::Imds, Route::Plain, Stage::Metadata, || {
                    self.metadata_request()
                })
                .await?;
            let settings = &self.context.settings;
            let metadata = PlatformMetadata::parse(response.body(), &settings.shared.policy)?;
            metadata.check_identity(&settings.identity)?;
            Ok(metadata)
        })
        .await
    }

    /// A request to IMDS v2 for the requested identity, without the header `Metadata`: callers add it, but for the probe, which must not send it.
    pub(super) fn imds_request(
        &self,
        method: Method,
        name: &str,
        extra: &[(&str, &str)],
    ) -> request::Builder {
        let settings = &self.context.settings;
        let mut parameters = vec![("cred-api-version", "2.0")];
        parameters.extend(settings.identity.v2_selector());
        parameters.extend(extra);
        let request_id = self.request_id.to_string();
        Request::builder()
            .method(method)
            .uri(settings.shared.imds.url(name, &parameters).as_str())
            .header("x-ms-client-request-id", &request_id)
            .header("x-ms-correlation-id", &request_id)
            .header(ACCEPT, "application/json")
    }

    fn metadata_request(&self) -> http::Result<Request<RequestBody>> {
        self.imds_request(Method::GET, "getplatformmetadata", &[])
            .header("Metadata", "true")
            .body(RequestBody::empty())
    }
}
