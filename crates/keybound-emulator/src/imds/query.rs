use super::ErrorResponse;
use crate::config::{BypassCache, Identity, IdentityType};
use form_urlencoded::parse;

/// The query of a request.
pub(super) struct Query {
    selector: Selector,
    /// Whether a new certificate is requested even if one is cached.
    pub bypass_cache: bool,
}

enum Selector {
    SystemAssigned,
    ClientId(String),
    ObjectId(String),
    ResourceId(String),
}

impl Query {
    /// Parses the query. A live IMDS rejects unknown parameters, `msi_res_id` of v1 among them.
    pub fn read(query: &str, bypass: BypassCache) -> Result<Self, ErrorResponse> {
        let mut version = None;
        let mut selector = None;
        let mut bypass_cache = None;
        for (name, value) in parse(query.as_bytes()) {
            let value = value.into_owned();
            let repeated = match &*name {
                "cred-api-version" => version.replace(value).is_some(),
                "client_id" => selector.replace(Selector::ClientId(value)).is_some(),
                "object_id" => selector.replace(Selector::ObjectId(value)).is_some(),
                "mi_res_id" => selector.replace(Selector::ResourceId(value)).is_some(),
                "bypass_cache" if bypass != BypassCache::Refused => {
                    bypass_cache.replace(value).is_some()
                }
                _ => return Err(ErrorResponse::invalid("Unsupported query variables")),
            };
            if repeated {
                return Err(ErrorResponse::invalid(
                    "A parameter occurs twice in the query, or identities are named in two ways",
                ));
            }
        }
        match version.as_deref() {
            Some(VERSION) => (),
            Some(_) => {
                return Err(ErrorResponse::invalid(
                    "Unsupported cred-api-version: use 2.0",
                ));
            }
            None => {
                return Err(ErrorResponse::invalid(
                    "Required cred-api-version parameter not specified",
                ));
            }
        }
        Ok(Self {
            selector: selector.unwrap_or(Selector::SystemAssigned),
            bypass_cache: match bypass_cache.as_deref() {
                None => false,
                Some(value) if value.eq_ignore_ascii_case("true") => {
                    bypass == BypassCache::Supported
                }
                Some(value) if value.eq_ignore_ascii_case("false") => false,
                Some(_) => return Err(ErrorResponse::invalid("bypass_cache is true or false")),
            },
        })
    }

    /// The requested identity.
    pub fn identity<'a>(&self, identities: &'a [Identity]) -> Result<&'a Identity, ErrorResponse> {
        let matches = |identity: &&Identity| match &self.selector {
            Selector::SystemAssigned => identity.kind == IdentityType::System,
            Selector::ClientId(id) => identity.client_id.matches(id),
            Selector::ObjectId(id) => identity.object_id.matches(id),
            Selector::ResourceId(id) => {
                let own = identity.resource_id.as_deref();
                own.is_some_and(|own| own.eq_ignore_ascii_case(id))
            }
        };
        identities.iter().find(matches).ok_or_else(|| {
            ErrorResponse::new(400, "identity_not_found", "Managed Identity not found")
        })
    }
}

const VERSION: &str = "2.0";
