mod client_auth;
mod token_not_after;

use crate::oid::{COMMON_NAME, DOMAIN_COMPONENT, TOKEN_NOT_AFTER};
use crate::text::printable;
use crate::{Error, ErrorKind, Guid, MAX_CERTIFICATE, Result, Stage, Thumbprints};
use client_auth::client_auth_problem;
use der::asn1::{Ia5StringRef, ObjectIdentifier, PrintableStringRef, Utf8StringRef};
use der::{Decode as _, Encode as _, Tag, Tagged as _};
use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use subtle::ConstantTimeEq as _;
use x509_cert::attr::AttributeTypeAndValue;
use x509_cert::ext::Extension;
use x509_cert::name::Name;

/// A parsed X.509 certificate with its DER. Cloning is cheap.
#[derive(Clone)]
pub struct Certificate(Arc<Parts>);

struct Parts {
    der: Vec<u8>,
    public_key: Vec<u8>,
    subject: String,
    issuer: String,
    common_name: Option<String>,
    domain_component: Option<String>,
    not_before: SystemTime,
    not_after: SystemTime,
    token_not_after: Option<SystemTime>,
    client_auth_problem: Option<&'static str>,
    thumbprints: Thumbprints,
}

impl Certificate {
    /// Parses the DER; trailing bytes are an error. The signature is not verified: the client checks that the certificate
    /// is for its key, and its peers verify whether to trust it.
    ///
    /// # Errors
    /// [`ErrorKind::CertificateMalformed`] if it is not a certificate or longer than [`MAX_CERTIFICATE`].
    pub fn from_der(der: &[u8]) -> Result<Self> {
        let malformed = |message| failed(ErrorKind::CertificateMalformed, message);
        if der.len() > MAX_CERTIFICATE {
            return Err(malformed("the certificate is longer than 16 KiB"));
        }
        let parsed = x509_cert::Certificate::from_der(der)
            .map_err(|error| malformed("the certificate is not X.509 in DER").with_source(error))?;
        let tbs = parsed.tbs_certificate();
        let extensions = tbs.extensions().map_or(&[][..], Vec::as_slice);
        let public_key = tbs.subject_public_key_info().to_der().map_err(|error| {
            malformed("the certificate's public key is malformed").with_source(error)
        })?;
        Ok(Self(Arc::new(Parts {
            der: der.to_vec(),
            public_key,
            subject: printable(&tbs.subject().to_string(), MAX_NAME),
            issuer: printable(&tbs.issuer().to_string(), MAX_NAME),
            common_name: single(tbs.subject(), COMMON_NAME),
            domain_component: single(tbs.subject(), DOMAIN_COMPONENT),
            not_before: tbs.validity().not_before.to_system_time(),
            not_after: tbs.validity().not_after.to_system_time(),
            token_not_after: token_not_after(extensions),
            client_auth_problem: client_auth_problem(extensions),
            thumbprints: Thumbprints::of_der(der),
        })))
    }

    /// The DER.
    pub fn der(&self) -> &[u8] {
        &self.0.der
    }

    /// The certificate as PEM text (RFC 7468), lines ended by `\n`.
    pub fn to_pem(&self) -> String {
        use base64::Engine as _;
        let body = base64::engine::general_purpose::STANDARD.encode(&self.0.der);
        let mut pem = String::from("-----BEGIN CERTIFICATE-----\n");
        for start in (0..body.len()).step_by(64) {
            pem.push_str(&body[start..body.len().min(start + 64)]);
            pem.push('\n');
        }
        pem + "-----END CERTIFICATE-----\n"
    }

    /// The public key: SubjectPublicKeyInfo in DER.
    pub fn public_key_der(&self) -> &[u8] {
        &self.0.public_key
    }

    /// The subject as printable text (RFC 4514): see [`printable`].
    pub fn subject(&self) -> &str {
        &self.0.subject
    }

    /// The subject's CN, if it has exactly one.
    pub fn common_name(&self) -> Option<&str> {
        self.0.common_name.as_deref()
    }

    /// The issuer as printable text (RFC 4514): see [`printable`].
    pub fn issuer(&self) -> &str {
        &self.0.issuer
    }

    /// Whether its issuer is that of managed identities, `CN=managedidentitysnissuer.login.microsoft.com` (the emulator
    /// uses the same name). Its signature is not verified.
    pub fn names_managed_identity_issuer(&self) -> bool {
        self.0.issuer.eq_ignore_ascii_case(MANAGED_IDENTITY_ISSUER)
    }

    /// Whether IMDS may have issued it, for one from a certificate store: it names the issuer of managed identities and is
    /// valid for 30 days at most (IMDS issues certificates for 8 hours to 14 days).
    pub fn is_plausible(&self) -> bool {
        let lifetime = self.0.not_after.duration_since(self.0.not_before);
        self.names_managed_identity_issuer()
            && lifetime.is_ok_and(|lifetime| lifetime <= MAX_LIFETIME)
    }

    /// The start of its validity.
    pub fn not_before(&self) -> SystemTime {
        self.0.not_before
    }

    /// The end of its validity. TLS uses this one; caches and renewal use
    /// [`effective_not_after`](Self::effective_not_after).
    pub fn not_after(&self) -> SystemTime {
        self.0.not_after
    }

    /// The time until which Entra issues tokens for it: the extension `token_not_after` (1.3.6.1.4.1.311.90.2.1), usually
    /// earlier than [`not_after`](Self::not_after). Afterwards TLS still succeeds and Entra returns AADSTS1000901; tokens
    /// that were issued before remain valid. `None` if the extension is absent or malformed. The earliest of several counts.
    pub fn token_not_after(&self) -> Option<SystemTime> {
        self.0.token_not_after
    }

