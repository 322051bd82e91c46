mod certificates;
mod discovery;
mod faults;
mod refusals;
mod tokens;

use super::testing::{BOTH, FORM, TestServices};
use crate::config::{Config, Resource, TokenVersion};
use crate::server::testing::{Client, ClientOptions, Received, self_signed};
use keybound_core::{Guid, UnverifiedJwt, X5tS256};
use serde_json::json;

const VAULT: &str = "https://vault.azure.net";

fn code(response: &Received) -> u64 {
    response.json()["error_codes"][0]
        .as_u64()
        .unwrap_or_default()
}
