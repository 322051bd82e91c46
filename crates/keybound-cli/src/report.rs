//! Results as text and as JSON.
mod error;
mod next_step;
mod response;
mod token;

pub(crate) use error::{ErrorReport, chain, error_text, specific_chain};
pub(crate) use next_step::next_step as error_next_step;
pub(crate) use response::{BufferedResponse, ResponseReport, check_response};
pub(crate) use token::{TokenReport, check_binding, claims_text};

use serde::Serialize;

/// The JSON object that a command prints. `error` is set only if the flow failed.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Document {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<ErrorReport>,
    #[serde(flatten)]
    pub(crate) token: Option<TokenReport>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) response: Option<ResponseReport>,
}