    /// The expiry for caches and renewal: the earlier of [`not_after`](Self::not_after) and
    /// [`token_not_after`](Self::token_not_after).
    pub fn effective_not_after(&self) -> SystemTime {
        let not_after = self.0.not_after;
        self.0
            .token_not_after
            .map_or(not_after, |end| end.min(not_after))
    }

    /// The time from [`not_before`](Self::not_before) to [`effective_not_after`](Self::effective_not_after), in which Entra
    /// issues tokens for it. Zero if the latter is earlier.
    pub fn effective_life(&self) -> Duration {
        let end = self.effective_not_after();
        end.duration_since(self.0.not_before).unwrap_or_default()
    }

    /// SHA-1, SHA-256 and `x5t#S256` of the DER.
    pub fn thumbprints(&self) -> &Thumbprints {
        &self.0.thumbprints
    }

    /// Checks that it certifies this public key (SubjectPublicKeyInfo in DER), that of the certificate signing request.
    ///
    /// # Errors
    /// [`ErrorKind::CertificateKeyMismatch`].
    pub fn check_key(&self, public_key: &[u8]) -> Result<()> {
        if bool::from(self.0.public_key.ct_eq(public_key)) {
            return Ok(());
        }
        Err(failed(
            ErrorKind::CertificateKeyMismatch,
            "the issued certificate is for another key than that of the signing request",
        ))
    }

    /// Checks that it is valid at `now`.
    ///
    /// # Errors
    /// [`ErrorKind::CertificateNotValid`].
    pub fn check_validity(&self, now: SystemTime) -> Result<()> {
        let not_valid = |message| Err(failed(ErrorKind::CertificateNotValid, message));
        if now < self.0.not_before {
            return not_valid("by this host's clock the issued certificate is not yet valid");
        }
        if now > self.0.not_after {
            return not_valid("by this host's clock the issued certificate has expired");
        }
        Ok(())
    }

    /// Checks that Entra issues tokens for it at `now`.
    ///
    /// # Errors
    /// [`ErrorKind::CertificateNotValid`] if `now` is not before [`token_not_after`](Self::token_not_after).
    pub fn check_token_not_after(&self, now: SystemTime) -> Result<()> {
        if self.0.token_not_after.is_none_or(|end| now < end) {
            return Ok(());
        }
        Err(failed(
            ErrorKind::CertificateNotValid,
            "by this host's clock the issued certificate is past its token_not_after: entra issues no tokens for it",
        ))
    }

    /// Checks that its key usages, if present, allow TLS client authentication: clientAuth in the extended key usage,
    /// digitalSignature in the key usage.
    ///
    /// # Errors
    /// [`ErrorKind::CertificateUnusable`], also if one of them is malformed.
    pub fn check_usages(&self) -> Result<()> {
        match self.0.client_auth_problem {
            None => Ok(()),
            Some(problem) => Err(failed(
                ErrorKind::CertificateUnusable,
                format!("the issued certificate cannot authenticate a TLS client: {problem}"),
            )),
        }
    }

    /// Checks that its CN is the client id and its DC the tenant id, ignoring case, each present exactly once.
    ///
    /// # Errors
    /// [`ErrorKind::IdentityMismatch`].
    pub fn check_names(&self, client_id: &Guid, tenant_id: &Guid) -> Result<()> {
        let is = |name: &Option<String>, guid: &Guid| {
            name.as_deref().is_some_and(|name| guid.matches(name))
        };
        if is(&self.0.common_name, client_id) && is(&self.0.domain_component, tenant_id) {
            return Ok(());
        }
        Err(failed(
            ErrorKind::IdentityMismatch,
            "the issued certificate names another client or tenant than its response",
        ))
    }
}

impl PartialEq for Certificate {
    fn eq(&self, other: &Self) -> bool {
        self.0.der == other.0.der
    }
}

impl Eq for Certificate {}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate")
            .field("subject", &self.0.subject)
            .field("x5t#S256", &self.0.thumbprints.x5t_s256)
            .finish_non_exhaustive()
    }
}

fn failed(kind: ErrorKind, message: impl Into<Cow<'static, str>>) -> Error {
    Error::new(kind, Stage::Credential, message)
}

/// The value of the extension; the earliest if it occurs several times, which RFC 5280 forbids.
fn token_not_after(extensions: &[Extension]) -> Option<SystemTime> {
    let values = extensions
        .iter()
        .filter(|extension| extension.extn_id == TOKEN_NOT_AFTER);
    values
        .filter_map(|extension| token_not_after::parse(extension.extn_value.as_bytes()))
        .min()
}

/// The value of an attribute that occurs in the name exactly once.
fn single(name: &Name, oid: ObjectIdentifier) -> Option<String> {
    let mut found = name.iter().filter(|attribute| attribute.oid == oid);
    let attribute = found.next()?;
    if found.next().is_some() {
        return None;
    }
    text(attribute)
}

fn text(attribute: &AttributeTypeAndValue) -> Option<String> {
    let value = &attribute.value;
    let text = match value.tag() {
        Tag::Utf8String => value.decode_as::<Utf8StringRef<'_>>().ok()?.to_string(),
        Tag::PrintableString => value
            .decode_as::<PrintableStringRef<'_>>()
            .ok()?
            .to_string(),
        Tag::Ia5String => value.decode_as::<Ia5StringRef<'_>>().ok()?.to_string(),
        _ => return None,
    };
    Some(text)
}

const MANAGED_IDENTITY_ISSUER: &str = "CN=managedidentitysnissuer.login.microsoft.com";
const MAX_LIFETIME: Duration = Duration::from_secs(30 * 24 * 3600);
/// Limit of a subject or issuer as text, in characters.
const MAX_NAME: usize = 1024;
