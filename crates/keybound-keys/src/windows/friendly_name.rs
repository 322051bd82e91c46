//! The friendly names of MSAL .NET. They hold what is stored of a certificate beside the certificate itself and its key.
use crate::StoredBinding;
use keybound_core::{Attestation, BindingCacheKey, Certificate, Guid, IdentityKind};

/// The friendly name of a certificate: `MSAL|alias=<alias>|ep=<endpoint>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FriendlyName {
    pub(crate) alias: String,
    /// `<mTLS endpoint>/<tenant>`.
    pub(crate) endpoint: String,
}

/// The alias of MSAL .NET for an identity: `<id>#att=1` if its key was attested, `<id>#att=0` if not. The id is as it was
/// configured: aliases are case-sensitive. `None` for simulated attestations, which are not stored.
pub(crate) fn alias(key: &BindingCacheKey) -> Option<String> {
    let attested = match key.attestation {
        Attestation::Attested => 1,
        Attestation::None => 0,
        _ => return None,
    };
    let id = key.identity.configured_id();
    let id = id.unwrap_or("system_assigned_managed_identity");
    Some(format!("{id}#att={attested}"))
}

impl FriendlyName {
    /// `None` if an entry cannot represent the binding: its attestation is simulated, or its token endpoint is not at the
    /// usual path.
    pub(crate) fn new(key: &BindingCacheKey, binding: &StoredBinding) -> Option<Self> {
        let origin = binding.endpoint.trim_end_matches('/');
        let endpoint = format!("{origin}/{}", binding.tenant_id);
        let is_usual = binding.token_endpoint == token_endpoint(&endpoint);
        let alias = alias(key)?;
        is_usual.then_some(Self { alias, endpoint })
    }

    /// `None` if a value is blank or contains a delimiter.
    pub(crate) fn encode(&self) -> Option<String> {
        let (alias, endpoint) = (self.alias.trim(), self.endpoint.trim());
        let is_value = |text: &str| !text.is_empty() && !text.contains(['|', '\r', '\n', '\0']);
        (is_value(alias) && is_value(endpoint)).then(|| format!("MSAL|alias={alias}|ep={endpoint}"))
    }

    /// Parses a friendly name. Unknown members are ignored, and the last of duplicate members counts, as in MSAL.
    pub(crate) fn decode(text: &str) -> Option<Self> {
        let (mut alias, mut endpoint) = ("", "");
        for (name, value) in text
            .strip_prefix("MSAL|")?
            .split('|')
            .filter_map(|part| part.split_once('='))
        {
            match name.trim() {
                "alias" => alias = value.trim(),
                "ep" => endpoint = value.trim(),
                _ => {}
            }
        }
        let is_complete = !alias.is_empty() && !endpoint.is_empty();
        is_complete.then(|| Self {
            alias: alias.to_owned(),
            endpoint: endpoint.to_owned(),
        })
    }

    /// The binding of an entry with this name. The client id is the certificate's CN.
    pub(crate) fn binding(
        &self,
        key: &BindingCacheKey,
        certificate: Certificate,
        key_name: String,
    ) -> Option<StoredBinding> {
        let (endpoint, tenant) = self.endpoint.trim_end_matches('/').rsplit_once('/')?;
        let client_id = Guid::parse(certificate.common_name()?)?;
        let identity = &key.identity;
        // The alias does not name the kind of the id: an object id must not be served a client id's certificate.
        if identity.kind() == IdentityKind::ObjectId
            && identity.id().is_some_and(|id| client_id.matches(id))
        {
            return None;
        }
        let identity_type = match identity.kind() {
            IdentityKind::SystemAssigned => "SystemAssigned",
            _ => "UserAssigned",
        };
        Some(StoredBinding {
            certificate,
            client_id,
            tenant_id: Guid::parse(tenant)?,
            identity_type: identity_type.to_owned(),
            endpoint: endpoint.to_owned(),
            token_endpoint: token_endpoint(&self.endpoint),
            key_name,
        })
    }
}

