//! What does not change while the emulator runs: addresses, identities, and the faults that can be added.
use crate::config::{Identity, IdentityType};
use crate::faults::{Leg, known_actions};
use crate::ready::Ready;
use crate::state::State;
use keybound_core::Guid;
use serde_json::{Map, Value, json};
use std::path::PathBuf;

pub(super) fn overview(state: &State) -> Result<Value, String> {
    // Paths may not be Unicode, which JSON requires.
    let ready = Ready {
        ca_file: PathBuf::new(),
        ..Ready::of(state).map_err(|error| error.to_string())?
    };
    let ready = serde_json::to_value(ready).map_err(|error| error.to_string())?;
    // Of the members only those that are an address, without nested ones, which contain secrets.
    let is_address = |value: &Value| value.as_str().is_some_and(|text| text.starts_with("http"));
    let members = ready.as_object().into_iter().flatten();
    let services: Map<_, _> = members
        .filter(|(_, value)| is_address(value))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    let identities: Vec<_> = state.config.identities.iter().map(identity).collect();
    let tenants = &state.config.tenants;
    let apps: Vec<_> = tenants
        .iter()
        .flat_map(|tenant| tenant.apps.iter().map(move |app| (tenant, app)))
        .map(|(tenant, app)| {
            json!({
                "tenant_id": tenant.id.as_str(),
                "client_id": app.client_id.as_str(),
                "object_id": app.object_id.as_str(),
            })
        })
        .collect();
    let actions: Vec<_> = known_actions()
        .map(|(name, argument, legs)| json!({"name": name, "argument": argument, "legs": legs}))
        .collect();
    Ok(json!({
        "services": services,
        "tenant_id": state.config.tenant_id.as_str(),
        "tenants": state.config.tenant_ids().map(Guid::as_str).collect::<Vec<_>>(),
        "apps": apps,
        "identities": identities,
        "legs": Leg::ALL.map(Leg::as_str),
        "actions": actions,
    }))
}

fn identity(identity: &Identity) -> Value {
    let kind = match identity.kind {
        IdentityType::System => "system",
        IdentityType::User => "user",
    };
    json!({
        "kind": kind,
        "client_id": identity.client_id.as_str(),
        "object_id": identity.object_id.as_str(),
        "resource_id": identity.resource_id,
    })
}
