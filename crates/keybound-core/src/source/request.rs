use super::{ManagedIdentitySource, SourceEndpoint};
use crate::{Error, ErrorKind, IdentityKind, ManagedIdentity, Result, SecretString, Stage};
use sha2::{Digest as _, Sha256};
use std::fmt;
use url::Url;

/// What a token is requested for.
#[derive(Clone, Copy)]
#[expect(
    clippy::exhaustive_structs,
    reason = "all parameters are set; a new one must break its users"
)]
pub struct SourceQuery<'a> {
    /// The resource, as the caller wrote it: it becomes the token's audience.
    pub resource: &'a str,
    /// The identity.
    pub identity: &'a ManagedIdentity,
    /// The client's capabilities, such as `cp1`.
    pub capabilities: &'a [String],
    /// A token that the resource rejected as revoked.
    pub revoked: Option<&'a SecretString>,
}

/// A request to a source. `Debug` hides the secret.
#[derive(Clone)]
#[non_exhaustive]
pub struct SourceRequest {
    /// GET or POST.
    pub method: SourceMethod,
    /// The address with its query.
    pub url: Url,
    /// Names and values of the headers.
    pub headers: Vec<(&'static str, SecretString)>,
    /// The form of a POST.
    pub body: Option<String>,
}

/// The method of a request to a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "no source uses another one")]
pub enum SourceMethod {
    /// GET.
    Get,
    /// POST.
    Post,
}

impl SourceEndpoint {
    /// The token request.
    ///
    /// # Errors
    /// [`ErrorKind::IdentityUnsupported`] if the source does not accept an identity of this kind: it would ignore the id and
    /// return the token of another identity.
    pub fn request(&self, query: &SourceQuery<'_>) -> Result<SourceRequest> {
        let selector = self.selector(query.identity)?;
        if self.source() == ManagedIdentitySource::CloudShell {
            return Ok(self.form_request(query));
        }
        let mut url = self.url.clone();
        url.query_pairs_mut()
            .append_pair("api-version", self.api_version())
            .append_pair("resource", query.resource)
            .extend_pairs(selector)
            .extend_pairs(self.revocation(query));
        Ok(SourceRequest {
            method: SourceMethod::Get,
            url,
            headers: self.headers(),
            body: None,
        })
    }

    /// The identity that a request for `identity` names: it differs if Machine Learning has a default one.
    pub fn requested_identity(&self, identity: &ManagedIdentity) -> ManagedIdentity {
        match (identity.kind(), &self.default_client_id) {
            (IdentityKind::SystemAssigned, Some(id)) => ManagedIdentity::from_client_id(id),
            _ => identity.clone(),
        }
    }

    fn form_request(&self, query: &SourceQuery<'_>) -> SourceRequest {
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.append_pair("resource", query.resource);
        let mut headers = self.headers();
        let form_type = "application/x-www-form-urlencoded";
        headers.push(("Content-Type", form_type.to_owned().into()));
        SourceRequest {
            method: SourceMethod::Post,
            url: self.url.clone(),
            headers,
            body: Some(form.finish()),
        }
    }

    fn api_version(&self) -> &'static str {
        match self.source() {
            ManagedIdentitySource::Imds => "2018-02-01",
            ManagedIdentitySource::AppService => "2019-08-01",
            ManagedIdentitySource::ServiceFabric => "2020-05-01",
            ManagedIdentitySource::AzureArc => "2020-06-01",
            // Cloud Shell has none.
            ManagedIdentitySource::MachineLearning | ManagedIdentitySource::CloudShell => {
                "2017-09-01"
            }
        }
    }

    fn headers(&self) -> Vec<(&'static str, SecretString)> {
        let metadata = || ("Metadata", "true".to_owned().into());
        let secret = |name| self.secret.clone().map(|secret| (name, secret));
        match self.source() {
            ManagedIdentitySource::Imds
            | ManagedIdentitySource::AzureArc
            | ManagedIdentitySource::CloudShell => vec![metadata()],
            ManagedIdentitySource::AppService => secret("X-IDENTITY-HEADER").into_iter().collect(),
            ManagedIdentitySource::ServiceFabric => secret("secret").into_iter().collect(),
            ManagedIdentitySource::MachineLearning => {
                secret("secret").into_iter().chain([metadata()]).collect()
            }
        }
    }

    /// The parameter that selects the identity.
    fn selector(&self, identity: &ManagedIdentity) -> Result<Option<(&'static str, String)>> {
        let kind = identity.kind();
        let name = match (self.source(), kind) {
            (ManagedIdentitySource::MachineLearning, IdentityKind::SystemAssigned) => {
                // The service requires an id, also for the system-assigned identity.
                let default = self.default_client_id.as_ref();
                return Ok(default.map(|id| ("clientid", id.as_str().to_owned())));
            }
            (_, IdentityKind::SystemAssigned) => return Ok(None),
            (ManagedIdentitySource::MachineLearning, IdentityKind::ClientId) => "clientid",
            (ManagedIdentitySource::ServiceFabric, IdentityKind::ObjectId) => "principalId",
            (
                ManagedIdentitySource::MachineLearning
                | ManagedIdentitySource::ServiceFabric
                | ManagedIdentitySource::CloudShell,
                _,
            ) => return Err(self.unsupported()),
            (_, IdentityKind::ClientId) => "client_id",
            (_, IdentityKind::ObjectId) => "object_id",
            (ManagedIdentitySource::AppService, IdentityKind::ResourceId) => "mi_res_id",
            // Azure Arc ignores `mi_res_id` and returns the token of the system-assigned identity.
            (_, IdentityKind::ResourceId) => "msi_res_id",
        };
        Ok(identity.id().map(|id| (name, id.to_owned())))
    }

    fn unsupported(&self) -> Error {
        let source = self.source();
        let accepted = match source {
            ManagedIdentitySource::MachineLearning => {
                "the system-assigned identity or the client id of another one"
            }
            ManagedIdentitySource::ServiceFabric => {
                "the identity of the application or the object id of another one"
            }
            _ => "no id: its token is that of the signed-in user",
        };
        Error::new(
            ErrorKind::IdentityUnsupported,
            Stage::Request,
            format!("{source} accepts {accepted}"),
        )
    }

    /// Capabilities and the hash of a revoked token, if the source accepts them.
    fn revocation(&self, query: &SourceQuery<'_>) -> Vec<(&'static str, String)> {
        if self.source() != ManagedIdentitySource::ServiceFabric {
            return Vec::new();
        }
        let mut pairs = Vec::new();
        if !query.capabilities.is_empty() {
            pairs.push(("xms_cc", query.capabilities.join(",")));
        }
        if let Some(token) = query.revoked {
            pairs.push(("token_sha256_to_refresh", sha256_hex(token)));
        }
        pairs
    }
}

impl fmt::Debug for SourceRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.headers.iter().map(|(name, _)| name).collect();
        f.debug_struct("SourceRequest")
            .field("method", &self.method)
            .field("headers", &names)
            .finish_non_exhaustive()
    }
}

/// In lower case.
fn sha256_hex(token: &SecretString) -> String {
    use fmt::Write as _;
    let digest = Sha256::digest(token.expose());
    digest.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
