use super::get_token::failed;
use crate::args::{CallArgs, CallOutput, Data, TokenArgs};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::report::{
    BufferedResponse, Document, ErrorReport, ResponseReport, TokenReport, check_response,
    claims_text, error_text,
};
use crate::session::{Session, read_bounded, read_file, run_to_end};
use crate::steps::StepLog;
use crate::{app_client, emulation, json, out, steps, vaults};
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Method, Request};
use keybound::confidential::Cloud;
use keybound::http::{Bytes, RequestBody};
use keybound::{AccessToken, Error, Stage};
use std::io::IsTerminal as _;
use std::time::Instant;
use url::Url;

/// Gets a token, calls the resource with it and prints the response.
pub(crate) fn run(args: &CallArgs) -> Result<Exit, Failure> {
    let steps = steps::log(args.token.verbose, "keybound");
    let result = prepare(args, steps).and_then(|(request, session)| {
        let (token, response) = run_to_end(exchange(&session, request))??;
        print(args, &session, &token, &response)
    });
    match result {
        Err(Failure::Flow(error)) if args.output == CallOutput::Json => failed(&error),
        other => other,
    }
}

fn prepare(args: &CallArgs, steps: StepLog) -> Result<(Request<RequestBody>, Session), Failure> {
    let url = match args.url()? {
        Some(url) => url,
        None => default_url(&args.token)?,
    };
    let request = request(args, &url)?;
    let vault = vaults::resource(&url, args.token.host.simulated);
    let session = Session::new(&args.token, steps, vault.as_deref(), Some(&url))?;
    Ok((request, session))
}

fn request(args: &CallArgs, url: &Url) -> Result<Request<RequestBody>, Failure> {
    let default_method = if args.data.is_some() {
        Method::POST
    } else {
        Method::GET
    };
    let body = args.data.as_ref().map(body).transpose()?;
    let mut request = Request::builder()
        .method(args.method.clone().unwrap_or(default_method))
        .uri(url.as_str());
    for (name, value) in args.headers()? {
        request = request.header(name, value);
    }
    let mut request = request
        .body(body.map_or_else(RequestBody::empty, RequestBody::full))
        .map_err(|error| Failure::Usage(format!("the request is malformed: {error}")))?;
    if args.data.is_some() {
        let json = HeaderValue::from_static("application/json");
        request.headers_mut().entry(CONTENT_TYPE).or_insert(json);
    }
    Ok(request)
}

/// The URL of Microsoft Graph for bound tokens; with the emulator, that of its simulated Graph.
fn default_url(args: &TokenArgs) -> Result<Url, Failure> {
    if let Some(cloud) = app_client::cloud(args).filter(|cloud| *cloud != Cloud::Public) {
        return Err(Failure::Usage(format!(
            "URL: there is no default one in the cloud {cloud}"
        )));
    }
    let emulated = args.host.simulated.then(emulation::graph_origin).flatten();
    let origin = emulated
        .as_deref()
        .unwrap_or("https://mtlstb.graph.microsoft.com");
    Url::parse(&format!("{}{DEFAULT_PATH}", origin.trim_end_matches('/')))
        .map_err(|_| Failure::Usage(format!("{} is not a URL", emulation::GRAPH_VARIABLE)))
}

fn body(data: &Data) -> Result<Bytes, Failure> {
    match data {
        Data::Text(text) => Ok(Bytes::copy_from_slice(text.as_bytes())),
        Data::File(path) => read_file("--data", path, MAX_BODY_BYTES).map(Bytes::from),
        Data::Stdin => read_bounded(std::io::stdin().lock(), MAX_BODY_BYTES)
            .map(Bytes::from)
            .map_err(|error| Failure::Usage(format!("--data: standard input: {error}"))),
    }
}

/// Acquires the token and calls the resource, until the deadline.
async fn exchange(
    session: &Session,
    request: Request<RequestBody>,
) -> Result<(AccessToken, BufferedResponse), Error> {
    let started = Instant::now();
    let result = call(session, request).await;
    let elapsed = started.elapsed();
    match &result {
        Ok((token, _)) => {
            // The steps of the acquisition are logged already.
            let for_token = token.timings().iter().map(|step| step.elapsed).sum();
            session
                .steps
                .resource(elapsed.saturating_sub(for_token), None);
        }
        Err(error) if error.stage() == Stage::Resource => {
            session.steps.resource(elapsed, Some(error));
        }
        Err(_) => {}
    }
    result
}

async fn call(
    session: &Session,
    request: Request<RequestBody>,
) -> Result<(AccessToken, BufferedResponse), Error> {
    let response = session.resource_client()?.send(request).await?;
    let token = response.token().clone();
    Ok((
        token,
        BufferedResponse::read(response, MAX_BODY_BYTES).await?,
    ))
}

fn print(
    args: &CallArgs,
    session: &Session,
    token: &AccessToken,
    response: &BufferedResponse,
) -> Result<Exit, Failure> {
    let report = TokenReport::new(token, session.elapsed(), args.token.show_full_token)?;
    let concealed;
    let response = match args.token.show_full_token {
        true => response,
        false => {
            concealed = response.without(token.secret().expose());
            &concealed
        }
    };
    if args.token.verbose > 0 {
        out::log(&claims_text(token));
        out::log(&response.headers_text());
    }
    let refused = check_response(response).err();
    match args.output {
        CallOutput::Text => out::line(&format!("{}\n\n{}", report.text(), response.text()))?,
        CallOutput::Body if std::io::stdout().is_terminal() => out::line(&response.body_text())?,
        CallOutput::Body => out::data(&response.body)?,
        CallOutput::Json => out::line(&json::document(&Document {
            error: refused.as_ref().map(ErrorReport::new),
            token: Some(report),
            response: Some(ResponseReport::new(response)),
        })?)?,
    }
    let Some(error) = refused else {
        return Ok(Exit::Success);
    };
    if args.output != CallOutput::Json {
        out::log(&error_text(&error));
    }
    Ok(Exit::Failed)
}

const DEFAULT_PATH: &str = "/v1.0/applications?$top=5";
/// The largest request and response body, in bytes.
const MAX_BODY_BYTES: usize = 16 * 1024 * 1024;
