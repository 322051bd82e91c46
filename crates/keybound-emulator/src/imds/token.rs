//! IMDS v1: bearer tokens.
use crate::faults::IMDS_TOKEN_PATH;
use crate::selector::IdentityId;
use crate::sources::{DefaultIdentity, Protocol, as_text, oauth_response};
use http::Method;

pub(crate) const PROTOCOL: Protocol = Protocol {
    path: IMDS_TOKEN_PATH,
    method: Method::GET,
    requires_metadata: true,
    rejects_forwarded: true,
    secret: None,
    api_versions: &API_VERSIONS,
    selectors: &[
        ("client_id", IdentityId::Client),
        ("object_id", IdentityId::Object),
        ("msi_res_id", IdentityId::Resource),
    ],
    optional: &["authority", "bypass_cache"],
    default_identity: DefaultIdentity::SystemOrOnly,
    members: &[
        "access_token",
        "client_id",
        "expires_in",
        "ext_expires_in",
        "not_before",
        "resource",
        "token_type",
    ],
    expires_on: as_text,
    rejected: oauth_response,
};

/// The version of the documentation, which all client libraries send, and those of the published specification.
const API_VERSIONS: [&str; 8] = [
    "2018-02-01",
    "2018-10-01",
    "2019-02-01",
    "2019-08-15",
    "2020-06-01",
    "2020-09-01",
    "2021-02-01",
    "2021-12-13",
];
