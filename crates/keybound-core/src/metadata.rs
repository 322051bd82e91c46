use crate::json::read_response;
use crate::text::is_unsafe;
use crate::{
    EndpointPolicy, Error, ErrorKind, Guid, ManagedIdentity, Result, Stage, attestation_endpoint,
};
use serde::{Deserialize, Serialize};
use url::Url;

/// What IMDS says of the host and its identity (`getplatformmetadata`, `cred-api-version=2.0`). Complete or not at all.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PlatformMetadata {
    /// The identity's client id, in the letters that IMDS gave.
    pub client_id: Guid,
    /// The tenant, in the letters that IMDS gave.
    pub tenant_id: Guid,
    /// What the certificate signing request carries of the machine.
    pub cu_id: CuId,
    /// The origin of the attestation service, checked by the [`EndpointPolicy`].
    pub attestation_endpoint: Url,
}

impl PlatformMetadata {
    /// Reads the answer's body.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidResponse`] where a member is missing, empty or malformed; [`ErrorKind::ResponseTooLarge`] beyond
    /// [`MAX_BODY`](crate::MAX_BODY); [`ErrorKind::EndpointRefused`] where the attestation endpoint is not allowed.
    pub fn parse(body: &[u8], policy: &EndpointPolicy) -> Result<Self> {
        let wire: Wire = read_response(body, Stage::Metadata, "the platform metadata")?;
        let guid = |text: &str, message| {
            Guid::parse(text).ok_or_else(|| Error::invalid_response(Stage::Metadata, message))
        };
        Ok(Self {
            client_id: guid(
                &wire.client_id,
                "clientId of the platform metadata is not a GUID",
            )?,
            tenant_id: guid(
                &wire.tenant_id,
                "tenantId of the platform metadata is not a GUID",
            )?,
            cu_id: CuId::new(wire.cu_id.vm_id, wire.cu_id.vmss_id)?,
            attestation_endpoint: attestation_endpoint(&wire.attestation_endpoint, policy)?,
        })
    }

    /// Checks that it is of the identity asked for, where that was named by its client id: no key need be made for
    /// another one.
    ///
    /// # Errors
    /// [`ErrorKind::IdentityMismatch`].
    pub fn check_identity(&self, asked: &ManagedIdentity) -> Result<()> {
        if asked.accepts_client_id(&self.client_id) {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::IdentityMismatch,
            Stage::Metadata,
            "the platform metadata is for another client id than the one asked for",
        ))
    }
}

/// The machine's id (`cuId`): of the VM, of its scale set, or both.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CuId {
    #[serde(rename = "vmId", skip_serializing_if = "Option::is_none")]
    vm_id: Option<String>,
    #[serde(rename = "vmssId", skip_serializing_if = "Option::is_none")]
    vmss_id: Option<String>,
}

