use super::{CLIENT, TENANT};
use crate::{CertificateBuilder, Leaf, p256_key};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use openssl::ec::{EcGroup, EcKey};
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::rsa::Rsa;
use openssl::sha::sha256;
use openssl::x509::{X509Name, X509NameRef};
use std::collections::BTreeMap;
use std::ops::Range;
use std::time::{Duration, SystemTime};

/// Client certificates by name:
///
/// * `client`: of the managed identity that the tokens are for.
/// * `other`: of the same issuer with the same names, for another key.
/// * `reissued`: of the same issuer with the same names, for the key of `client`.
/// * `other-names`: names another client.
/// * `lower-names`: names the client in the other case.
/// * `expired`, `future`, `soon`: valid until an hour ago, from in an hour, from in a minute.
/// * `rsa-1024`, `p224`: with a weak key.
/// * `rsa-2048`: with an RSA key.
/// * `malformed`, `trailing`, `empty`, `two`: not one certificate.
/// * `injected`: `other` with names that contain the rest of an element of `X-Forwarded-Client-Cert`, with `client` and its hash.
/// * `none`: the client presents none.
#[derive(Clone)]
pub struct ClientCertificates(BTreeMap<&'static str, Leaf>);

impl ClientCertificates {
    /// Certificates that are valid at a time.
    pub fn new(now: SystemTime) -> Self {
        const HOUR: Duration = Duration::from_secs(3600);
        let day = now - 24 * HOUR..now + 24 * HOUR;
        let names = names(CLIENT, TENANT);
        let leaf = |key: PKey<Private>, names: &X509NameRef, validity| {
            let certificate = CertificateBuilder::new(&key)
                .subject_name(names)
                .issuer("managedidentitysnissuer.login.microsoft.com")
                .validity(validity)
                .sign(&p256_key());
            Leaf::new(certificate, key)
        };
        let of_client = |key, validity| leaf(key, &names, validity);
        let other_names = self::names("0badc11e-0000-4000-8000-000000000000", TENANT);
        let lower_names = self::names(&CLIENT.to_uppercase(), &TENANT.to_uppercase());
        let client = of_client(p256_key(), day.clone());
        let injected = injected(&client, &names, day.clone());
        Self(BTreeMap::from([
            ("reissued", of_client(client.key.clone(), day.clone())),
            ("client", client),
            ("injected", injected),
            ("other", of_client(p256_key(), day.clone())),
            ("other-names", leaf(p256_key(), &other_names, day.clone())),
            ("lower-names", leaf(p256_key(), &lower_names, day.clone())),
            ("expired", of_client(p256_key(), day.start..now - HOUR)),
            ("future", of_client(p256_key(), now + HOUR..day.end)),
            ("soon", of_client(p256_key(), now + HOUR / 60..day.end)),
            ("rsa-1024", of_client(rsa(1024), day.clone())),
            ("rsa-2048", of_client(rsa(2048), day.clone())),
            ("p224", of_client(p224(), day)),
        ]))
    }

    /// A certificate with its key.
    ///
    /// # Panics
    /// If there is none of that name.
    pub fn leaf(&self, name: &str) -> &Leaf {
        let leaf = self.0.get(name);
        leaf.unwrap_or_else(|| panic!("there is no certificate {name}"))
    }

    /// The certificate that is this DER, with its key; `None` if there is none, as for a malformed one.
    ///
    /// # Panics
    /// If OpenSSL fails.
    pub fn leaf_of(&self, der: &[u8]) -> Option<&Leaf> {
        let mut leaves = self.0.values();
        leaves.find(|leaf| leaf.certificate.to_der().unwrap() == der)
    }

    /// What a client presents, in DER.
    ///
    /// # Panics
    /// If there is none of that name.
    pub fn der(&self, name: &str) -> Option<Vec<u8>> {
        let client = || self.leaf("client").certificate.to_der().unwrap();
        Some(match name {
            "none" => return None,
            "empty" => vec![],
            "malformed" => b"not a certificate".to_vec(),
            "trailing" => [client(), vec![0]].concat(),
            "two" => [client(), client()].concat(),
            name => self.leaf(name).certificate.to_der().unwrap(),
        })
    }

    /// A certificate as Envoy passes it on, without names that the client chose.
    pub fn xfcc_element(&self, der: &[u8]) -> String {
        format!("By=spiffe://test;{};Subject=\"CN=a\"", hash_and_pem(der))
    }

    /// A certificate as proxies pass it on: PEM with percent-encoding.
    pub fn url_encoded_pem(&self, der: &[u8]) -> String {
        url_encoded_pem(der)
    }
}

/// What Envoy writes about a certificate.
fn hash_and_pem(der: &[u8]) -> String {
    let hash: String = sha256(der)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("Hash={hash};Cert=\"{}\"", url_encoded_pem(der))
}

fn url_encoded_pem(der: &[u8]) -> String {
    let body = STANDARD.encode(der);
    let lines: Vec<&str> = body
        .as_bytes()
        .chunks(64)
        .map(|line| std::str::from_utf8(line).unwrap())
        .collect();
    let pem = format!(
        "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n",
        lines.join("\n")
    );
    let mut encoded = String::new();
    for byte in pem.bytes() {
        if byte.is_ascii_alphanumeric() || byte == b'-' {
            encoded.push(char::from(byte));
        } else {
            encoded += &format!("%{byte:02X}");
        }
    }
    encoded
}

/// CN is the client, DC the tenant.
fn names(client: &str, tenant: &str) -> X509Name {
    let mut name = X509Name::builder().unwrap();
    name.append_entry_by_nid(Nid::COMMONNAME, client).unwrap();
    name.append_entry_by_nid(Nid::DOMAINCOMPONENT, tenant)
        .unwrap();
    name.build()
}

fn injected(client: &Leaf, names: &X509NameRef, validity: Range<SystemTime>) -> Leaf {
    let element = hash_and_pem(&client.certificate.to_der().unwrap());
    let key = p256_key();
    let certificate = CertificateBuilder::new(&key)
        .subject_name(names)
        .issuer("managedidentitysnissuer.login.microsoft.com")
        .validity(validity)
        .uri(&format!("x;{element};URI=x"))
        .sign(&p256_key());
    Leaf::new(certificate, key)
}

fn rsa(bits: u32) -> PKey<Private> {
    PKey::from_rsa(Rsa::generate(bits).unwrap()).unwrap()
}

fn p224() -> PKey<Private> {
    let group = EcGroup::from_curve_name(Nid::SECP224R1).unwrap();
    PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap()
}
