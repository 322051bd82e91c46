//! Entries in the form that MSAL .NET keeps them in: certificate, endpoint with tenant, name of the key. The rest follows
//! from these, or the entry is not kept.
use super::StoredBinding;
use keybound_core::{Attestation, BindingCacheKey, Certificate, Guid, IdentityKind};

/// The id that an identity goes by, in the letters in which it was configured, and whether attested. `None` for what is not kept: what an emulator vouched for.
pub(super) fn name_of(key: &BindingCacheKey) -> Option<(Option<&str>, bool)> {
    let attested = match key.attestation {
        Attestation::Attested => true,
        Attestation::None => false,
        _ => return None,
    };
    Some((key.identity.configured_id(), attested))
}

/// `<mTLS endpoint>/<tenant>`. `None` where the token is asked for anywhere but at the usual place below it, which would
/// be forgotten.
pub(super) fn endpoint_of(entry: &StoredBinding) -> Option<String> {
    let base = format!(
        "{}/{}",
        entry.endpoint.trim_end_matches('/'),
        entry.tenant_id
    );
    (entry.token_endpoint == token_endpoint(&base)).then_some(base)
}

/// An entry from what is kept of it. The client id is the certificate's CN.
pub(super) fn restore(
    key: &BindingCacheKey,
    certificate: Certificate,
    base: &str,
    key_name: String,
) -> Option<StoredBinding> {
    let (endpoint, tenant) = base.trim_end_matches('/').rsplit_once('/')?;
    let client_id = Guid::parse(certificate.common_name()?)?;
    let identity = &key.identity;
    // The alias does not say which kind of id it is: an object id must not be served what a client id was issued.
    let of_another_kind = identity.kind() == IdentityKind::ObjectId
        && identity.id().is_some_and(|id| client_id.matches(id));
    if of_another_kind {
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
        token_endpoint: token_endpoint(base),
        key_name,
    })
}

fn token_endpoint(base: &str) -> String {
    format!("{}/oauth2/v2.0/token", base.trim_end_matches('/'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use keybound_core::ManagedIdentity;
    use openssl::asn1::Asn1Time;
    use openssl::hash::MessageDigest;
    use openssl::pkey::PKey;
    use openssl::rsa::Rsa;
    use openssl::x509::{X509Builder, X509NameBuilder};

    const CLIENT: &str = "11111111-2222-3333-4444-55555555555a";
    const TENANT: &str = "66666666-2222-3333-4444-55555555555b";

    fn certificate(common_name: &str) -> Certificate {
        let key = PKey::from_rsa(Rsa::generate(2048).unwrap()).unwrap();
        let mut name = X509NameBuilder::new().unwrap();
        name.append_entry_by_text("CN", common_name).unwrap();
        let mut builder = X509Builder::new().unwrap();
        builder.set_subject_name(&name.build()).unwrap();
        builder.set_pubkey(&key).unwrap();
        let end = Asn1Time::days_from_now(7).unwrap();
        builder
            .set_not_before(&Asn1Time::days_from_now(0).unwrap())
            .unwrap();
        builder.set_not_after(&end).unwrap();
        builder.sign(&key, MessageDigest::sha256()).unwrap();
        Certificate::from_der(&builder.build().to_der().unwrap()).unwrap()
    }

    fn key(identity: ManagedIdentity, attestation: Attestation) -> BindingCacheKey {
        BindingCacheKey {
            identity,
            attestation,
        }
    }

    fn entry(identity_type: &str) -> StoredBinding {
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

    #[test]
    fn an_entry_comes_back_as_it_was() {
        let system = key(ManagedIdentity::system_assigned(), Attestation::Attested);
        assert_eq!(name_of(&system), Some((None, true)));
        let entry = entry("SystemAssigned");
        let base = endpoint_of(&entry).unwrap();
        assert_eq!(
            base,
            format!("https://westus.mtlsauth.microsoft.com/{TENANT}")
        );
        let name = entry.key_name.clone();
        let mut restored = restore(&system, entry.certificate.clone(), &base, name).unwrap();
        restored.endpoint.push('/');
        assert_eq!(restored, entry);
    }

    #[test]
    fn identities_go_by_their_ids_in_the_letters_of_the_configuration() {
        let upper = CLIENT.to_uppercase();
        let resource = "/subscriptions/S/resourceGroups/G";
        for (identity, id) in [
            (ManagedIdentity::client_id(&upper), &*upper),
            (ManagedIdentity::object_id(&upper), &*upper),
            (ManagedIdentity::client_id(CLIENT), CLIENT),
            (ManagedIdentity::resource_id(resource), resource),
        ] {
            let key = key(identity.unwrap(), Attestation::Attested);
            assert_eq!(name_of(&key), Some((Some(id), true)));
        }
    }

    #[test]
    fn what_would_be_forgotten_is_not_kept() {
        let mut entry = entry("UserAssigned");
        entry.token_endpoint.push_str("?x=y");
        assert_eq!(endpoint_of(&entry), None);
    }

    #[test]
    fn attested_or_error_never_shares_an_entry_and_simulated_ones_are_not_kept() {
        let user = ManagedIdentity::client_id(CLIENT).unwrap();
        let name =
            |attestation| name_of(&key(user.clone(), attestation)).map(|(_, attested)| attested);
        assert_eq!(name(Attestation::Attested), Some(true));
        assert_eq!(name(Attestation::None), Some(false));
        assert_eq!(name(Attestation::Simulated), None);
    }

    #[test]
    fn what_is_not_whole_or_another_identitys_is_not_restored() {
        let user = key(
            ManagedIdentity::client_id(CLIENT).unwrap(),
            Attestation::None,
        );
        let base = format!("https://e.example/{TENANT}");
        let restored = |key: &BindingCacheKey, name: &str, base: &str| {
            restore(key, certificate(name), base, "K".to_owned()).is_some()
        };
        assert!(restored(&user, CLIENT, &base) && restored(&user, CLIENT, &format!("{base}/")));
        assert!(!restored(&user, "somebody", &base));
        for base in ["https://e.example/", "https://e.example/t", TENANT, ""] {
            assert!(!restored(&user, CLIENT, base), "{base}");
        }
        let object = key(
            ManagedIdentity::object_id(CLIENT).unwrap(),
            Attestation::None,
        );
        assert!(!restored(&object, CLIENT, &base));
        assert!(restored(&object, TENANT, &base));
    }
}
