//! Certificates with any fields.
use der::DateTime;
use openssl::asn1::{Asn1Object, Asn1OctetString, Asn1Time};
use openssl::bn::BigNum;
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{HasPublic, PKey, PKeyRef, Private};
use openssl::x509::extension::{BasicConstraints, KeyUsage, SubjectAlternativeName};
use openssl::x509::{X509, X509Builder, X509Extension, X509Name, X509NameRef};
use std::net::IpAddr;
use std::ops::Range;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime};

/// Builds an X.509 v3 certificate.
pub struct CertificateBuilder(X509Builder);

impl CertificateBuilder {
    /// A certificate for a public key, without names, valid from yesterday until tomorrow.
    pub fn new<T: HasPublic>(public_key: &PKeyRef<T>) -> Self {
        static SERIAL: AtomicU32 = AtomicU32::new(1);
        let mut builder = X509::builder().unwrap();
        builder.set_version(2).unwrap();
        builder.set_pubkey(public_key).unwrap();
        Self(builder)
            .serial(SERIAL.fetch_add(1, Ordering::Relaxed))
            .days(-1..1)
    }

    /// Like [`new`](Self::new), for a public key in DER.
    pub fn for_public_key(der: &[u8]) -> Self {
        Self::new(&*PKey::public_key_from_der(der).unwrap())
    }

    /// Sets the serial number. Default: different for each certificate.
    pub fn serial(mut self, number: u32) -> Self {
        let number = BigNum::from_u32(number).unwrap();
        let number = number.to_asn1_integer().unwrap();
        self.0.set_serial_number(&number).unwrap();
        self
    }

    /// Sets the subject's CN.
    pub fn subject(self, common_name: &str) -> Self {
        self.subject_name(&name(common_name))
    }

    /// Sets the subject.
    pub fn subject_name(mut self, name: &X509NameRef) -> Self {
        self.0.set_subject_name(name).unwrap();
        self
    }

    /// Sets the issuer's CN.
    pub fn issuer(self, common_name: &str) -> Self {
        self.issuer_name(&name(common_name))
    }

    /// Sets the issuer.
    pub fn issuer_name(mut self, name: &X509NameRef) -> Self {
        self.0.set_issuer_name(name).unwrap();
        self
    }

    /// Sets the validity in days from now, by the wall clock.
    pub fn days(self, days: Range<i64>) -> Self {
        let at = |days: i64| {
            let distance = Duration::from_secs(days.unsigned_abs() * 24 * 3600);
            match days {
                0.. => now() + distance,
                _ => now() - distance,
            }
        };
        self.validity(at(days.start)..at(days.end))
    }

    /// Sets the validity.
    pub fn validity(mut self, validity: Range<SystemTime>) -> Self {
        self.0.set_not_before(&time(validity.start)).unwrap();
        self.0.set_not_after(&time(validity.end)).unwrap();
        self
    }

    /// Adds the extensions of a certificate authority.
    pub fn ca(self) -> Self {
        let constraints = BasicConstraints::new().critical().ca().build();
        let mut usage = KeyUsage::new();
        let usage = usage.critical().key_cert_sign().crl_sign().build();
        self.extension(constraints.unwrap())
            .extension(usage.unwrap())
    }

    /// Adds subject alternative names: DNS names, and addresses. Without any, there is no such extension.
    pub fn alternative_names(self, names: &[&str], addresses: &[&str]) -> Self {
        if names.is_empty() && addresses.is_empty() {
            return self;
        }
        let mut extension = SubjectAlternativeName::new();
        for name in names {
            extension.dns(name);
        }
        for address in addresses {
            extension.ip(address);
        }
        let context = self.0.x509v3_context(None, None);
        let extension = extension.build(&context).unwrap();
        self.extension(extension)
    }

    /// Adds a URI as the only subject alternative name.
    pub fn uri(self, uri: &str) -> Self {
        let context = self.0.x509v3_context(None, None);
        let extension = SubjectAlternativeName::new().uri(uri).build(&context);
        self.extension(extension.unwrap())
    }

    /// Adds subject alternative names: an IP address is one of that type, any other text is a DNS name.
    pub fn hosts(self, hosts: &[&str]) -> Self {
        let is_address = |host: &&str| host.parse::<IpAddr>().is_ok();
        let (addresses, names): (Vec<&str>, Vec<&str>) =
            hosts.iter().partition(|host| is_address(host));
        self.alternative_names(&names, &addresses)
    }

    /// Adds the end of the time for which tokens are issued, as IMDS writes it: a GeneralizedTime in a SEQUENCE.
    pub fn token_not_after(self, end: SystemTime) -> Self {
        let end = digits(end);
        let value = [b"\x30\x11\x18\x0f", end.as_bytes()].concat();
        self.extension_with("1.3.6.1.4.1.311.90.2.1", &value)
    }

    /// Adds an extension with any object identifier and value, not critical.
    pub fn extension_with(self, oid: &str, value: &[u8]) -> Self {
        let oid = Asn1Object::from_str(oid).unwrap();
        let value = Asn1OctetString::new_from_bytes(value).unwrap();
        self.extension(X509Extension::new_from_der(&oid, false, &value).unwrap())
    }

    /// Adds an extension.
    pub fn extension(mut self, extension: X509Extension) -> Self {
        self.0.append_extension(extension).unwrap();
        self
    }

    /// Signs the certificate.
    pub fn sign(mut self, key: &PKeyRef<Private>) -> X509 {
        self.0.sign(key, MessageDigest::sha256()).unwrap();
        self.0.build()
    }
}

/// Returns a new P-256 key: they are generated fast.
pub fn p256_key() -> PKey<Private> {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
    PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap()
}

/// Returns the same P-256 key for each test of a process.
pub fn shared_p256_key() -> &'static PKey<Private> {
    static KEY: LazyLock<PKey<Private>> = LazyLock::new(p256_key);
    &KEY
}

fn name(common_name: &str) -> X509Name {
    let mut name = X509Name::builder().unwrap();
    name.append_entry_by_nid(Nid::COMMONNAME, common_name)
        .unwrap();
    name.build()
}

/// From text: OpenSSL may count seconds since 1970 in 32 bits.
fn time(time: SystemTime) -> Asn1Time {
    Asn1Time::from_str_x509(&digits(time)).unwrap()
}

/// As `YYYYMMDDHHMMSSZ`.
fn digits(time: SystemTime) -> String {
    let text = DateTime::from_system_time(time).unwrap().to_string();
    text.chars()
        .filter(char::is_ascii_digit)
        .collect::<String>()
        + "Z"
}

#[expect(
    clippy::disallowed_methods,
    reason = "OpenSSL checks certificates against the wall clock"
)]
fn now() -> SystemTime {
    SystemTime::now()
}
