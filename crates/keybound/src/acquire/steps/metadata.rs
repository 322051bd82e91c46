use super::send::To;
use crate::access_token::Step;
use crate::acquire::Flow;
use http::header::ACCEPT;
use http::{Method, Request, request};
use keybound_core::{Error, PlatformMetadata, Result, Stage};
use keybound_transport::RequestBody;
use url::Url;

impl Flow {
    /// Asks IMDS who and where this host is, and checks that it speaks of the identity asked for.
    pub(in crate::acquire) async fn metadata(&self) -> Result<PlatformMetadata> {
        self.step(Step::Metadata, async {
            let answer = self
                .call(To::Imds, Stage::Metadata, || self.metadata_request())
                .await?;
            let settings = &self.shared.settings;
            let metadata = PlatformMetadata::parse(answer.body(), &settings.policy)?;
            metadata.check_identity(&settings.identity)?;
            Ok(metadata)
        })
        .await
    }

    /// The head that every call of IMDS v2 begins with.
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

    /// The address of a call of IMDS v2, for the identity asked for.
    pub(super) fn imds_url(&self, name: &str, extra: &[(&str, &str)]) -> Url {
        let mut parameters = vec![("cred-api-version", "2.0")];
        parameters.extend(self.shared.settings.identity.v2_selector());
        parameters.extend(extra);
        self.shared.settings.imds.call(name, &parameters)
    }

    fn metadata_request(&self) -> Result<Request<RequestBody>> {
        self.imds_request(Method::GET, "getplatformmetadata", &[])
            .body(RequestBody::empty())
            .map_err(|error| {
                Error::invalid_request("the metadata request is malformed").with_source(error)
            })
    }
}
