use crate::call::Call;
use crate::clock::unix_ms;
use crate::faults::{self, Action, Leg};
use crate::peer::Peer;
use crate::record::Record;
use crate::reply::Reply;
use crate::response::{Response, error_text, not_found};
use crate::server::{
    CertificateAlert, CertificateCheck, ClientCertificate, ConnectionOptions, Handler, Refusal,
    Server, Timeouts, TlsSettings,
};
use crate::service::Service;
use crate::sources::{app_service, arc, cloud_shell, machine_learning, service_fabric};
use crate::state::State;
use crate::{control, entra, graph, imds, maa, vault};
use bytes::Bytes;
use http::{HeaderValue, Request, header, request};
use keybound_core::X5tS256;
use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;

/// Handles the requests of one service: consults the fault plan, runs the service and records the request and its response.
pub(crate) struct ServiceHandler {
    state: Arc<State>,
    service: Service,
}

impl ServiceHandler {
    pub fn new(state: Arc<State>, service: Service) -> Self {
        Self { state, service }
    }

    /// The server of this service, with the TLS settings of the configuration.
    ///
    /// # Errors
    /// As [`Server::new`].
    pub fn server(self, listener: TcpListener) -> io::Result<Server<Self>> {
        let versions = self.state.config.tls.versions(self.service);
        let tls = versions.map(|versions| TlsSettings {
            identity: match self.service {
                Service::ServiceFabric => self.state.pki.service_fabric().clone(),
                _ => self.state.pki.server().clone(),
            },
            versions,
            client_certificate: match self.service {
                Service::Sts | Service::Graph => ClientCertificate::First,
                _ => ClientCertificate::OnDemand,
            },
        });
        Server::new(listener, tls.as_ref(), Timeouts::default(), self)
    }

    /// The response of the service, changed or replaced by the fault of the request.
    async fn reply(&self, call: &mut Call) -> Reply {
        let fault = call.fault.as_ref();
        if let Some(mut reply) =
            fault.and_then(|fault| faults::replace(fault, &self.state.endpoints))
        {
            if let Reply::Full(response) | Reply::Oversized(response, _) = &mut reply {
                self.add_headers(response);
            }
            return reply;
        }
        if let Some(Action::Delay(milliseconds)) = call.fault {
            tokio::time::sleep(Duration::from_millis(milliseconds)).await;
        }
        let mut response = self.respond(call).await;
        if response.status().as_u16() >= 400
            && !call.notes.contains_key("refused")
            && let Some(reason) = error_text(&response)
        {
            call.note("refused", reason);
        }
        self.add_headers(&mut response);
        faults::alter(call.fault.as_ref(), response)
    }

    async fn respond(&self, call: &mut Call) -> Response {
        match self.service {
            Service::Imds => imds::respond(&self.state, call).await,
            Service::Maa => maa::respond(&self.state, call).await,
            Service::Sts => entra::respond(&self.state, call).await,
            Service::Vault => vault::respond(&self.state, call).await,
            Service::Graph => graph::respond(&self.state, call).await,
            Service::AppService => app_service::respond(&self.state, call).await,
            Service::ServiceFabric => service_fabric::PROTOCOL.respond(&self.state, call).await,
            Service::Arc => arc::respond(&self.state, call).await,
            Service::MachineLearning => machine_learning::PROTOCOL.respond(&self.state, call).await,
            Service::CloudShell => cloud_shell::PROTOCOL.respond(&self.state, call).await,
            Service::Control => not_found(),
        }
    }

    /// Adds the headers `Server`, and `Date` by the emulated clock, unless there are such.
    fn add_headers(&self, response: &mut Response) {
        let name = match self.service {
            Service::Imds => imds::SERVER,
            _ => SERVER,
        };
        let headers = response.headers_mut();
        let server = headers.entry(header::SERVER);
        server.or_insert(HeaderValue::from_static(name));
        let date = httpdate::fmt_http_date(self.state.clock.now());
        if let Ok(date) = HeaderValue::try_from(date) {
            headers.entry(header::DATE).or_insert(date);
        }
    }

