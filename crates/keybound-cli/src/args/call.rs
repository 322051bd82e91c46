use super::TokenArgs;
use super::values::{self, Data};
use crate::failure::Failure;
use clap::builder::{OsStringValueParser, TypedValueParser as _};
use clap::{Args, ValueEnum};
use http::Method;
use http::header::{HeaderName, HeaderValue};
use url::Url;

/// Get a bound token and call a resource with it
///
/// The certificate that the token is bound to is presented on the connection, also if the server requests it
/// only after it has read the request (TLS 1.2 renegotiation, TLS 1.3 post-handshake authentication); with --bearer none is
/// presented. After a claims challenge of the resource, the request is repeated once with a new token. The token is sent to
/// the given URL only: redirects are not followed.
///
/// If neither --resource nor --scope is given, the token is for the vault if the URL is that of a Key Vault or Managed
/// HSM (such as https://vault.azure.net for https://my-vault.vault.azure.net) or, with --simulated, of the emulator's
/// vault; otherwise for Microsoft Graph.
#[derive(Debug, Args)]
#[command(after_long_help = AFTER_HELP)]
pub(crate) struct CallArgs {
    /// The URL to call [default: https://mtlstb.graph.microsoft.com/v1.0/applications?$top=5]
    #[arg(value_name = "URL")]
    url: Option<String>,

    /// The method [default: GET, or POST with --data]
    #[arg(short = 'X', long = "request", value_name = "METHOD", value_parser = values::method, help_heading = "Request")]
    pub(crate) method: Option<Method>,

    /// The body: the text, @FILE, or @- for standard input; at most 16 MiB. Sent as application/json unless a
    /// Content-Type header says otherwise
    #[arg(short = 'd', long, value_name = "DATA", value_parser = OsStringValueParser::new().try_map(values::data), help_heading = "Request")]
    pub(crate) data: Option<Data>,

    /// A request header; may be repeated. The program sets Authorization itself
    #[arg(
        short = 'H',
        long = "header",
        value_name = "NAME: VALUE",
        help_heading = "Request"
    )]
    headers: Vec<String>,

    #[command(flatten)]
    pub(crate) token: TokenArgs,

    /// The output format
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = CallOutput::Text, help_heading = "Output")]
    pub(crate) output: CallOutput,
}

/// URL and headers may hold secrets. They are parsed here and not by clap, which repeats rejected values.
impl CallArgs {
    /// The URL, if any.
    pub(crate) fn url(&self) -> Result<Option<Url>, Failure> {
        let url = self.url.as_deref().map(values::resource_url).transpose();
        url.map_err(|rule| Failure::Usage(format!("URL: {rule}")))
    }

    /// The headers of the request.
    pub(crate) fn headers(&self) -> Result<Vec<(HeaderName, HeaderValue)>, Failure> {
        let headers = self.headers.iter().map(|line| values::header(line));
        let headers: Result<_, _> = headers.collect();
        headers.map_err(|rule| Failure::Usage(format!("--header: {rule}")))
    }
}

/// How `call` prints its result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum CallOutput {
    /// The token, the binding and the response
    Text,
    /// One JSON object, also for errors
    Json,
    /// The body of the response only. Without --show-full-token, the token of this call is abbreviated if the resource
    /// echoes it
    Body,
}

const AFTER_HELP: &str = "\
Examples:
  keybound call                                     Microsoft Graph's host for bound tokens
  keybound call 'https://my-vault.vault.azure.net/secrets/db?api-version=7.4'
  keybound call --resource api://my-api https://api.example.com/things \\
      -X PUT -d '{\"a\":1}' -H 'X-Tag: 7' --output body
  keybound emulator --exec -- keybound call --simulated

With --simulated and no URL, the simulated Graph of the emulator is called.

JSON:
  as get-token, and response {status, headers, body, body_encoding}; body is JSON if the body
  of the response is (body_encoding: json), else text (text), else base64 (base64), or null (none)
  A status of 400 and above, or a redirect, is a failed flow: the object then also holds error
  (stage: resource), and the exit code is 1

Exit codes: 0 the resource accepted the request, 1 the flow failed, 2 wrong usage.";
