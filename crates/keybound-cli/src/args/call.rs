use super::TokenArgs;
use super::values::{self, Data};
use clap::{Args, ValueEnum};
use http::header::{HeaderName, HeaderValue};
use http::Method;
use url::Url;

/// Get a bound token and call a resource with it
///
/// The certificate that the token is bound to is presented on the connection, also where the server asks for it only
/// after it has read the request (TLS 1.2 renegotiation, TLS 1.3 post-handshake authentication). The token goes only to
/// the URL given: redirects are not followed.
#[derive(Debug, Args)]
#[command(after_long_help = AFTER_HELP)]
pub(crate) struct CallArgs {
    /// What to call [default: https://mtlstb.graph.microsoft.com/v1.0/applications?$top=5]
    #[arg(value_name = "URL", value_parser = values::resource_url)]
    pub(crate) url: Option<Url>,

    /// The method [default: GET, or POST with --data]
    #[arg(short = 'X', long = "request", value_name = "METHOD", value_parser = values::method, help_heading = "Request")]
    pub(crate) method: Option<Method>,

    /// The body: the text, @FILE, or @- for standard input; at most 16 MiB. Sent as application/json unless a
    /// Content-Type header says otherwise
    #[arg(short = 'd', long, value_name = "DATA", value_parser = values::data, help_heading = "Request")]
    pub(crate) data: Option<Data>,

    /// A header of the request; may be repeated. Authorization is set by the program
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE", value_parser = values::header, help_heading = "Request")]
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,

    #[command(flatten)]
    pub(crate) token: TokenArgs,

    /// What is printed
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = CallOutput::Text, help_heading = "Output")]
    pub(crate) output: CallOutput,
}

/// How `call` prints its result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum CallOutput {
    /// For people: the token, the binding, the answer
    Text,
    /// One object, also for errors
    Json,
    /// The body of the answer as it came, nothing else
    Body,
}

const AFTER_HELP: &str = "\
Examples:
  keybound call                                     Microsoft Graph's host for bound tokens
  keybound call --resource https://vault.azure.net \\
      'https://my-vault.vault.azure.net/secrets/db?api-version=7.4'
  keybound call --resource api://my-api https://api.example.com/things -d '{\"a\":1}' -H 'X-Tag: 7' --output body
  keybound emulator --exec -- keybound call --simulated

With --simulated and no URL, the Graph look-alike of the emulator that runs the program is called.

JSON: as get-token, and response {status, headers, body, body_encoding}; body is JSON where the answer is, else text, or
base64 where body_encoding says so. An answer of 400 and above, or a redirect, is a failed flow: the object then holds
error (stage resource) beside the rest, and the exit code is 1.

Exit codes: 0 the resource answered below 300, 1 the flow failed or the resource refused, 2 wrong usage.";
