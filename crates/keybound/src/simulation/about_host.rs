//! What IMDS responds to requests about the host: the probes of its versions, and the compute document.
use super::imds::METADATA;
use super::services::{parameters, text};
use super::{Call, Leg, TestHost};
use http::Method;
use http::request::Parts;
use serde::Deserialize;
use serde_json::{Value, json};

/// The virtual machine in the compute document.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Compute {
    os_type: String,
    security_type: String,
    secure_boot: bool,
    virtual_tpm: bool,
}

impl Default for Compute {
    fn default() -> Self {
        Self {
            os_type: "Windows".to_owned(),
            security_type: "TrustedLaunch".to_owned(),
            secure_boot: true,
            virtual_tpm: true,
        }
    }
}

/// Whether a request is one about the host. The probes lack the header that IMDS requires.
pub(super) fn asks_about_host(head: &Parts) -> bool {
    leg(head).is_some()
}

fn leg(head: &Parts) -> Option<Leg> {
    let has_header = head.headers.contains_key("Metadata");
    match head.uri.path() {
        METADATA if !has_header => Some(Leg::Probe),
        TOKEN if !has_header => Some(Leg::ProbeV1),
        COMPUTE => Some(Leg::Compute),
        _ => None,
    }
}

impl TestHost {
    /// Checks a request about the host.
    pub(super) fn read_host_request(&self, head: &Parts) -> Call {
        let leg = leg(head).unwrap();
        let call = Call {
            leg,
            parameters: parameters(head.uri.query().unwrap_or_default().as_bytes()),
            ..Call::default()
        };
        self.check(head.method == Method::GET, format!("{head:?}"));
        let (name, versions): (_, &[&str]) = match leg {
            Leg::Probe => ("cred-api-version", &["2.0"]),
            Leg::ProbeV1 => ("api-version", &["2018-02-01"]),
            _ => ("api-version", &["2021-12-13", "2021-02-01"]),
        };
        self.check(versions.contains(&call.parameter(name)), name);
        let header = text(head, "Metadata");
        self.check((header == "true") == (leg == Leg::Compute), "Metadata");
        call
    }

    /// The response to a request about the host.
    pub(super) fn about_host(&self, call: &Call) -> (u16, Value) {
        let error = |status, error: &str| (status, json!({ "error": error }));
        let compute = &self.setup.compute;
        match call.leg {
            Leg::Probe if self.setup.imds_v1_only => error(404, "not_found"),
            Leg::Probe | Leg::ProbeV1 => error(400, "invalid_request"),
            _ => {
                let document = json!({
                    "osType": compute.os_type,
                    "securityProfile": {
                        "securityType": compute.security_type,
                        "secureBootEnabled": compute.secure_boot.to_string(),
                        "virtualTpmEnabled": compute.virtual_tpm.to_string(),
                    },
                    "vmSize": "Standard_D2s_v5",
                });
                (200, document)
            }
        }
    }
}

const TOKEN: &str = "/metadata/identity/oauth2/token";
const COMPUTE: &str = "/metadata/instance/compute";
