use crate::json::read_response;
use crate::text::is_unprintable;
use crate::{
    EndpointPolicy, Error, ErrorKind, Guid, ManagedIdentity, Result, Stage, attestation_endpoint,
};
use serde::{Deserialize, Serialize};
use url::Url;

/// The platform metadata: what IMDS reports about host and identity (`getplatformmetadata`, `cred-api-version=2.0`).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PlatformMetadata {
    /// The identity's client id, in the case that IMDS uses.
    pub client_id: Guid,
    /// The tenant id, in the case that IMDS uses.
    pub tenant_id: Guid,
    /// The compute unit id, which the certificate signing request contains.
    pub cu_id: CuId,
    /// The origin of the attestation service, which the [`EndpointPolicy`] allows.
    pub attestation_endpoint: Url,
}

impl PlatformMetadata {
    /// Parses the body of the response.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidResponse`] if a member is missing, empty or malformed; [`ErrorKind::ResponseTooLarge`] beyond
    /// [`MAX_BODY`](crate::MAX_BODY); [`ErrorKind::EndpointNotAllowed`] if the attestation endpoint is not allowed.
    pub fn parse(body: &[u8], policy: &EndpointPolicy) -> Result<Self> {
        let wire: Wire = read_response(body, Stage::Metadata, "the platform metadata")?;
        let guid = |text: &str, what| Guid::from_response(text, Stage::Metadata, what);
        Ok(Self {
            client_id: guid(&wire.client_id, "clientId of the platform metadata")?,
            tenant_id: guid(&wire.tenant_id, "tenantId of the platform metadata")?,
            cu_id: CuId::new(wire.cu_id.vm_id, wire.cu_id.vmss_id)?,
            attestation_endpoint: attestation_endpoint(&wire.attestation_endpoint, policy)?,
        })
    }

    /// Checks that it is for the requested identity, if that is selected by its client id, before a key is created.
    ///
    /// # Errors
    /// [`ErrorKind::IdentityMismatch`].
    pub fn check_identity(&self, requested: &ManagedIdentity) -> Result<()> {
        if requested.accepts_client_id(&self.client_id) {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::IdentityMismatch,
            Stage::Metadata,
            "the platform metadata is for another client id than the requested one",
        ))
    }
}

/// The compute unit id (`cuId`): VM id, scale set id, or both.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CuId {
    #[serde(rename = "vmId", skip_serializing_if = "Option::is_none")]
    vm_id: Option<String>,
    #[serde(rename = "vmssId", skip_serializing_if = "Option::is_none")]
    vmss_id: Option<String>,
}

impl CuId {
    /// Creates it from its members. An empty one is treated as missing, since IMDS rejects requests that contain it.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidResponse`] if both are missing, or one is longer than 128 bytes or contains characters that are
    /// not printable.
    pub fn new(vm_id: Option<String>, vmss_id: Option<String>) -> Result<Self> {
        let invalid = |message| Err(Error::invalid_response(Stage::Metadata, message));
        let present = |text: Option<String>| text.filter(|text| !text.is_empty());
        let cu_id = Self {
            vm_id: present(vm_id),
            vmss_id: present(vmss_id),
        };
        let mut members = cu_id.vm_id.iter().chain(&cu_id.vmss_id);
        if cu_id.vm_id.is_none() && cu_id.vmss_id.is_none() {
            return invalid("cuId of the platform metadata has neither vmId nor vmssId");
        }
        if members.any(|text| text.len() > MAX_ID || text.chars().any(is_unprintable)) {
            return invalid("cuId of the platform metadata is malformed");
        }
        Ok(cu_id)
    }

    /// The id of the virtual machine.
    pub fn vm_id(&self) -> Option<&str> {
        self.vm_id.as_deref()
    }

    /// The id of the scale set.
    pub fn vmss_id(&self) -> Option<&str> {
        self.vmss_id.as_deref()
    }

    /// The compact JSON in the certificate signing request, without missing members.
    pub fn to_json(&self) -> String {
        // Fails only for writers that fail and maps whose keys are not strings.
        serde_json::to_string(self).expect("strings can be written as JSON")
    }
}

/// Whether the value of a `Server` header names IMDS (for example `IMDS/150.870.65.1854`). On plain HTTP nothing else
/// identifies the peer.
pub fn is_imds_server(header: &[u8]) -> bool {
    header.windows(4).any(|name| name == b"IMDS")
}

impl Error {
    /// The error for a host whose IMDS supports only v1.
    pub fn imds_v2_unavailable() -> Self {
        Self::new(
            ErrorKind::ImdsV2Unavailable,
            Stage::Metadata,
            "this host's IMDS does not offer managed identity v2 (only v1)",
        )
        .with_status(404)
    }
}

#[derive(Deserialize)]
struct Wire {
    #[serde(rename = "clientId")]
    client_id: String,
    #[serde(rename = "tenantId")]
    tenant_id: String,
    #[serde(rename = "cuId")]
    cu_id: WireCuId,
    #[serde(rename = "attestationEndpoint")]
    attestation_endpoint: String,
}

