use super::authority::{Authority, Template, common_name_only, p256_key};
use crate::clock::host_now;
use crate::faults::ServerCertificateFault;
use openssl::asn1::{Asn1Object, Asn1OctetString};
use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::pkey::{PKey, Private};
use openssl::x509::extension::{
    BasicConstraints, ExtendedKeyUsage, KeyUsage, SubjectAlternativeName,
};
use openssl::x509::{X509, X509Extension};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::Range;
use std::time::{Duration, SystemTime};

/// The CA of server certificates, for loopback names only.
pub(crate) struct ServerCa {
    pub(super) authority: Authority,
    pem: Vec<u8>,
}

/// The certificate of a TLS server and its key.
#[derive(Clone)]
pub(crate) struct ServerIdentity {
    pub certificate: X509,
    pub key: PKey<Private>,
}

impl ServerIdentity {
    /// A new key with a self-signed certificate, as of a cluster of Service Fabric.
    pub fn self_signed(address: IpAddr) -> Result<Self, ErrorStack> {
        let extensions = server_extensions(None, address)?;
        let signed = Authority::self_signed(SELF_SIGNED_NAME, server_validity(None), extensions)?;
        Ok(Self {
            certificate: signed.certificate,
            key: signed.key,
        })
    }

    /// The SHA-1 of the certificate in hexadecimal, by which Service Fabric's clients know it.
    pub fn thumbprint(&self) -> Result<String, ErrorStack> {
        let hash = self.certificate.digest(MessageDigest::sha1())?;
        Ok(hash.iter().map(|byte| format!("{byte:02X}")).collect())
    }
}

impl ServerCa {
    /// Creates a CA.
    pub fn create() -> Result<Self, ErrorStack> {
        Self::create_until(host_now() + CA_LIFETIME)
    }

    pub(super) fn create_until(end: SystemTime) -> Result<Self, ErrorStack> {
        Self::with_extensions(end, extensions()?)
    }

    pub(super) fn with_extensions(
        end: SystemTime,
        extensions: Vec<X509Extension>,
    ) -> Result<Self, ErrorStack> {
        let validity = host_now() - BACKDATED..end;
        Self::from_parts(Authority::self_signed(COMMON_NAME, validity, extensions)?)
    }

    /// The CA with this key and certificate. The caller checks its constraints.
    pub fn from_parts(authority: Authority) -> Result<Self, ErrorStack> {
        let pem = authority.certificate.to_pem()?;
        Ok(Self { authority, pem })
    }

    pub fn pem(&self) -> &[u8] {
        &self.pem
    }

    pub fn certificate(&self) -> &X509 {
        &self.authority.certificate
    }

    /// Whether a certificate is that of this CA.
    pub fn is(&self, certificate: &X509) -> bool {
        let own = self.authority.certificate.to_der();
        own.is_ok_and(|own| certificate.to_der().is_ok_and(|other| own == other))
    }

    pub fn key_pem(&self) -> Result<Vec<u8>, ErrorStack> {
        self.authority.key.private_key_to_pem_pkcs8()
    }

    /// A new key and a certificate for it.
    pub fn server_identity(
        &self,
        fault: Option<ServerCertificateFault>,
        address: IpAddr,
    ) -> Result<ServerIdentity, ErrorStack> {
        let untrusted;
        let authority = match fault {
            Some(ServerCertificateFault::Untrusted) => {
                untrusted = Self::create()?;
                &untrusted.authority
            }
            _ => &self.authority,
        };
        let key = p256_key()?;
        let subject = common_name_only("localhost")?;
        let template = Template {
            subject: &subject,
            public_key: &key,
            validity: server_validity(fault),
            extensions: server_extensions(fault, address)?,
        };
        let certificate = authority.sign(&template)?;
        Ok(ServerIdentity { certificate, key })
    }
}

pub(super) fn extensions() -> Result<Vec<X509Extension>, ErrorStack> {
    Ok(vec![
        BasicConstraints::new().critical().ca().pathlen(0).build()?,
        KeyUsage::new()
            .critical()
            .key_cert_sign()
            .crl_sign()
            .build()?,
        // Limits the CA to server certificates, in verifiers that check it.
        ExtendedKeyUsage::new().server_auth().build()?,
        name_constraints()?,
    ])
}

pub(super) fn server_validity(fault: Option<ServerCertificateFault>) -> Range<SystemTime> {
    let now = host_now();
    match fault {
        Some(ServerCertificateFault::Expired) => now - 2 * BACKDATED..now - BACKDATED,
        _ => now - BACKDATED..now + SERVER_LIFETIME,
    }
}

fn server_extensions(
    fault: Option<ServerCertificateFault>,
    address: IpAddr,
) -> Result<Vec<X509Extension>, ErrorStack> {
    let mut names = SubjectAlternativeName::new();
    match fault {
        // A name that the constraints allow, so that only the host name does not match.
        Some(ServerCertificateFault::OtherName) => names.dns("other.localhost"),
        _ => {
            let mut addresses = vec![
                IpAddr::V4(Ipv4Addr::LOCALHOST),
                IpAddr::V6(Ipv6Addr::LOCALHOST),
            ];
            if !addresses.contains(&address) {
                addresses.push(address);
            }
            let names = names.dns("localhost");
            addresses
                .iter()
                .fold(names, |names, address| names.ip(&address.to_string()))
        }
    };
    extensions_with(&names)
}

pub(super) fn extensions_with(
    names: &SubjectAlternativeName,
) -> Result<Vec<X509Extension>, ErrorStack> {
    // Names need no issuer.
    let context = X509::builder()?;
    let names = names.build(&context.x509v3_context(None, None))?;
    Ok(vec![
        BasicConstraints::new().critical().build()?,
        KeyUsage::new().critical().digital_signature().build()?,
        ExtendedKeyUsage::new().server_auth().build()?,
        names,
    ])
}

fn name_constraints() -> Result<X509Extension, ErrorStack> {
    let oid = Asn1Object::from_str(NAME_CONSTRAINTS_OID)?;
    let value = Asn1OctetString::new_from_bytes(&NAME_CONSTRAINTS)?;
    X509Extension::new_from_der(&oid, true, &value)
}

const SELF_SIGNED_NAME: &str = "Keybound emulator Service Fabric (simulated)";
pub(super) const COMMON_NAME: &str = "Keybound emulator CA (simulated, loopback only)";
pub(super) const NAME_CONSTRAINTS_OID: &str = "2.5.29.30";

/// RFC 5280 section 4.2.1.10: permitted are the DNS name localhost, 127.0.0.0/8 and ::1/128.
pub(super) const NAME_CONSTRAINTS: [u8; 65] = [
    0x30, 0x3f, 0xa0, 0x3d, // permittedSubtrees
    0x30, 0x0b, 0x82, 0x09, b'l', b'o', b'c', b'a', b'l', b'h', b'o', b's', b't', //
    0x30, 0x0a, 0x87, 0x08, 127, 0, 0, 0, 255, 0, 0, 0, //
    0x30, 0x22, 0x87, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, //
    255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255,
];

/// For clients whose clock is slightly behind.
const BACKDATED: Duration = Duration::from_secs(3600);
const CA_LIFETIME: Duration = Duration::from_secs(365 * 24 * 3600);
const SERVER_LIFETIME: Duration = Duration::from_secs(90 * 24 * 3600);
