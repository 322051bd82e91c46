use super::ManagedIdentitySource;
use crate::{ErrorKind, IdentityKind, ManagedIdentity, ServiceError};

/// The kind of an error response of a source.
pub fn source_error_kind(
    source: ManagedIdentitySource,
    identity: &ManagedIdentity,
    status: u16,
    service: Option<&ServiceError>,
) -> ErrorKind {
    let named = identity.kind() != IdentityKind::SystemAssigned;
    match status {
        300..=399 => ErrorKind::RedirectNotAllowed,
        400..=404 if service.is_some_and(is_identity_not_found) => ErrorKind::IdentityNotFound,
        // The agent has no such identity; it knows no other resource.
        404 if source == ManagedIdentitySource::AzureArc && named => ErrorKind::IdentityNotFound,
        408 | 410 | 429 | 500..=599 => ErrorKind::ServiceUnavailable,
        200..=299 | ..=199 => ErrorKind::InvalidResponse,
        _ => ErrorKind::Refused,
    }
}

fn is_identity_not_found(service: &ServiceError) -> bool {
    let is = |field: &Option<String>, values: &[&str]| {
        let field = field.as_deref().unwrap_or_default().trim();
        values.iter().any(|value| field.eq_ignore_ascii_case(value))
    };
    if is(&service.error, &CODES) || is(&service.description, &DESCRIPTIONS) {
        return true;
    }
    let description = service.description.as_deref().unwrap_or_default();
    SENTENCES
        .iter()
        .any(|sentence| description.starts_with(sentence))
}

/// IMDS; Service Fabric; Container Instances.
const CODES: [&str; 3] = [
    "identity_not_found",
    "ManagedIdentityNotFound",
    "DefaultIdentityNotDefined",
];
/// IMDS v1, under `invalid_request`.
const DESCRIPTIONS: [&str; 1] = ["Identity not found"];
/// App Service, which has no error code.
const SENTENCES: [&str; 3] = [
    "No User Assigned or Delegated Managed Identity found",
    "No Managed Identity found",
    "No MSI found",
];