fn token_endpoint(endpoint: &str) -> String {
    format!("{}/oauth2/v2.0/token", endpoint.trim_end_matches('/'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::BindingKey as _;
    use crate::memory::MemoryKey;
    use crate::windows::testing::certificates::{ISSUER, certificate as issue};
    use keybound_core::ManagedIdentity;
    use std::sync::LazyLock;

    const CLIENT: &str = "11111111-2222-3333-4444-55555555555a";
    const TENANT: &str = "66666666-2222-3333-4444-55555555555b";
    static KEY: LazyLock<MemoryKey> = LazyLock::new(|| MemoryKey::generate().unwrap());

    fn certificate(common_name: &str) -> Certificate {
        issue(KEY.public_key_der(), common_name, ISSUER, 30)
    }

    fn key(identity: ManagedIdentity, attestation: Attestation) -> BindingCacheKey {
        BindingCacheKey {
            identity,
            attestation,
        }
    }

    fn binding(identity_type: &str) -> StoredBinding {
        StoredBinding {
            certificate: certificate(CLIENT),
            client_id: Guid::parse(CLIENT).unwrap(),
            tenant_id: Guid::parse(TENANT).unwrap(),
            identity_type: identity_type.to_owned(),
            endpoint: "https://westus.mtlsauth.microsoft.com/".to_owned(),
            token_endpoint: format!(
                "https://westus.mtlsauth.microsoft.com/{TENANT}/oauth2/v2.0/token"
            ),
            key_name: "KeyGuardRSAKey".to_owned(),
        }
    }

    fn name(alias: &str, endpoint: &str) -> FriendlyName {
        FriendlyName {
            alias: alias.to_owned(),
            endpoint: endpoint.to_owned(),
        }
    }

    #[test]
    fn round_trips_a_binding_in_the_format_of_msal() {
        let system = key(ManagedIdentity::system_assigned(), Attestation::Attested);
        let binding = binding("SystemAssigned");
        let name = FriendlyName::new(&system, &binding).unwrap();
        let text = name.encode().unwrap();
        assert_eq!(
            text,
            format!(
                "MSAL|alias=system_assigned_managed_identity#att=1|ep=https://westus.mtlsauth.microsoft.com/{TENANT}"
            )
        );
        assert_eq!(FriendlyName::decode(&text).as_ref(), Some(&name));
        let (certificate, key_name) = (binding.certificate.clone(), binding.key_name.clone());
        let mut restored = name.binding(&system, certificate, key_name).unwrap();
        restored.endpoint.push('/');
        assert_eq!(restored, binding);
    }

    #[test]
    fn aliases_contain_the_id_as_configured() {
        let upper = CLIENT.to_uppercase();
        let resource = "/subscriptions/S/resourceGroups/G";
        for (identity, id) in [
            (ManagedIdentity::client_id(&upper), &*upper),
            (ManagedIdentity::object_id(&upper), &*upper),
            (ManagedIdentity::client_id(CLIENT), CLIENT),
            (ManagedIdentity::resource_id(resource), resource),
        ] {
            let key = key(identity.unwrap(), Attestation::Attested);
            assert_eq!(alias(&key), Some(format!("{id}#att=1")));
        }
    }

    #[test]
    fn unusual_token_endpoints_are_not_stored() {
        let user = ManagedIdentity::client_id(CLIENT).unwrap();
        let mut binding = binding("UserAssigned");
        binding.token_endpoint.push_str("?x=y");
        let key = key(user, Attestation::None);
        assert_eq!(FriendlyName::new(&key, &binding), None);
    }

    #[test]
    fn attested_or_error_never_shares_an_entry_and_simulated_ones_are_not_stored() {
        let user = ManagedIdentity::client_id(CLIENT).unwrap();
        let alias = |attestation| alias(&key(user.clone(), attestation));
        assert_eq!(
            alias(Attestation::Attested),
            Some(format!("{CLIENT}#att=1"))
        );
        assert_eq!(alias(Attestation::None), Some(format!("{CLIENT}#att=0")));
        assert_eq!(alias(Attestation::Simulated), None);
    }

    #[test]
    fn rejects_incomplete_entries_and_those_of_another_identity() {
        let user = key(
            ManagedIdentity::client_id(CLIENT).unwrap(),
            Attestation::None,
        );
        let endpoint = format!("https://e.example/{TENANT}");
        let is_restored = |key: &BindingCacheKey, common_name: &str, endpoint: &str| {
            let name = name("a", endpoint);
            name.binding(key, certificate(common_name), "K".to_owned())
                .is_some()
        };
        assert!(is_restored(&user, CLIENT, &endpoint));
        assert!(is_restored(&user, CLIENT, &format!("{endpoint}/")));
        assert!(!is_restored(&user, "somebody", &endpoint));
        for endpoint in ["https://e.example/", "https://e.example/t", TENANT, ""] {
            assert!(!is_restored(&user, CLIENT, endpoint), "{endpoint}");
        }
        let object = key(
            ManagedIdentity::object_id(CLIENT).unwrap(),
            Attestation::None,
        );
        assert!(!is_restored(&object, CLIENT, &endpoint));
        assert!(is_restored(&object, TENANT, &endpoint));
    }

    #[test]
    fn values_with_delimiters_are_not_encoded() {
        for (alias, endpoint) in [
            ("a|b", "e"),
            ("a", "e|ep=x"),
            ("a\n", "e\nf"),
            ("a\0b", "e"),
            (" ", "e"),
            ("a", ""),
        ] {
            assert_eq!(
                name(alias, endpoint).encode(),
                None,
                "{alias:?} {endpoint:?}"
            );
        }
    }

    #[test]
    fn reads_entries_of_other_programs() {
        for (text, expected) in [
            ("MSAL|alias=a|ep=e|new=1", Some(name("a", "e"))),
            ("MSAL|ep=e|alias= a=b ", Some(name("a=b", "e"))),
            ("MSAL|alias=a|alias=b|ep=e", Some(name("b", "e"))),
            ("MSAL|alias=a", None),
            ("MSAL|alias= |ep=e", None),
            ("msal|alias=a|ep=e", None),
            ("My certificate", None),
            ("", None),
        ] {
            assert_eq!(FriendlyName::decode(text), expected, "{text}");
        }
    }
}
