use super::{Problem, SourceSecrets, SourceToken, parameters};
use crate::call::Call;
use crate::config::{Identity, IdentityType, OsType};
use crate::faults::without_slash;
use crate::random_secret::RandomSecret;
use crate::response::Response;
use crate::selector::{IdentityId, Selector, system_assigned};
use crate::state::State;
use http::Method;
use serde_json::Value;
use std::collections::BTreeMap;

/// The requests that a source accepts, and the form of its responses.
pub(crate) struct Protocol {
    pub path: &'static str,
    /// GET with a query, or POST with a form.
    pub method: Method,
    /// Whether the header `Metadata: true` is required.
    pub requires_metadata: bool,
    /// Whether requests with `X-Forwarded-For` are rejected.
    pub rejects_forwarded: bool,
    /// The header with the secret of the environment, and that secret.
    pub secret: Option<(&'static str, SecretOf)>,
    /// The supported versions; empty if requests have none.
    pub api_versions: &'static [&'static str],
    /// The parameters that name an identity.
    pub selectors: &'static [(&'static str, IdentityId)],
    /// Further parameters.
    pub optional: &'static [&'static str],
    pub default_identity: DefaultIdentity,
    /// The members of the response with a token.
    pub members: &'static [&'static str],
    /// The member `expires_on`: as a text, a number or a date.
    pub expires_on: fn(u64, OsType) -> Value,
    /// The response to a request with a problem.
    pub rejected: fn(&Problem) -> Response,
}

/// One of the secrets.
pub(crate) type SecretOf = fn(&SourceSecrets) -> &RandomSecret;

/// The identity of a request that names none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DefaultIdentity {
    /// The system-assigned one.
    System,
    /// The same; without it the user-assigned one, if there is exactly one.
    SystemOrOnly,
    /// Every request names one.
    Required,
}

/// A valid request for a token.
#[derive(Debug)]
pub(crate) struct TokenRequest<'a> {
    pub identity: &'a Identity,
    pub resource: String,
    /// The capabilities of the client, `xms_cc`.
    pub capabilities: Vec<String>,
}

impl Protocol {
    /// Responds to a request.
    pub async fn respond(&self, state: &State, call: &mut Call) -> Response {
        match self.token(state, call).await {
            Ok(token) => token.response(
                self.members,
                (self.expires_on)(token.expires_on, state.config.compute.os_type),
            ),
            Err(problem) => problem.respond(call, (self.rejected)(&problem)),
        }
    }

    async fn token(&self, state: &State, call: &mut Call) -> Result<SourceToken, Problem> {
        let request = self.read(&state.config.identities, call, &state.source_secrets)?;
        SourceToken::issue(state, call, request).await
    }

