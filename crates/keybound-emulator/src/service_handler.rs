use crate::call::Peer;
use crate::exchange;
use crate::faults::{Action, Leg};
use crate::reply::Reply;
use crate::server::{
    CertificateAlert, CertificateCheck, ClientCertificate, Greeting, Handler, Server, Silence,
    Timeouts, TlsSettings,
};
use crate::service::Service;
use crate::state::State;
use bytes::Bytes;
use http::{Request, header, request};
use keybound_core::X5tS256;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;

/// Handles the requests of one service of the emulator.
pub(crate) struct ServiceHandler {
    state: Arc<State>,
    service: Service,
}

impl Server<ServiceHandler> {
    /// The server of a service, as the configuration has it.
    ///
    /// # Errors
    /// As [`Server::new`].
    pub(crate) fn of_service(
        listener: TcpListener,
        state: Arc<State>,
        service: Service,
    ) -> io::Result<Self> {
        let tls = &state.config.tls;
        if matches!(service, Service::Imds | Service::Control) {
            let handler = ServiceHandler { state, service };
            return Self::plain(listener, Timeouts::default(), handler);
        }
        let (versions, client_certificate) = match service {
            Service::Sts => (tls.sts, ClientCertificate::First),
            Service::Graph => (tls.graph, ClientCertificate::First),
            Service::Vault => (tls.vault, ClientCertificate::OnDemand),
            _ => (tls.maa, ClientCertificate::OnDemand),
        };
        let settings = TlsSettings {
            identity: state.pki.server().clone(),
            versions,
            client_certificate,
            timeouts: Timeouts::default(),
        };
        Self::new(listener, &settings, ServiceHandler { state, service })
    }
}

impl Handler for ServiceHandler {
    fn greet(&self) -> Greeting {
        let mut greeting = Greeting {
            never_ask: self.service == Service::Graph && self.never_asks(Leg::Graph),
            ..Greeting::default()
        };
        let leg = Leg::handshake(self.service);
        if leg.is_handshake() {
            self.state.records.count_connection(leg);
        }
        match self.state.faults.next(leg) {
            Some(Action::Delay(milliseconds)) => {
                greeting.delay = Duration::from_millis(milliseconds);
            }
            Some(Action::Hang) => greeting.instead = Some(Silence::Hang),
            Some(Action::Close) => greeting.instead = Some(Silence::Close),
            Some(Action::Reset) => greeting.instead = Some(Silence::Reset),
            Some(Action::RejectCertificate(alert)) => {
                greeting.check = Some(Arc::new(move |_| CertificateAlert::named(alert)));
            }
            Some(Action::ServerCertificate(fault)) => match self.state.pki.faulty_server(fault) {
                Ok(identity) => greeting.identity = Some(identity),
                // A fault that cannot be applied must not look like a success.
                Err(_) => greeting.instead = Some(Silence::Close),
            },
            _ => (),
        }
        if greeting.check.is_none() && self.state.faults.revokes_on(leg) {
            greeting.check = Some(self.revocation(leg));
        }
        greeting
    }

    fn is_link_local(&self) -> bool {
        self.service == Service::Imds
    }

    /// Without the secret nothing is sent to the control endpoint that has to be read.
    fn reads_body(&self, head: &request::Parts) -> bool {
        let secret = &self.state.control_secret;
        self.service != Service::Control || secret.opens(head.headers.get(header::AUTHORIZATION))
    }

    /// Key Vault requests the certificate only where the request says that its token is bound.
    fn wants_certificate(&self, head: &request::Parts) -> bool {
        let is_true = |value: &http::HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"true");
        self.service == Service::Vault
            && head.headers.get(BOUND_TOKEN_HEADER).is_some_and(is_true)
            && !self.never_asks(Leg::Vault)
    }

    async fn answer(&self, request: Request<Bytes>, peer: Peer) -> Reply {
        exchange::answer(&self.state, self.service, peer, request).await
    }
}

impl ServiceHandler {
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

pub(crate) const BOUND_TOKEN_HEADER: &str = "x-ms-tokenboundauth";
