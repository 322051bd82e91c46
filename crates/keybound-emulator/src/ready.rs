use crate::service::Service;
use crate::state::State;
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
    /// The file with the CA certificate of all TLS services, PEM.
    pub ca_file: PathBuf,
    /// The control endpoint.
    pub control: Control,
    /// The environment variables through which programs find the emulator.
    pub env: BTreeMap<&'static str, String>,
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
    pub(crate) fn of(state: &State) -> Self {
        let origin = |service| state.endpoints.origin(service).to_owned();
        let ca_file = state.pki.ca_file().to_owned();
        let env = BTreeMap::from([
            ("AZURE_POD_IDENTITY_AUTHORITY_HOST", origin(Service::Imds)),
            ("KEYBOUND_CA_FILE", ca_file.display().to_string()),
            ("KEYBOUND_EMULATOR_VAULT", origin(Service::Vault)),
            ("KEYBOUND_EMULATOR_GRAPH", origin(Service::Graph)),
        ]);
        Self {
            event: "ready",
            imds: origin(Service::Imds),
            sts: origin(Service::Sts),
            maa: origin(Service::Maa),
            vault: origin(Service::Vault),
            graph: origin(Service::Graph),
            ca_file,
            control: Control {
                url: origin(Service::Control),
                secret: state.control_secret.expose().to_owned(),
            },
            env,
        }
    }
}

impl fmt::Debug for Ready {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ready")
            .field("imds", &self.imds)
            .field("sts", &self.sts)
            .field("maa", &self.maa)
            .field("vault", &self.vault)
            .field("graph", &self.graph)
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