    /// Rejects the certificates that are revoked on a leg.
    fn revocation(&self, leg: Leg) -> CertificateCheck {
        let state = self.state.clone();
        Arc::new(move |certificate| {
            match state.faults.revoked(leg, &X5tS256::of_der(certificate)) {
                Some(Action::RejectCertificate(alert)) => CertificateAlert::named(alert),
                _ => None,
            }
        })
    }

    /// Whether the fault for the next request on the leg is `never-ask`. Its count is decremented by the request itself.
    fn never_asks(&self, leg: Leg) -> bool {
        self.state.faults.peek_is(leg, &Action::NeverAsk)
    }
}

impl Handler for ServiceHandler {
    fn connection_options(&self) -> ConnectionOptions {
        let mut options = ConnectionOptions {
            no_certificate_request: self.service == Service::Graph && self.never_asks(Leg::Graph),
            ..ConnectionOptions::default()
        };
        let leg = Leg::handshake(self.service);
        if leg.is_handshake() {
            self.state.records.count_connection(leg);
        }
        match self.state.faults.next(leg) {
            Some(Action::Delay(milliseconds)) => {
                options.delay = Duration::from_millis(milliseconds);
            }
            Some(Action::Hang) => options.problem = Some(Refusal::Hang),
            Some(Action::Close) => options.problem = Some(Refusal::Close),
            Some(Action::Reset) => options.problem = Some(Refusal::Reset),
            Some(Action::RejectCertificate(alert)) => {
                options.check = Some(Arc::new(move |_| CertificateAlert::named(alert)));
            }
            Some(Action::ServerCertificate(fault)) => match self.state.pki.faulty_server(fault) {
                Ok(identity) => options.identity = Some(identity),
                // A fault that cannot be applied must not look like a success.
                Err(_) => options.problem = Some(Refusal::Close),
            },
            Some(Action::CaSignedCertificate) => {
                options.identity = Some(self.state.pki.server().clone());
            }
            _ => (),
        }
        if options.check.is_none() && self.state.faults.revokes_on(leg) {
            options.check = Some(self.revocation(leg));
        }
        options
    }

    fn is_link_local(&self) -> bool {
        self.service == Service::Imds
    }

    /// Without the secret, the control endpoint reads no body.
    fn reads_body(&self, head: &request::Parts) -> bool {
        let secret = &self.state.control_secret;
        self.service != Service::Control || secret.matches(head.headers.get(header::AUTHORIZATION))
    }

    /// Key Vault requests the certificate only if the request declares that its token is bound.
    fn requests_certificate(&self, head: &request::Parts) -> bool {
        let is_true = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"true");
        self.service == Service::Vault
            && head.headers.get(BOUND_TOKEN_HEADER).is_some_and(is_true)
            && !self.never_asks(Leg::Vault)
    }

    async fn handle(&self, request: Request<Bytes>, peer: Peer) -> Reply {
        let state = &self.state;
        if self.service == Service::Control {
            return Reply::Full(control::respond(state, &request).await);
        }
        let leg = Leg::of(self.service, &request);
        let certificate = peer.client_certificate.as_deref();
        let revoked = certificate.and_then(|der| state.faults.revoked(leg, &X5tS256::of_der(der)));
        let fault = revoked.or_else(|| state.faults.next(leg));
        let unix_ms = unix_ms(state.clock.now());
        let record = Record::new(unix_ms, leg, &peer, &request, fault.as_ref());
        let sequence = state.records.begin(record);
        let mut call = Call {
            request,
            peer,
            fault,
            notes: BTreeMap::new(),
        };
        let reply = self.reply(&mut call).await;
        state.records.finish(sequence, reply.status(), call.notes);
        reply
    }
}

const BOUND_TOKEN_HEADER: &str = "x-ms-tokenboundauth";
const SERVER: &str = "keybound-emulator";