impl CuId {
    /// Takes the two members; an empty one counts as absent, since a request that carries it is refused.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidResponse`] where both are absent, or one is longer than 128 bytes or holds characters that
    /// cannot be shown.
    pub fn new(vm_id: Option<String>, vmss_id: Option<String>) -> Result<Self> {
        let wrong = |message| Err(Error::invalid_response(Stage::Metadata, message));
        let present = |text: Option<String>| text.filter(|text| !text.is_empty());
        let cu_id = Self {
            vm_id: present(vm_id),
            vmss_id: present(vmss_id),
        };
        let mut members = cu_id.vm_id.iter().chain(&cu_id.vmss_id);
        if cu_id.vm_id.is_none() && cu_id.vmss_id.is_none() {
            return wrong("cuId of the platform metadata has neither vmId nor vmssId");
        }
        if members.any(|text| text.len() > LONGEST_ID || text.chars().any(is_unsafe)) {
            return wrong("cuId of the platform metadata is malformed");
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

    /// The compact JSON that goes into the certificate signing request, absent members left out.
    pub fn to_json(&self) -> String {
        // Fails for writers that fail and maps with odd keys; here is neither.
        serde_json::to_string(self).expect("two strings always make JSON")
    }
}

/// Whether the value of a `Server` header names IMDS (real: `IMDS/150.870.65.1854`). On plain HTTP it is the only sign
/// of who answers.
pub fn is_imds_server(header: &[u8]) -> bool {
    header.windows(4).any(|name| name == b"IMDS")
}

impl Error {
    /// The capability answer: this host has IMDS v1 only.
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

const LONGEST_ID: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"{"clientId":"11111111-1111-1111-1111-11111111111A","tenantId":"22222222-2222-2222-2222-222222222222",
        "cuId":{"vmId":"v","vmssId":""},"attestationEndpoint":"https://maa.attest.azure.net"}"#;

    fn parse(text: &str) -> Result<PlatformMetadata> {
        PlatformMetadata::parse(text.as_bytes(), &EndpointPolicy::default())
    }

    #[test]
    fn a_complete_answer_is_read_and_its_letters_are_kept() {
        let metadata = parse(GOOD).unwrap();
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
    fn both_members_of_cu_id_come_in_order() {
        let cu_id = CuId::new(Some("a\"b".into()), Some("s".into())).unwrap();
        assert_eq!(cu_id.to_json(), r#"{"vmId":"a\"b","vmssId":"s"}"#);
        assert_eq!((cu_id.vm_id(), cu_id.vmss_id()), (Some("a\"b"), Some("s")));
        let cu_id = CuId::new(Some(String::new()), Some("s".into())).unwrap();
        assert_eq!((cu_id.vm_id(), cu_id.vmss_id()), (None, Some("s")));
    }

    #[test]
    fn every_member_is_required() {
        for member in ["clientId", "tenantId", "cuId", "attestationEndpoint"] {
            let error = parse(&GOOD.replace(member, "other")).unwrap_err();
            assert_eq!(
                (error.kind(), error.stage()),
                (ErrorKind::InvalidResponse, Stage::Metadata),
                "{member}"
            );
        }
        for (good, bad) in [
            (r#""v""#, r#""""#),
            ("11111111-1111", "x"),
            ("22222222-2222", "x"),
            (r#"{"vmId":"v","vmssId":""}"#, "{}"),
            (r#"{"vmId":"v","vmssId":""}"#, r#""v""#),
        ] {
            assert_eq!(
                parse(&GOOD.replace(good, bad)).unwrap_err().kind(),
                ErrorKind::InvalidResponse,
                "{bad}"
            );
        }
        for body in ["<html>", "", "[]", "null", &format!("{GOOD} x")] {
            assert_eq!(
                parse(body).unwrap_err().kind(),
                ErrorKind::InvalidResponse,
                "{body}"
            );
        }
    }

    #[test]
    fn bounded_input() {
        let body = GOOD.to_owned() + &" ".repeat(crate::MAX_BODY);
        assert_eq!(
            parse(&body).unwrap_err().kind(),
            ErrorKind::ResponseTooLarge
        );
        let long = GOOD.replace(r#""v""#, &format!("\"{}\"", "v".repeat(129)));
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
            let error = parse(&GOOD.replace("https://maa.attest.azure.net", endpoint)).unwrap_err();
            assert_eq!(
                (error.kind(), error.stage()),
                (ErrorKind::EndpointRefused, Stage::Metadata),
                "{endpoint}"
            );
        }
    }

    #[test]
    fn identity_as_asked() {
        let metadata = parse(GOOD).unwrap();
        let same = "11111111-1111-1111-1111-11111111111a";
        let other = "11111111-1111-1111-1111-11111111111b";
        for asked in [
            ManagedIdentity::system_assigned(),
            ManagedIdentity::client_id(same).unwrap(),
            ManagedIdentity::object_id(other).unwrap(),
        ] {
            metadata.check_identity(&asked).unwrap();
        }
        let error = metadata
            .check_identity(&ManagedIdentity::client_id(other).unwrap())
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::IdentityMismatch);
    }

    #[test]
    fn only_imds_signs_as_imds() {
        assert!(is_imds_server(b"IMDS/150.870.65.1854"));
        assert!(is_imds_server(b"IMDS/1 (M\xfcnchen)"));
        assert!(!is_imds_server(b"nginx"));
        assert!(!is_imds_server(b""));
    }
}
