use super::csr::{self, CheckedCsr, Expected};
use super::platform_metadata::{expected_cu_id, faulty_endpoint};
use super::{ErrorResponse, attestation_claims};
use crate::call::Call;
use crate::config::{AttestationRule, Identity, TokenUrlMember};
use crate::faults::{Action, CertificateFault};
use crate::issued_certificates::CacheKey;
use crate::pki::{ClientCertificateRequest, TokenNotAfter};
use crate::response::{Response, json_response};
use crate::service::Service;
use crate::state::State;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use keybound_core::{MAX_BODY, X5tS256};
use openssl::asn1::Asn1Type;
use openssl::nid::Nid;
use openssl::sha::sha256;
use openssl::x509::X509Name;
use serde::Deserialize;
use serde_json::{Value, json};
use std::time::{Duration, SystemTime};

/// `issuecredential`.
pub(super) async fn respond(
    state: &State,
    identity: &Identity,
    bypass_cache: bool,
    call: &mut Call,
) -> Result<Response, ErrorResponse> {
    check_content(call)?;
    let request: IssueRequest = serde_json::from_slice(call.request.body())
        .map_err(|_| ErrorResponse::invalid("The body is not JSON with a csr"))?;
    let der = STANDARD
        .decode(&request.csr)
        .map_err(|_| ErrorResponse::invalid("CSR: not one line of base64 without armour"))?;
    let cu_id = expected_cu_id(&state.config.imds);
    let expected = Expected {
        client_id: identity.client_id.as_str(),
        tenant_id: state.config.tenant_id.as_str(),
        cu_id: &cu_id,
        lenient: state.config.imds.lenient_csr,
    };
    let csr = csr::check(&der, &expected).map_err(ErrorResponse::invalid)?;
    let attested = check_attestation(state, &request, &csr).await?;
    call.note("attested", attested.to_string());
    call.note("bypass_cache", bypass_cache.to_string());
    let context = IssueContext {
        identity,
        csr: &csr,
        attested,
        bypass_cache,
    };
    let certificate = match &call.fault {
        Some(Action::Certificate(fault)) => faulty_certificate(state, &context, *fault).await?,
        _ => {
            let (certificate, cached) = certificate(state, &context)?;
            call.note("from_cache", cached.to_string());
            certificate
        }
    };
    call.note("certificate", X5tS256::of_der(&certificate).as_str());
    Ok(credential(
        state,
        identity,
        &certificate,
        call.fault.as_ref(),
    ))
}

#[derive(Deserialize)]
struct IssueRequest {
    csr: String,
    attestation_token: Option<String>,
}

fn check_content(call: &Call) -> Result<(), ErrorResponse> {
    if !call.has_content_type("application/json") {
        return Err(ErrorResponse::new(
            415,
            "unsupported_media_type",
            "Content-Type is not application/json",
        ));
    }
    if call.request.body().len() > MAX_BODY {
        return Err(ErrorResponse::new(
            413,
            "content_too_large",
            "The body is longer than 1 MiB",
        ));
    }
    Ok(())
}

/// Whether the key is attested. A token must be valid even if none is required.
async fn check_attestation(
    state: &State,
    request: &IssueRequest,
    csr: &CheckedCsr<'_>,
) -> Result<bool, ErrorResponse> {
    let token = request
        .attestation_token
        .as_deref()
        .unwrap_or_default()
        .trim();
    match (token, state.config.imds.attestation) {
        ("", AttestationRule::Optional) => Ok(false),
        ("", AttestationRule::Required) => {
            Err(ErrorResponse::invalid("Attestation Token is missing"))
        }
        (token, _) => attestation_claims::check(state, token, csr)
            .await
            .map(|()| true),
    }
}

struct IssueContext<'a> {
    identity: &'a Identity,
    csr: &'a CheckedCsr<'a>,
    attested: bool,
    bypass_cache: bool,
}

impl IssueContext<'_> {
    fn key(&self) -> CacheKey {
        CacheKey {
            client_id: self.identity.client_id.as_str().to_owned(),
            public_key: sha256(self.csr.public_key),
            attested: self.attested,
        }
    }
}