    /// Checks a request and reads it.
    ///
    /// # Errors
    /// The first problem.
    pub fn read<'a>(
        &self,
        identities: &'a [Identity],
        call: &Call,
        secrets: &SourceSecrets,
    ) -> Result<TokenRequest<'a>, Problem> {
        self.check_head(call, secrets)?;
        let parameters = self.parameters(call)?;
        self.check_version(&parameters)?;
        check_options(&parameters)?;
        let resource = resource(&parameters)?;
        let selector = self.selector(&parameters)?;
        Ok(TokenRequest {
            identity: self.identity(identities, selector.as_ref())?,
            resource,
            capabilities: capabilities(&parameters)?,
        })
    }

    fn check_head(&self, call: &Call, secrets: &SourceSecrets) -> Result<(), Problem> {
        if without_slash(call.request.uri().path()) != self.path {
            return Err(Problem::NotFound);
        }
        if call.request.method() != self.method {
            return Err(Problem::Method(self.method.clone()));
        }
        if self.requires_metadata && !call.has_metadata_header() {
            return Err(Problem::Metadata);
        }
        if self.rejects_forwarded && call.is_forwarded() {
            return Err(Problem::Forwarded);
        }
        let Some((name, secret)) = self.secret else {
            return Ok(());
        };
        // Servers join repeated headers to one value.
        let mut values = call.request.headers().get_all(name).iter();
        match (values.next(), values.next()) {
            (None, _) => Err(Problem::SecretMissing),
            (Some(value), None) if secret(secrets).equals(value.as_bytes()) => Ok(()),
            _ => Err(Problem::SecretWrong),
        }
    }

    fn parameters(&self, call: &Call) -> Result<BTreeMap<String, String>, Problem> {
        let mut known = vec!["resource"];
        if !self.api_versions.is_empty() {
            known.push("api-version");
        }
        known.extend(self.selectors.iter().map(|(name, _)| *name));
        known.extend(self.optional);
        let query = call.request.uri().query().unwrap_or_default().as_bytes();
        if self.method == Method::GET {
            return parameters::read(query, &known);
        }
        parameters::read(query, &[])?;
        match call.has_content_type("application/x-www-form-urlencoded") {
            true => parameters::read(call.request.body(), &known),
            false => Err(Problem::ResourceMissing),
        }
    }

    fn check_version(&self, parameters: &BTreeMap<String, String>) -> Result<(), Problem> {
        if self.api_versions.is_empty() {
            return Ok(());
        }
        match parameters.get("api-version").map(String::as_str) {
            None | Some("") => Err(Problem::ApiVersionMissing),
            Some(version) if self.api_versions.contains(&version) => Ok(()),
            Some(_) => Err(Problem::ApiVersionUnsupported),
        }
    }

    fn selector(&self, parameters: &BTreeMap<String, String>) -> Result<Option<Selector>, Problem> {
        let mut named = self.selectors.iter().filter_map(|(name, id)| {
            let value = parameters.get(*name)?;
            Some(Selector::new(*id, value))
        });
        match (named.next(), named.next()) {
            (_, Some(_)) => Err(Problem::IdentityRepeated),
            (selector, None) => Ok(selector),
        }
    }

    fn identity<'a>(
        &self,
        identities: &'a [Identity],
        selector: Option<&Selector>,
    ) -> Result<&'a Identity, Problem> {
        if let Some(selector) = selector {
            return selector.find(identities).ok_or(Problem::IdentityUnknown);
        }
        let system = system_assigned(identities).ok_or(Problem::IdentityAbsent);
        match self.default_identity {
            DefaultIdentity::Required => Err(Problem::IdentityMissing),
            DefaultIdentity::System => system,
            DefaultIdentity::SystemOrOnly => system.or_else(|_| only_user_assigned(identities)),
        }
    }
}

/// The number of seconds as a text.
pub(crate) fn as_text(unix: u64, _: OsType) -> Value {
    unix.to_string().into()
}

/// The number of seconds.
pub(crate) fn as_number(unix: u64, _: OsType) -> Value {
    unix.into()
}

fn only_user_assigned(identities: &[Identity]) -> Result<&Identity, Problem> {
    let mut assigned = identities
        .iter()
        .filter(|identity| identity.kind == IdentityType::User);
    match (assigned.next(), assigned.next()) {
        (None, _) => Err(Problem::IdentityAbsent),
        (Some(only), None) => Ok(only),
        (Some(_), Some(_)) => Err(Problem::IdentityAmbiguous),
    }
}

fn resource(parameters: &BTreeMap<String, String>) -> Result<String, Problem> {
    let resource = parameters.get("resource").filter(|text| !text.is_empty());
    let resource = resource.ok_or(Problem::ResourceMissing)?;
    let invalid = resource.len() > MAX_RESOURCE_BYTES
        || resource.contains(|c: char| c.is_whitespace() || c.is_control())
        || resource.ends_with("/.default");
    match invalid {
        true => Err(Problem::ResourceInvalid),
        false => Ok(resource.clone()),
    }
}

/// Checks the values of optional parameters. They do not change the token, which is always a new one.
fn check_options(parameters: &BTreeMap<String, String>) -> Result<(), Problem> {
    let is_hash = |text: &String| {
        let hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        text.len() == 64 && text.bytes().all(hex)
    };
    if parameters
        .get("bypass_cache")
        .is_some_and(|value| value != "true")
    {
        return Err(Problem::ParameterInvalid("bypass_cache is true or absent"));
    }
    if !parameters
        .get("token_sha256_to_refresh")
        .is_none_or(is_hash)
    {
        return Err(Problem::ParameterInvalid(
            "token_sha256_to_refresh is a SHA-256 hash in lower-case hexadecimal",
        ));
    }
    Ok(())
}

fn capabilities(parameters: &BTreeMap<String, String>) -> Result<Vec<String>, Problem> {
    let Some(text) = parameters.get("xms_cc") else {
        return Ok(vec![]);
    };
    let is_capability = |text: &str| {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
        (1..=64).contains(&text.len()) && text.bytes().all(plain)
    };
    match text.split(',').all(is_capability) {
        true => Ok(text.split(',').map(str::to_owned).collect()),
        false => Err(Problem::ParameterInvalid(
            "xms_cc is a list of capabilities, separated by commas",
        )),
    }
}

const MAX_RESOURCE_BYTES: usize = 2048;
