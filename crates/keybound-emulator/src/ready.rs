use crate::selector::system_assigned;
use crate::service::Service;
use crate::sources::{Source, app_service, arc, cloud_shell, machine_learning, service_fabric};
use crate::start_error::StartError;
use crate::state::State;
use openssl::error::ErrorStack;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

/// The addresses of the services. As JSON, the first line that `keybound emulator` prints.
#[derive(Clone, Serialize)]
#[non_exhaustive]
pub struct Ready {
    /// Always `ready`.
    pub event: &'static str,
    /// Origin of IMDS, plain HTTP.
    pub imds: String,
    /// Origin of Entra's token service.
    pub sts: String,
    /// Origin of the attestation service.
    pub maa: String,
    /// Origin of the simulated Key Vault.
    pub vault: String,
    /// Origin of the simulated Graph.
    pub graph: String,
    /// Origin of App Service's and Container Apps' identity endpoint, plain HTTP.
    pub app_service: String,
    /// Origin of Service Fabric's identity endpoint, HTTPS with a self-signed certificate.
    pub service_fabric: String,
    /// Origin of Azure Arc's agent, plain HTTP.
    pub arc: String,
    /// Origin of Machine Learning's identity endpoint, plain HTTP.
    pub machine_learning: String,
    /// Origin of Cloud Shell's token endpoint, plain HTTP.
    pub cloud_shell: String,
    /// The certificate of Service Fabric, PEM, for clients that do not know it by its thumbprint.
    pub service_fabric_certificate: String,
    /// The file with the CA certificate of all other TLS services, PEM.
    pub ca_file: PathBuf,
    /// The control endpoint.
    pub control: Control,
    /// The environment variables through which programs find the emulator, those of IMDS among them.
    pub env: BTreeMap<&'static str, String>,
    /// The environment variables of each source, by its name; see [`environment`](Self::environment). They contain secrets.
    pub sources: BTreeMap<&'static str, BTreeMap<&'static str, String>>,
}

/// Address and secret of the control endpoint. `Debug` hides the secret.
#[derive(Clone, Serialize)]
#[non_exhaustive]
pub struct Control {
    /// Its origin, plain HTTP.
    pub url: String,
    /// The token for `Authorization: Bearer`.
    pub secret: String,
}

impl Ready {
    /// The environment of a program on a host with this source: [`env`](Self::env) and the variables of the source. Those of
    /// [`Source::VARIABLES`] that are not among them must be absent. The address of IMDS is always among them: a program that does
    /// not know the source would otherwise send its requests to the address of Azure's IMDS.
    pub fn environment(&self, source: Source) -> BTreeMap<&'static str, String> {
        let mut environment = self.env.clone();
        environment.extend(self.sources[source.name()].clone());
        environment
    }

    /// # Errors
    /// If the certificate of Service Fabric cannot be encoded.
    pub(crate) fn of(state: &State) -> Result<Self, StartError> {
        let origin = |service| state.endpoints.origin(service).to_owned();
        let ca_file = state.pki.ca_file().to_owned();
        let env = BTreeMap::from([
            ("AZURE_POD_IDENTITY_AUTHORITY_HOST", origin(Service::Imds)),
            ("KEYBOUND_CA_FILE", ca_file.display().to_string()),
            ("KEYBOUND_EMULATOR_VAULT", origin(Service::Vault)),
            ("KEYBOUND_EMULATOR_GRAPH", origin(Service::Graph)),
            ("KEYBOUND_EMULATOR_STS", origin(Service::Sts)),
        ]);
        let sources = source_environments(state).map_err(certificates)?;
        let certificate = state.pki.service_fabric().certificate.to_pem();
        let certificate = certificate.map_err(certificates)?;
        Ok(Self {
            event: "ready",
            imds: origin(Service::Imds),
            sts: origin(Service::Sts),
            maa: origin(Service::Maa),
            vault: origin(Service::Vault),
            graph: origin(Service::Graph),
            app_service: origin(Service::AppService),
            service_fabric: origin(Service::ServiceFabric),
            arc: origin(Service::Arc),
            machine_learning: origin(Service::MachineLearning),
            cloud_shell: origin(Service::CloudShell),
            service_fabric_certificate: String::from_utf8_lossy(&certificate).into_owned(),
            ca_file,
            control: Control {
                url: origin(Service::Control),
                secret: state.control_secret.expose().to_owned(),
            },
            env,
            sources,
        })
    }
}

/// The environment variables of each source, as the service sets them.
fn source_environments(
    state: &State,
) -> Result<BTreeMap<&'static str, BTreeMap<&'static str, String>>, ErrorStack> {
    let environment = |source: Source| {
        let variables = variables(state, source)?;
        Ok((source.name(), variables.into_iter().collect()))
    };
    Source::ALL.into_iter().map(environment).collect()
}

fn variables(state: &State, source: Source) -> Result<Vec<(&'static str, String)>, ErrorStack> {
    let at = |service, path: &str| format!("{}{path}", state.endpoints.origin(service));
    let secrets = &state.source_secrets;
    Ok(match source {
        Source::Imds => vec![("AZURE_POD_IDENTITY_AUTHORITY_HOST", at(Service::Imds, ""))],
        Source::AppService | Source::ContainerApps => {
            let endpoint = at(Service::AppService, app_service::PATH);
            let secret = secrets.app_service.expose().to_owned();
            vec![
                ("IDENTITY_ENDPOINT", endpoint.clone()),
                ("IDENTITY_HEADER", secret.clone()),
                ("MSI_ENDPOINT", endpoint),
                ("MSI_SECRET", secret),
            ]
        }
        Source::ServiceFabric => vec![
            (
                "IDENTITY_ENDPOINT",
                at(Service::ServiceFabric, service_fabric::PATH),
            ),
            (
                "IDENTITY_HEADER",
                secrets.service_fabric.expose().to_owned(),
            ),
            (
                "IDENTITY_SERVER_THUMBPRINT",
                state.pki.service_fabric().thumbprint()?,
            ),
        ],
        Source::Arc => vec![
            ("IDENTITY_ENDPOINT", at(Service::Arc, arc::PATH)),
            ("IMDS_ENDPOINT", at(Service::Arc, "")),
        ],
        Source::MachineLearning => vec![
            (
                "MSI_ENDPOINT",
                at(Service::MachineLearning, machine_learning::PATH),
            ),
            ("MSI_SECRET", secrets.machine_learning.expose().to_owned()),
            ("DEFAULT_IDENTITY_CLIENT_ID", default_client_id(state)),
        ],
        Source::CloudShell => vec![("MSI_ENDPOINT", at(Service::CloudShell, cloud_shell::PATH))],
    })
}

/// The system-assigned identity, or the first one.
fn default_client_id(state: &State) -> String {
    let identities = &state.config.identities;
    let identity = system_assigned(identities).or(identities.first());
    identity.map_or_else(String::new, |identity| {
        identity.client_id.as_str().to_owned()
    })
}

fn certificates(error: ErrorStack) -> StartError {
    StartError::Certificates(error.into())
}

impl fmt::Debug for Ready {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ready")
            .field("imds", &self.imds)
            .field("sts", &self.sts)
            .field("maa", &self.maa)
            .field("vault", &self.vault)
            .field("graph", &self.graph)
            .field("app_service", &self.app_service)
            .field("service_fabric", &self.service_fabric)
            .field("arc", &self.arc)
            .field("machine_learning", &self.machine_learning)
            .field("cloud_shell", &self.cloud_shell)
            .field("ca_file", &self.ca_file)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Control {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Control")
            .field("url", &self.url)
            .finish_non_exhaustive()
    }
}
