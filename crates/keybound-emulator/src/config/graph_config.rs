use serde::Deserialize;

/// The simulated Graph.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct GraphConfig {
    /// Whether the identity lacks the permission: calls with a valid bound token fail with 403.
    pub forbidden: bool,
}
