//! Entra, the vault and Graph on listeners, and clients with different certificates.
use crate::clock::host_now;
use crate::config::{Config, TlsVersionRange, TokenNotAfterEncoding};
use crate::control_secret::ControlSecret;
use crate::endpoints::Endpoints;
use crate::faults::FaultPlan;
use crate::pki::{ClientCertificateRequest, Pki, ServerIdentity, TokenNotAfter};
use crate::secrets::Secrets;
use crate::server::testing::{Client, ClientOptions, Received};
use crate::service::Service;
use crate::service_handler::ServiceHandler;
use crate::state::{Keys, State};
use openssl::ec::{EcGroup, EcKey};
use openssl::nid::Nid;
use openssl::pkey::PKey;
use openssl::ssl::SslVersion;
use openssl::x509::{X509, X509NameBuilder};
use serde_json::Value;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

pub(crate) const BOTH: [SslVersion; 2] = [SslVersion::TLS1_2, SslVersion::TLS1_3];

/// Running services of an emulator. The vault supports TLS 1.3 too.
pub(crate) struct TestServices {
    pub(crate) state: Arc<State>,
    pub(crate) sts: SocketAddr,
    pub(crate) vault: SocketAddr,
    pub(crate) graph: SocketAddr,
    _servers: JoinSet<()>,
}

impl TestServices {
    pub(crate) async fn start() -> Self {
        Self::with(Config::default()).await
    }

    pub(crate) async fn with(mut config: Config) -> Self {
        config.tls.vault = TlsVersionRange::Tls12To13;
        let (sts, sts_address) = listen().await;
        let (vault, vault_address) = listen().await;
        let (graph, graph_address) = listen().await;
        let endpoint = |service: Service| {
            let address = match service {
                Service::Sts => sts_address,
                Service::Vault => vault_address,
                Service::Graph => graph_address,
                _ => SocketAddr::from(([127, 0, 0, 1], 9)),
            };
            let url = format!("{}://{address}", service.scheme());
            (service, url.parse().unwrap())
        };
        let state = Arc::new(State {
            secrets: Secrets::new(&config.vault.secrets, 0),
            faults: FaultPlan::new(config.faults.clone()),
            config,
            clock: crate::Clock::default(),
            records: crate::records::Records::default(),
            pki: Pki::new(None, [127, 0, 0, 1].into()).unwrap(),
            endpoints: Endpoints(Service::ALL.map(endpoint).into()),
            keys: Keys::of_process(),
            bound_tokens: crate::entra::BoundTokenVerifiers::default(),
            control_secret: ControlSecret::random().unwrap(),
            source_secrets: crate::sources::SourceSecrets::new().unwrap(),
            arc_key_files: crate::sources::arc::KeyFiles::new(&crate::config::ArcConfig::default())
                .unwrap(),
            issued: crate::issued_certificates::IssuedCertificates::default(),
            used_nonces: crate::evidence::UsedNonces::default(),
        });
        let mut servers = JoinSet::new();
        for (listener, service) in [
            (sts, Service::Sts),
            (vault, Service::Vault),
            (graph, Service::Graph),
        ] {
            let server = ServiceHandler::new(state.clone(), service)
                .server(listener)
                .unwrap();
            servers.spawn(server.run());
        }
        Self {
            state,
            sts: sts_address,
            vault: vault_address,
            graph: graph_address,
            _servers: servers,
        }
    }

    pub(crate) fn fault(&self, text: &str) {
        self.state.faults.add(vec![text.parse().unwrap()]).unwrap();
    }

    pub(crate) fn tenant(&self) -> &str {
        self.state.config.tenant_id.as_str()
    }

    /// The client id of the system-assigned identity, or the user-assigned one.
    pub(crate) fn client_id(&self, position: usize) -> &str {
        self.state.config.identities[position].client_id.as_str()
    }

    /// A certificate as IMDS issues it to the system-assigned identity.
    pub(crate) fn binding(&self) -> ServerIdentity {
        self.binding_for(self.client_id(0), self.tenant(), (-60, 3600))
    }