/// The cached certificate for the same identity, key and attestation, in the first half of its lifetime, else a new one; and
/// whether it is from the cache.
fn certificate(
    state: &State,
    context: &IssueContext<'_>,
) -> Result<(Vec<u8>, bool), ErrorResponse> {
    let now = state.clock.now();
    let key = context.key();
    let cached = state
        .issued
        .find(&key, now)
        .filter(|_| !context.bypass_cache);
    if let Some(certificate) = cached {
        return Ok((certificate, true));
    }
    let validity = now - BACKDATED..now + lifetime(state);
    let subject = X509Name::from_der(context.csr.subject)?;
    let certificate = state.pki.issue(&ClientCertificateRequest {
        subject: &subject,
        public_key: context.csr.public_key,
        validity: validity.clone(),
        token_not_after: token_not_after(state, now),
    })?;
    state.issued.insert(key, certificate.clone(), validity);
    Ok((certificate, false))
}

fn token_not_after(state: &State, now: SystemTime) -> Option<TokenNotAfter> {
    let imds = &state.config.imds;
    let seconds = imds.token_not_after_seconds?;
    let end = now + Duration::from_secs(seconds.into());
    Some(TokenNotAfter::At(end, imds.token_not_after_encoding))
}

/// A certificate with a fault. Only a certificate past its `token_not_after` is cached, as IMDS does in the first half of its
/// lifetime.
async fn faulty_certificate(
    state: &State,
    context: &IssueContext<'_>,
    fault: CertificateFault,
) -> Result<Vec<u8>, ErrorResponse> {
    let now = state.clock.now();
    let mut validity = now - BACKDATED..now + lifetime(state);
    let mut token_not_after = token_not_after(state, now);
    let mut names = [
        context.identity.client_id.as_str(),
        state.config.tenant_id.as_str(),
    ];
    let foreign = state.keys.foreign.get().await?;
    let mut public_key = context.csr.public_key;
    match fault {
        CertificateFault::Garbage => return Ok(b"this is not a certificate".to_vec()),
        CertificateFault::OtherKey => public_key = foreign.public_key(),
        CertificateFault::Expired => validity = now - 2 * DAY..now - DAY,
        CertificateFault::NotYetValid => validity = now + DAY..now + 2 * DAY,
        CertificateFault::OtherClient => names[0] = UNKNOWN_ID,
        CertificateFault::OtherTenant => names[1] = UNKNOWN_ID,
        CertificateFault::PastTokenNotAfter => {
            validity = now - 6 * DAY..now + 8 * DAY;
            let encoding = state.config.imds.token_not_after_encoding;
            token_not_after = Some(TokenNotAfter::At(now - DAY, encoding));
        }
        CertificateFault::UnreadableTokenNotAfter => {
            token_not_after = Some(TokenNotAfter::Unreadable);
        }
    }
    let mut subject = X509Name::builder()?;
    let (domain, common) = (Nid::DOMAINCOMPONENT, Nid::COMMONNAME);
    subject.append_entry_by_nid_with_type(domain, names[1], Asn1Type::IA5STRING)?;
    subject.append_entry_by_nid_with_type(common, names[0], Asn1Type::PRINTABLESTRING)?;
    let certificate = state.pki.issue(&ClientCertificateRequest {
        subject: &subject.build(),
        public_key,
        validity: validity.clone(),
        token_not_after,
    })?;
    if fault == CertificateFault::PastTokenNotAfter {
        let cached = certificate.clone();
        state.issued.insert(context.key(), cached, validity);
    }
    Ok(certificate)
}

fn credential(
    state: &State,
    identity: &Identity,
    certificate: &[u8],
    fault: Option<&Action>,
) -> Response {
    let sts = faulty_endpoint(state.endpoints.origin(Service::Sts), fault);
    let tenant = state.config.tenant_id.as_str();
    let token_url = format!("{sts}/{tenant}/oauth2/v2.0/token");
    let mut body = json!({
        "client_id": identity.client_id.as_str(),
        "tenant_id": tenant,
        "certificate": STANDARD.encode(certificate),
        "identity_type": identity.kind.wire_name(),
        "mtls_authentication_endpoint": sts,
    });
    match state.config.imds.token_url {
        TokenUrlMember::None => (),
        TokenUrlMember::TokenEndpoint => body["token_endpoint"] = Value::String(token_url),
        TokenUrlMember::RegionalTokenUrl => body["regional_token_url"] = Value::String(token_url),
    }
    json_response(200, &body)
}

fn lifetime(state: &State) -> Duration {
    Duration::from_secs(state.config.imds.certificate_lifetime_seconds.into())
}

/// For clients whose clock is slightly behind.
const BACKDATED: Duration = Duration::from_secs(5 * 60);
const DAY: Duration = Duration::from_secs(24 * 3600);
const UNKNOWN_ID: &str = "00000000-0000-4000-8000-000000000000";
