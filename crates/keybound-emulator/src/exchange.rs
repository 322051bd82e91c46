//! One request and its response, the same for plain HTTP and TLS: [`answer`] consults the fault plan, runs the service and
//! records both.
use crate::call::{Call, Peer};
use crate::clock::unix_ms;
use crate::faults::{self, Action, Leg};
use crate::reply::{Reply, Response, not_found};
use crate::service::Service;
use crate::state::State;
use crate::{control, entra, graph, imds, maa, vault};
use bytes::Bytes;
use http::{HeaderValue, header};
use keybound_core::X5tS256;
use std::collections::BTreeMap;
use std::time::Duration;

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
        return named(reply, service);
    }
    if let Some(Action::Delay(milliseconds)) = call.fault {
        tokio::time::sleep(Duration::from_millis(milliseconds)).await;
    }
    let mut answer = run(state, service, call).await;
    name_server(&mut answer, service);
    faults::alter(call.fault.as_ref(), answer)
}

async fn run(state: &State, service: Service, call: &mut Call) -> Response {
    match service {
        Service::Imds => imds::answer(state, call).await,
        Service::Maa => maa::answer(state, call).await,
        Service::Sts => entra::answer(state, call).await,
        Service::Vault => vault::answer(state, call).await,
        Service::Graph => graph::answer(state, call).await,
        Service::Control => not_found(),
    }
}

fn named(mut reply: Reply, service: Service) -> Reply {
    if let Reply::Full(answer) | Reply::Oversized(answer, _) | Reply::Truncated(answer) = &mut reply
    {
        name_server(answer, service);
    }
    reply
}

/// Adds the `Server` header unless there is one.
fn name_server(answer: &mut Response, service: Service) {
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