    /// A certificate of the issuer with these names, valid between these seconds from now.
    pub(crate) fn binding_for(
        &self,
        client_id: &str,
        tenant_id: &str,
        validity: (i64, i64),
    ) -> ServerIdentity {
        self.certificate(client_id, tenant_id, validity, None)
    }

    /// A certificate of the system-assigned identity that is valid for tokens until this many seconds from now.
    pub(crate) fn binding_with_token_not_after(&self, seconds: i64) -> ServerIdentity {
        let validity = (-7200, 7200);
        self.certificate(self.client_id(0), self.tenant(), validity, Some(seconds))
    }

    fn certificate(
        &self,
        client_id: &str,
        tenant_id: &str,
        validity: (i64, i64),
        token_not_after: Option<i64>,
    ) -> ServerIdentity {
        let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
        let key = PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap();
        let mut subject = X509NameBuilder::new().unwrap();
        subject
            .append_entry_by_nid(Nid::DOMAINCOMPONENT, tenant_id)
            .unwrap();
        subject
            .append_entry_by_nid(Nid::COMMONNAME, client_id)
            .unwrap();
        let at = |seconds: i64| {
            let step = Duration::from_secs(seconds.unsigned_abs());
            if seconds < 0 {
                host_now() - step
            } else {
                host_now() + step
            }
        };
        let request = ClientCertificateRequest {
            subject: &subject.build(),
            public_key: &key.public_key_to_der().unwrap(),
            validity: at(validity.0)..at(validity.1),
            token_not_after: token_not_after.map(|seconds| {
                TokenNotAfter::At(
                    at(seconds),
                    TokenNotAfterEncoding::GeneralizedTimeInSequence,
                )
            }),
        };
        let der = self.state.pki.issue(&request).unwrap();
        ServerIdentity {
            certificate: X509::from_der(&der).unwrap(),
            key,
        }
    }

    /// The form of a valid request for a bound token.
    pub(crate) fn form(&self, resource: &str) -> Vec<(&'static str, String)> {
        vec![
            ("client_id", self.client_id(0).to_owned()),
            ("grant_type", "client_credentials".into()),
            ("scope", format!("{resource}/.default")),
            ("token_type", "mtls_pop".into()),
        ]
    }

    /// Posts a form to the token endpoint.
    pub(crate) async fn post_form(
        &self,
        pair: Option<&ServerIdentity>,
        form: &[(&str, String)],
    ) -> Received {
        self.post_form_to(self.tenant(), pair, form).await
    }

    /// Posts a form to the token endpoint of a tenant.
    pub(crate) async fn post_form_to(
        &self,
        tenant: &str,
        pair: Option<&ServerIdentity>,
        form: &[(&str, String)],
    ) -> Received {
        let body = form_urlencoded::Serializer::new(String::new())
            .extend_pairs(form)
            .finish();
        let path = format!("/{tenant}/oauth2/v2.0/token");
        let mut client = self.connect(self.sts, BOTH[1], pair).await;
        client.post(&path, FORM, body.as_bytes()).await.unwrap()
    }

    /// A token that is bound to the certificate.
    pub(crate) async fn bound_token(&self, pair: &ServerIdentity, resource: &str) -> String {
        token(&self.post_form(Some(pair), &self.form(resource)).await)
    }

    /// A bearer token.
    pub(crate) async fn bearer_token(&self, pair: &ServerIdentity, resource: &str) -> String {
        let mut form = self.form(resource);
        form.pop();
        token(&self.post_form(Some(pair), &form).await)
    }

    pub(crate) async fn connect(
        &self,
        address: SocketAddr,
        version: SslVersion,
        pair: Option<&ServerIdentity>,
    ) -> Client {
        let options = pair.map_or_else(ClientOptions::default, ClientOptions::with);
        Client::connect(address, version, &options).await.unwrap()
    }
}

impl Received {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

fn token(response: &Received) -> String {
    assert_eq!(response.status, 200, "{}", response.text());
    response.json()["access_token"].as_str().unwrap().to_owned()
}

async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

pub(crate) const FORM: &str = "Content-Type: application/x-www-form-urlencoded\r\n";
