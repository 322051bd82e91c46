//! The creation of certificates.
use crate::clock::unix;
use openssl::asn1::{Asn1Integer, Asn1Time};
use openssl::bn::BigNum;
use openssl::ec::{EcGroup, EcKey};
use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{HasPublic, PKey, PKeyRef, Private};
use openssl::rand::rand_bytes;
use openssl::x509::extension::{AuthorityKeyIdentifier, SubjectKeyIdentifier};
use openssl::x509::{
    X509, X509Builder, X509Extension, X509Name, X509NameRef, X509Ref, X509v3Context,
};
use std::ops::Range;
use std::time::SystemTime;

/// An authority: its certificate and key.
pub(super) struct Authority {
    pub certificate: X509,
    pub key: PKey<Private>,
}

/// The contents of a certificate.
pub(super) struct Template<'a, T> {
    pub subject: &'a X509NameRef,
    pub public_key: &'a PKeyRef<T>,
    pub validity: Range<SystemTime>,
    /// The extensions besides the key identifiers.
    pub extensions: Vec<X509Extension>,
}

impl Authority {
    /// Creates an authority with a self-signed certificate.
    pub fn self_signed(
        common_name: &str,
        validity: Range<SystemTime>,
        extensions: Vec<X509Extension>,
    ) -> Result<Self, ErrorStack> {
        let key = p256_key()?;
        let subject = common_name_only(common_name)?;
        let template = Template {
            subject: &subject,
            public_key: &key,
            validity,
            extensions,
        };
        let certificate = build(&template, None, &key)?;
        Ok(Self { certificate, key })
    }

    /// Signs a certificate.
    pub fn sign<T: HasPublic>(&self, template: &Template<'_, T>) -> Result<X509, ErrorStack> {
        build(template, Some(&self.certificate), &self.key)
    }
}

pub(super) fn p256_key() -> Result<PKey<Private>, ErrorStack> {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1)?;
    PKey::from_ec_key(EcKey::generate(&group)?)
}

pub(super) fn common_name_only(common_name: &str) -> Result<X509Name, ErrorStack> {
    let mut name = X509Name::builder()?;
    name.append_entry_by_nid(Nid::COMMONNAME, common_name)?;
    Ok(name.build())
}

pub(super) fn asn1_time(time: SystemTime) -> Result<Asn1Time, ErrorStack> {
    Asn1Time::from_unix(unix(time).try_into().unwrap_or(i64::MAX))
}

fn build<T: HasPublic>(
    template: &Template<'_, T>,
    issuer: Option<&X509Ref>,
    signing_key: &PKeyRef<Private>,
) -> Result<X509, ErrorStack> {
    let mut builder = X509::builder()?;
    builder.set_version(V3)?;
    builder.set_serial_number(&*random_serial()?)?;
    builder.set_subject_name(template.subject)?;
    builder.set_issuer_name(issuer.map_or(template.subject, X509Ref::subject_name))?;
    builder.set_pubkey(template.public_key)?;
    builder.set_not_before(&*asn1_time(template.validity.start)?)?;
    builder.set_not_after(&*asn1_time(template.validity.end)?)?;
    for extension in &template.extensions {
        builder.append_extension2(extension)?;
    }
    append(&mut builder, issuer, |context| {
        SubjectKeyIdentifier::new().build(context)
    })?;
    if issuer.is_some() {
        append(&mut builder, issuer, |context| {
            AuthorityKeyIdentifier::new().keyid(true).build(context)
        })?;
    }
    builder.sign(signing_key, MessageDigest::sha256())?;
    Ok(builder.build())
}

fn append(
    builder: &mut X509Builder,
    issuer: Option<&X509Ref>,
    make: impl FnOnce(&X509v3Context<'_>) -> Result<X509Extension, ErrorStack>,
) -> Result<(), ErrorStack> {
    let extension = make(&builder.x509v3_context(issuer, None))?;
    builder.append_extension(extension)
}

/// 16 random bytes, positive and never zero.
fn random_serial() -> Result<Asn1Integer, ErrorStack> {
    let mut bytes = [0; 16];
    rand_bytes(&mut bytes)?;
    bytes[0] = (bytes[0] & 0x7f) | 0x40;
    BigNum::from_slice(&bytes)?.to_asn1_integer()
}

/// The field's value for version 3.
const V3: i32 = 2;
