//! The simulated resource, and tests of calls to it.
mod challenges;
mod fixture;
mod redirects;
mod requests;
mod retries;

use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{Method, Response, request};
use keybound_transport::{ConnectionReuse, ResponseBody, TransportError, TransportErrorKind};
use std::collections::VecDeque;
use std::time::Duration;

/// The resource: its scripted responses and the requests that it received. The default response is 200.
#[derive(Default)]
pub(super) struct Resource {
    responses: VecDeque<Scripted>,
    requests: Vec<Received>,
}

type Scripted = Result<Response<Bytes>, TransportErrorKind>;

/// One request that the resource received.
#[derive(Clone, Debug)]
struct Received {
    method: Method,
    uri: String,
    authorization: String,
    bound: bool,
    body: Vec<u8>,
    reuse: ConnectionReuse,
    timeout: Duration,
    at: Duration,
}

impl Resource {
    /// Records a request and returns the next response.
    pub(super) fn respond(
        &mut self,
        head: &request::Parts,
        body: &[u8],
        reuse: ConnectionReuse,
        timeout: Duration,
        at: Duration,
    ) -> Result<Response<ResponseBody>, TransportError> {
        let debug = format!("{:?}", head.headers);
        assert!(!debug.contains("eyJ"), "Debug prints a token: {debug}");
        let header = |name| head.headers.get(name).and_then(|value| value.to_str().ok());
        self.requests.push(Received {
            method: head.method.clone(),
            uri: head.uri.to_string(),
            authorization: header(AUTHORIZATION).unwrap_or_default().to_owned(),
            bound: header("x-ms-tokenboundauth".parse().unwrap()) == Some("true"),
            body: body.to_vec(),
            reuse,
            timeout,
            at,
        });
        match self.responses.pop_front() {
            None => Ok(Response::new(ResponseBody::full("default"))),
            Some(Ok(response)) => Ok(response.map(ResponseBody::full)),
            Some(Err(kind)) => Err(TransportError::new(kind, "scripted failure")),
        }
    }
}
