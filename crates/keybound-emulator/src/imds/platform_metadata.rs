use crate::config::{Identity, ImdsConfig};
use crate::faults::Action;
use crate::response::{Response, json_response};
use crate::service::Service;
use crate::state::State;
use serde_json::{Map, Value, json};

/// `getplatformmetadata`.
pub(super) fn respond(state: &State, identity: &Identity, fault: Option<&Action>) -> Response {
    let endpoint = faulty_endpoint(state.endpoints.origin(Service::Maa), fault);
    let body = json!({
        "clientId": identity.client_id.as_str(),
        "tenantId": state.config.tenant_id.as_str(),
        "cuId": cu_id(&state.config.imds),
        "attestationEndpoint": endpoint,
    });
    json_response(200, &body)
}

/// The cuId that CSRs must contain: compact JSON without empty members.
pub(super) fn expected_cu_id(imds: &ImdsConfig) -> String {
    let mut members = cu_id(imds);
    members.retain(|_, value| value != "");
    Value::Object(members).to_string()
}

/// Applies a fault to an endpoint in a response of IMDS.
pub(super) fn faulty_endpoint(endpoint: &str, fault: Option<&Action>) -> String {
    match fault {
        Some(Action::HttpEndpoint) => endpoint.replacen("https://", "http://", 1),
        Some(Action::ForeignEndpoint(url)) => {
            url.clone().unwrap_or_else(|| FOREIGN_ENDPOINT.to_owned())
        }
        _ => endpoint.to_owned(),
    }
}

/// The cuId in the metadata; the id of the scale set can be empty.
fn cu_id(imds: &ImdsConfig) -> Map<String, Value> {
    let mut members = Map::new();
    if !imds.vm_id.is_empty() {
        members.insert("vmId".into(), imds.vm_id.clone().into());
    }
    if let Some(vmss_id) = &imds.vmss_id {
        members.insert("vmssId".into(), vmss_id.clone().into());
    }
    members
}

/// A host that never resolves (RFC 6761).
const FOREIGN_ENDPOINT: &str = "https://foreign.invalid";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_contains_empty_id_and_csr_does_not() {
        let mut imds = ImdsConfig {
            vm_id: "v".into(),
            vmss_id: Some(String::new()),
            ..ImdsConfig::default()
        };
        assert_eq!(
            Value::Object(cu_id(&imds)),
            json!({"vmId": "v", "vmssId": ""})
        );
        assert_eq!(expected_cu_id(&imds), r#"{"vmId":"v"}"#);
        imds.vmss_id = Some("s".into());
        assert_eq!(expected_cu_id(&imds), r#"{"vmId":"v","vmssId":"s"}"#);
    }
}