#[derive(Deserialize)]
struct WireCuId {
    #[serde(rename = "vmId")]
    vm_id: Option<String>,
    #[serde(rename = "vmssId")]
    vmss_id: Option<String>,
}

const MAX_ID: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    const METADATA: &str = r#"{"clientId":"11111111-1111-1111-1111-11111111111A","tenantId":"22222222-2222-2222-2222-222222222222",
        "cuId":{"vmId":"v","vmssId":""},"attestationEndpoint":"https://maa.attest.azure.net"}"#;

    fn parse(text: &str) -> Result<PlatformMetadata> {
        PlatformMetadata::parse(text.as_bytes(), &EndpointPolicy::default())
    }

    #[test]
    fn parses_metadata_and_keeps_case() {
        let metadata = parse(METADATA).unwrap();
        assert_eq!(
            metadata.client_id.as_str(),
            "11111111-1111-1111-1111-11111111111A"
        );
        assert_eq!(metadata.cu_id.to_json(), r#"{"vmId":"v"}"#);
        assert_eq!(
            metadata.attestation_endpoint.as_str(),
            "https://maa.attest.azure.net/"
        );
    }

    #[test]
    fn writes_members_of_cu_id_in_order() {
        let cu_id = CuId::new(Some("a\"b".into()), Some("s".into())).unwrap();
        assert_eq!(cu_id.to_json(), r#"{"vmId":"a\"b","vmssId":"s"}"#);
        assert_eq!((cu_id.vm_id(), cu_id.vmss_id()), (Some("a\"b"), Some("s")));
        let cu_id = CuId::new(Some(String::new()), Some("s".into())).unwrap();
        assert_eq!((cu_id.vm_id(), cu_id.vmss_id()), (None, Some("s")));
    }

    #[test]
    fn requires_every_member() {
        for member in ["clientId", "tenantId", "cuId", "attestationEndpoint"] {
            let error = parse(&METADATA.replace(member, "other")).unwrap_err();
            assert_eq!(
                (error.kind(), error.stage()),
                (ErrorKind::InvalidResponse, Stage::Metadata),
                "{member}"
            );
        }
        for (valid, invalid) in [
            (r#""v""#, r#""""#),
            ("11111111-1111", "x"),
            ("22222222-2222", "x"),
            (r#"{"vmId":"v","vmssId":""}"#, "{}"),
            (r#"{"vmId":"v","vmssId":""}"#, r#""v""#),
        ] {
            assert_eq!(
                parse(&METADATA.replace(valid, invalid)).unwrap_err().kind(),
                ErrorKind::InvalidResponse,
                "{invalid}"
            );
        }
        for body in ["<html>", "", "[]", "null", &format!("{METADATA} x")] {
            assert_eq!(
                parse(body).unwrap_err().kind(),
                ErrorKind::InvalidResponse,
                "{body}"
            );
        }
    }

    #[test]
    fn bounded_input() {
        let body = METADATA.to_owned() + &" ".repeat(crate::MAX_BODY);
        assert_eq!(
            parse(&body).unwrap_err().kind(),
            ErrorKind::ResponseTooLarge
        );
        let long = METADATA.replace(r#""v""#, &format!("\"{}\"", "v".repeat(129)));
        assert_eq!(parse(&long).unwrap_err().kind(), ErrorKind::InvalidResponse);
    }

    #[test]
    fn endpoints_checked() {
        for endpoint in [
            "http://maa.attest.azure.net",
            "https://127.0.0.1",
            "https://u@maa.attest.azure.net",
            "",
        ] {
            let error =
                parse(&METADATA.replace("https://maa.attest.azure.net", endpoint)).unwrap_err();
            assert_eq!(
                (error.kind(), error.stage()),
                (ErrorKind::EndpointNotAllowed, Stage::Metadata),
                "{endpoint}"
            );
        }
    }

    #[test]
    fn identity_as_asked() {
        let metadata = parse(METADATA).unwrap();
        let same = "11111111-1111-1111-1111-11111111111a";
        let other = "11111111-1111-1111-1111-11111111111b";
        for identity in [
            ManagedIdentity::system_assigned(),
            ManagedIdentity::client_id(same).unwrap(),
            ManagedIdentity::object_id(other).unwrap(),
        ] {
            metadata.check_identity(&identity).unwrap();
        }
        let error = metadata
            .check_identity(&ManagedIdentity::client_id(other).unwrap())
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::IdentityMismatch);
    }

    #[test]
    fn recognizes_server_header_of_imds() {
        assert!(is_imds_server(b"IMDS/150.870.65.1854"));
        assert!(is_imds_server(b"IMDS/1 (M\xfcnchen)"));
        assert!(!is_imds_server(b"nginx"));
        assert!(!is_imds_server(b""));
    }
}
