use super::ErrorResponse;
use crate::call::Call;
use crate::config::ComputeConfig;
use crate::response::{Response, json_response};
use crate::state::State;
use form_urlencoded::parse;
use http::Method;
use serde_json::{Map, Value, json};

/// A document of instance metadata.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum InstanceMetadata {
    /// `/metadata/instance`
    Instance,
    /// `/metadata/instance/compute`
    Compute,
}

impl InstanceMetadata {
    /// The document at a path, with or without a trailing slash.
    pub(super) fn at(path: &str) -> Option<Self> {
        match path.strip_suffix('/').unwrap_or(path) {
            "/metadata/instance" => Some(Self::Instance),
            "/metadata/instance/compute" => Some(Self::Compute),
            _ => None,
        }
    }

    /// Responds to a request. Errors have the form of this part of IMDS: one member `error`.
    pub(super) fn respond(self, state: &State, call: &mut Call) -> Result<Response, ErrorResponse> {
        if call.request.method() != Method::GET {
            return Err(ErrorResponse::method_not_allowed(Method::GET));
        }
        let body = match check(call) {
            Ok(()) => self.body(state),
            Err(problem) => {
                call.note("refused", problem);
                let body = json!({"error": format!("Bad request. {problem}"), "newest-versions": VERSIONS});
                return Ok(json_response(400, &body));
            }
        };
        Ok(json_response(200, &body))
    }

    fn body(self, state: &State) -> Value {
        let compute = compute(state);
        match self {
            Self::Compute => compute,
            Self::Instance => json!({"compute": compute, "network": {"interface": []}}),
        }
    }
}

fn check(call: &Call) -> Result<(), &'static str> {
    if !super::has_metadata_header(call) {
        return Err("Required metadata header not specified");
    }
    if super::is_forwarded(call) {
        return Err("X-Forwarded-For header is not allowed");
    }
    let (mut version, mut format) = (None, None);
    for (name, value) in parse(call.request.uri().query().unwrap_or_default().as_bytes()) {
        let repeated = match &*name {
            "api-version" => version.replace(value).is_some(),
            "format" => format.replace(value).is_some(),
            _ => false,
        };
        if repeated {
            return Err("A parameter occurs twice in the query");
        }
    }
    match version.as_deref() {
        None => Err("api-version was not specified in the request"),
        Some(version) if !VERSIONS.contains(&version) => Err("api-version is invalid"),
        Some(_) if format.is_some_and(|format| format != "json") => {
            Err("The format is not supported for this resource: use json")
        }
        Some(_) => Ok(()),
    }
}

fn compute(state: &State) -> Value {
    let ComputeConfig {
        os_type,
        security_type,
        secure_boot_enabled,
        virtual_tpm_enabled,
    } = &state.config.compute;
    let mut security = Map::new();
    security.insert(
        "secureBootEnabled".into(),
        secure_boot_enabled.to_string().into(),
    );
    security.insert(
        "virtualTpmEnabled".into(),
        virtual_tpm_enabled.to_string().into(),
    );
    if !security_type.is_empty() {
        security.insert("securityType".into(), security_type.as_str().into());
    }
    json!({
        "azEnvironment": "AzurePublicCloud",
        "location": state.config.region,
        "osType": os_type.wire_name(),
        "provider": "Microsoft.Compute",
        "securityProfile": security,
        "vmId": state.config.imds.vm_id,
    })
}

/// The supported versions, newest first.
const VERSIONS: [&str; 2] = ["2021-12-13", "2021-02-01"];
