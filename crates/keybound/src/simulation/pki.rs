//! The issuer of the certificates: one key for all tests, cheap to sign with.
use super::world::Signed;
use keybound_core::X5tS256;
use openssl::asn1::Asn1Time;
use openssl::bn::BigNum;
use openssl::ec::{EcGroup, EcKey};
use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::x509::{X509, X509NameBuilder, X509Req};
use std::sync::LazyLock;
use std::time::{Duration, SystemTime};

static ISSUER: LazyLock<PKey<Private>> = LazyLock::new(|| {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
    PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap()
});

/// A signing request, read.
pub(super) struct Asked {
    request: X509Req,
    pub(super) public_key: Vec<u8>,
}

/// Reads a signing request and checks that its key signed it.
pub(super) fn read(csr: &[u8]) -> Option<Asked> {
    let request = X509Req::from_der(csr).ok()?;
    let key = request.public_key().ok()?;
    let public_key = key.public_key_to_der().ok()?;
    request.verify(&key).ok()?.then_some(Asked {
        request,
        public_key,
    })
}

/// Signs a certificate for a request: its names, its key, valid from a little before now.
pub(super) fn sign(
    asked: &Asked,
    holder: (String, Vec<u8>, bool),
    now: SystemTime,
    life: Duration,
    number: u32,
) -> Signed {
    let (not_before, not_after) = (now - BACKDATED, now - BACKDATED + life);
    let der = certificate(asked, not_before, not_after, number).unwrap();
    Signed {
        thumbprint: X5tS256::of_der(&der).to_string(),
        der,
        holder,
        not_before,
        not_after,
    }
}

fn certificate(
    asked: &Asked,
    not_before: SystemTime,
    not_after: SystemTime,
    number: u32,
) -> Result<Vec<u8>, ErrorStack> {
    let mut issuer = X509NameBuilder::new()?;
    issuer.append_entry_by_text("CN", "managedidentitysnissuer.login.microsoft.com")?;
    let issuer = issuer.build();
    let mut builder = X509::builder()?;
    builder.set_version(2)?;
    let serial = BigNum::from_u32(number)?.to_asn1_integer()?;
    builder.set_serial_number(&serial)?;
    builder.set_subject_name(asked.request.subject_name())?;
    builder.set_issuer_name(&issuer)?;
    let (not_before, not_after) = (time(not_before)?, time(not_after)?);
    builder.set_not_before(&not_before)?;
    builder.set_not_after(&not_after)?;
    builder.set_pubkey(&*asked.request.public_key()?)?;
    builder.sign(&ISSUER, MessageDigest::sha256())?;
    builder.build().to_der()
}

fn time(time: SystemTime) -> Result<Asn1Time, ErrorStack> {
    let seconds = time
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs();
    Asn1Time::from_unix(i64::try_from(seconds).unwrap_or(i64::MAX))
}

/// So that a client whose clock is a little behind takes it.
const BACKDATED: Duration = Duration::from_secs(5 * 60);
