use crate::call::Call;
use crate::response::{Response, allow, oauth_error};
use http::Method;

/// Why a source rejects a request. Each source has its own form of error response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Problem {
    /// Another path.
    NotFound,
    /// Another method than this.
    Method(Method),
    /// No header `Metadata: true`.
    Metadata,
    /// The header `X-Forwarded-For`: the request came through a proxy.
    Forwarded,
    /// No header with the secret of the environment.
    SecretMissing,
    /// It has another value.
    SecretWrong,
    ApiVersionMissing,
    ApiVersionUnsupported,
    ParameterUnknown,
    ParameterRepeated,
    /// A parameter with an invalid value.
    ParameterInvalid(&'static str),
    ResourceMissing,
    /// The resource is a scope or not a name.
    ResourceInvalid,
    /// No identity is named, and the source requires it.
    IdentityMissing,
    /// Two identities, or one in two ways, are named.
    IdentityRepeated,
    /// The host has no such identity.
    IdentityUnknown,
    /// No identity is named, and the host has no system-assigned one.
    IdentityAbsent,
    /// No identity is named, and the host has several user-assigned ones only.
    IdentityAmbiguous,
    /// No authorization with the content of a key file (Azure Arc); the response is a challenge.
    Unauthorized,
    /// A key, a file or random bytes could not be created.
    Internal,
}

impl Problem {
    /// The reason, for records and errors.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::NotFound => "The requested resource was not found",
            Self::Method(_) => "The method is not allowed for this resource",
            Self::Metadata => "Required metadata header not specified",
            Self::Forwarded => {
                "X-Forwarded-For header is not allowed: the request came through a proxy"
            }
            Self::SecretMissing => "The header with the secret is missing",
            Self::SecretWrong => "The header with the secret has another value",
            Self::ApiVersionMissing => "Required query variable 'api-version' is missing",
            Self::ApiVersionUnsupported => "The api-version is not supported",
            Self::ParameterUnknown => "Unsupported query variables",
            Self::ParameterRepeated => "A parameter occurs twice in the request",
            Self::ParameterInvalid(reason) => reason,
            Self::ResourceMissing => "Required query variable 'resource' is missing",
            Self::ResourceInvalid => {
                "AADSTS500011: The resource principal was not found in the tenant: 'resource' is the identifier of a resource, not a scope"
            }
            Self::IdentityMissing => "The request names no identity",
            Self::IdentityRepeated => "Identities are named in two ways",
            Self::IdentityUnknown => "Identity not found",
            Self::IdentityAbsent => "The host has no system-assigned identity",
            Self::IdentityAmbiguous => {
                "Multiple user assigned identities exist, please specify the clientId / resourceId of the identity in the token request"
            }
            Self::Unauthorized => "The request is not authorized by the content of a key file",
            Self::Internal => "An internal error occurred",
        }
    }

    /// The status in most sources.
    pub fn status(&self) -> u16 {
        match self {
            Self::NotFound => 404,
            Self::Method(_) => 405,
            Self::SecretMissing | Self::SecretWrong | Self::Unauthorized => 401,
            Self::Internal => 500,
            _ => 400,
        }
    }

    /// Records the problem, and completes the source's response to it.
    pub fn respond(&self, call: &mut Call, response: Response) -> Response {
        call.note("refused", self.reason());
        match self {
            Self::Method(method) => allow(response, method),
            _ => response,
        }
    }
}

/// The response of IMDS and of Azure Arc.
pub(crate) fn oauth_response(problem: &Problem) -> Response {
    let error = match problem {
        Problem::NotFound => "not_found",
        Problem::Method(_) => "method_not_allowed",
        Problem::Unauthorized => "unauthorized_client",
        Problem::ResourceInvalid => "invalid_resource",
        Problem::Internal => "internal_server_error",
        _ => "invalid_request",
    };
    oauth_error(problem.status(), error, problem.reason())
}
