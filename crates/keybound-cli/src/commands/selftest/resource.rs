use super::checks::{Checks, NO_TOKEN};
use super::report::StepResult;
use crate::report::{BufferedResponse, check_response};
use keybound::http::{ConnectionInfo, ResourceClient};
use keybound::{AccessToken, Error};
use url::Url;

impl Checks<'_> {
    /// Calls the resource of `--call`.
    pub(super) async fn resource(&self, token: Option<&AccessToken>) -> StepResult {
        const NAME: &str = "resource";
        let Some(url) = &self.call else {
            return StepResult::skipped(NAME, "no resource to call (--call)");
        };
        if token.is_none() {
            return StepResult::skipped(NAME, NO_TOKEN);
        }
        match self.call_resource(url).await {
            Err(error) => StepResult::failed(NAME, "the call failed", Some(error)),
            Ok((response, connection)) => {
                let detail = detail(&response, connection.as_ref());
                match check_response(&response) {
                    Ok(()) => StepResult::ok(NAME, detail),
                    Err(error) => StepResult::failed(NAME, detail, Some(error)),
                }
            }
        }
    }

    async fn call_resource(
        &self,
        url: &Url,
    ) -> Result<(BufferedResponse, Option<ConnectionInfo>), Error> {
        let client = ResourceClient::builder(&self.client, self.request.clone())
            .timeout(self.remaining())
            .follow_redirects(false)
            .build()?;
        let response = client.get(url.as_str()).send().await?;
        let connection = response.connection().cloned();
        let response = BufferedResponse::read(response, MAX_RESPONSE_BYTES).await?;
        Ok((response, connection))
    }
}

fn detail(response: &BufferedResponse, connection: Option<&ConnectionInfo>) -> String {
    let head = format!(
        "HTTP {}, {} bytes",
        response.status.as_u16(),
        response.body.len()
    );
    let Some(connection) = connection else {
        return head;
    };
    let certificate = match connection.certificate_requested {
        true => "the server requested the certificate",
        false => "the server never requested the certificate",
    };
    format!(
        "{head}; {} by {}, {certificate}",
        connection.tls_version, connection.tls_engine
    )
}

/// The largest response body, in bytes.
const MAX_RESPONSE_BYTES: usize = 16 * 1024 * 1024;
