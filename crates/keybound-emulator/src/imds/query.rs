use super::ErrorResponse;
use crate::config::{BypassCache, Identity};
use crate::selector::{IdentityId, Selector, system_assigned};
use form_urlencoded::parse;

/// The query of a request.
pub(super) struct Query {
    /// `None`: the system-assigned identity.
    selector: Option<Selector>,
    /// Whether a new certificate is requested even if one is cached.
    pub bypass_cache: bool,
}

impl Query {
    /// Parses the query. A live IMDS rejects unknown parameters, `msi_res_id` of v1 among them.
    pub fn read(query: &str, bypass: BypassCache) -> Result<Self, ErrorResponse> {
        let mut version = None;
        let mut selector = None;
        let mut bypass_cache = None;
        for (name, value) in parse(query.as_bytes()) {
            let value = value.into_owned();
            let mut select = |id, value: String| {
                let named = Selector::new(id, value);
                selector.replace(named).is_some()
            };
            let repeated = match &*name {
                "cred-api-version" => version.replace(value).is_some(),
                "client_id" => select(IdentityId::Client, value),
                "object_id" => select(IdentityId::Object, value),
                "mi_res_id" => select(IdentityId::Resource, value),
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
            selector,
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
        let found = match &self.selector {
            None => system_assigned(identities),
            Some(selector) => selector.find(identities),
        };
        found.ok_or_else(|| {
            ErrorResponse::new(400, "identity_not_found", "Managed Identity not found")
        })
    }
}

const VERSION: &str = "2.0";
