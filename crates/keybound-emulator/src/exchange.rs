//! One request and its response, the same for plain HTTP and TLS: [`answer`] consults the fault plan, runs the service and
//! records both.
use crate::clock::unix_ms;
use crate::faults::{self, Action, Leg};
use crate::state::State;
use crate::{control, entra, graph, imds, maa, vault};
use bytes::Bytes;
use http::{HeaderValue, header};
use keybound_core::X5tS256;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

/// The services of the emulator, one listener each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Service {
    Imds,
    Maa,
    Sts,
    Vault,
    Graph,
    Control,
}

/// The client, as known from the connection.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    /// The certificate that the peer presented, DER. The handshake proved possession of its key; nothing else is checked.
    pub client_certificate: Option<Vec<u8>>,
    /// `TLSv1.2` or `TLSv1.3`; `None` on plain HTTP.
    pub tls_version: Option<&'static str>,
}

/// A request to a service, with its whole body, which the listener bounds.
pub(crate) struct Call {
    pub request: http::Request<Bytes>,
    pub peer: Peer,
    /// The fault for this request, if the service applies it. Faults that replace the whole response do not reach the
    /// service.
    pub fault: Option<Action>,
    pub notes: BTreeMap<&'static str, String>,
}

impl Call {
    /// Adds a note to the record of this request. Must not be a secret.
    pub fn note(&mut self, name: &'static str, value: impl Into<String>) {
        self.notes.insert(name, value.into());
    }

    /// A request header, if it is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.request.headers().get(name)?.to_str().ok()
    }
}

/// The response of a service.
pub(crate) type Answer = http::Response<Bytes>;

/// What is sent over the connection.
#[derive(Debug)]
pub(crate) enum Reply {
    /// A response.
    Full(Answer),
    /// The head of the response, then this many bytes of spaces, streamed.
    Oversized(Answer, u64),
    /// Head and first half of the body, with the content length of the whole; then the connection is closed.
    Truncated(Answer),
    /// These bytes instead of HTTP; then the connection is closed.
    NotHttp(Bytes),
    /// Nothing, for as long as the peer waits.
    Hang,
    /// The connection is closed without a response.
    Close,
    /// The connection is reset without a response.
    Reset,
}

/// A response with a JSON body.
pub(crate) fn json_answer(status: u16, body: &Value) -> Answer {
    text_answer(status, "application/json; charset=utf-8", body.to_string())
}

/// A response with a body of this content type.
pub(crate) fn text_answer(
    status: u16,
    content_type: &'static str,
    body: impl Into<Bytes>,
) -> Answer {
    let mut answer = Answer::new(body.into());
    *answer.status_mut() =
        http::StatusCode::from_u16(status).unwrap_or(http::StatusCode::INTERNAL_SERVER_ERROR);
    answer
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    answer
}

/// The response of all services for an unknown path.
pub(crate) fn not_found() -> Answer {
    json_answer(
        404,
        &json!({"error": "not_found", "error_description": "no such resource"}),
    )
}

/// Handles one request of a service: fault plan, service, record.
pub(crate) async fn answer(
    state: &State,
    service: Service,
    peer: Peer,
    request: http::Request<Bytes>,
) -> Reply {
    if service == Service::Control {
        return Reply::Full(control::answer(state, &request));
    }
    let leg = Leg::of(service, &request);
    let certificate = peer.client_certificate.as_deref();
    let revoked = certificate.and_then(|der| state.faults.revoked(leg, &X5tS256::of_der(der)));
    let fault = revoked.or_else(|| state.faults.next(leg));
    let unix_ms = unix_ms(state.clock.now());
    let sequence = state
        .records
        .begin(unix_ms, leg, &peer, &request, fault.as_ref());
    let mut call = Call {
        request,
        peer,
        fault,
        notes: BTreeMap::new(),
    };
    let reply = reply(state, service, &mut call).await;
    state.records.finish(sequence, reply.status(), call.notes);
    reply
}

async fn reply(state: &State, service: Service, call: &mut Call) -> Reply {
    let replaced = call
        .fault
        .as_ref()
        .and_then(|fault| faults::replace(fault, &state.endpoints));
    if let Some(reply) = replaced {
        return reply.named(service);
    }
    if let Some(Action::Delay(milliseconds)) = call.fault {
        tokio::time::sleep(Duration::from_millis(milliseconds)).await;
    }
    let mut answer = run(state, service, call).await;
    name_server(&mut answer, service);
    faults::alter(call.fault.as_ref(), answer)
}

async fn run(state: &State, service: Service, call: &mut Call) -> Answer {
    match service {
        Service::Imds => imds::answer(state, call).await,
        Service::Maa => maa::answer(state, call).await,
        Service::Sts => entra::answer(state, call).await,
        Service::Vault => vault::answer(state, call).await,
        Service::Graph => graph::answer(state, call).await,
        Service::Control => not_found(),
    }
}

impl Reply {
    /// The status of the response, if there is one.
    fn status(&self) -> Option<u16> {
        match self {
            Self::Full(answer) | Self::Oversized(answer, _) | Self::Truncated(answer) => {
                Some(answer.status().as_u16())
            }
            Self::NotHttp(_) | Self::Hang | Self::Close | Self::Reset => None,
        }
    }

    fn named(mut self, service: Service) -> Self {
        if let Self::Full(answer) | Self::Oversized(answer, _) | Self::Truncated(answer) = &mut self
        {
            name_server(answer, service);
        }
        self
    }
}

/// Adds the `Server` header unless there is one.
fn name_server(answer: &mut Answer, service: Service) {
    let name = match service {
        Service::Imds => imds::SERVER,
        _ => SERVER,
    };
    answer
        .headers_mut()
        .entry(header::SERVER)
        .or_insert(HeaderValue::from_static(name));
}

const SERVER: &str = "keybound-emulator";
