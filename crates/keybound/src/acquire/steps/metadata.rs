use crate::acquire::Flow;
use crate::step::Step;
use crate::wire::Route;
use http::header::ACCEPT;
use http::{Method, Request, request};
use keybound_core::retry::Leg;
use keybound_core::{Error, PlatformMetadata, Result, Stage};
use keybound_transport::RequestBody;
use url::Url;

impl Flow {
    /// Fetches the platform metadata from IMDS, and checks that it is that of the requested identity.
    pub(in crate::acquire) async fn metadata(&self) -> Result<PlatformMetadata> {
        self.step(Step::Metadata, async {
            let response = self
                .send(Leg::Imds, Route::Imds, Stage::Metadata, || {
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

    /// The head of a request to IMDS v2.
    pub(super) fn imds_request(
        &self,
        method: Method,
        name: &str,
        extra: &[(&str, &str)],
    ) -> request::Builder {
        let request_id = self.request_id.to_string();
        Request::builder()
            .method(method)
            .uri(self.imds_url(name, extra).as_str())
            .header("Metadata", "true")
            .header("x-ms-client-request-id", &request_id)
            .header("x-ms-correlation-id", &request_id)
            .header(ACCEPT, "application/json")
    }

    /// The URL of a request to IMDS v2, for the requested identity.
    pub(super) fn imds_url(&self, name: &str, extra: &[(&str, &str)]) -> Url {
        let mut parameters = vec![("cred-api-version", "2.0")];
        parameters.extend(self.context.settings.identity.v2_selector());
        parameters.extend(extra);
        self.context.settings.shared.imds.url(name, &parameters)
    }

    fn metadata_request(&self) -> Result<Request<RequestBody>> {
        self.imds_request(Method::GET, "getplatformmetadata", &[])
            .body(RequestBody::empty())
            .map_err(|error| {
                Error::invalid_request("the metadata request is malformed").with_source(error)
            })
    }
}
