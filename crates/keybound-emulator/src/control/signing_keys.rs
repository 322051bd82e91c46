//! The keys that sign the tokens of Entra.
use super::{expect_empty, read};
use crate::state::State;
use serde::Deserialize;
use serde_json::{Value, json};

/// All published keys, oldest first. Those that were not needed yet are generated now.
pub(super) async fn list(state: &State) -> Result<Value, String> {
    let mut keys = Vec::new();
    for (key_use, key) in state.keys.entra.published() {
        let signer = key.get().await.map_err(|error| error.to_string())?;
        keys.push(json!({"kid": signer.id(), "use": key_use.as_str()}));
    }
    Ok(json!({ "keys": keys }))
}

pub(super) async fn rotate(state: &State, body: &[u8]) -> Result<Value, String> {
    expect_empty(body)?;
    state.keys.entra.rotate();
    list(state).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Retire {
    kid: String,
}

/// Retires the named key, or all previous ones.
pub(super) async fn retire(state: &State, body: &[u8]) -> Result<Value, String> {
    if body.is_empty() {
        state.keys.entra.retire_previous();
        return list(state).await;
    }
    let Retire { kid } = read(body, r#"no body, or {"kid": TEXT}"#)?;
    if !state.keys.entra.retire(&kid) {
        return Err("no published key has this kid".to_owned());
    }
    list(state).await
}
