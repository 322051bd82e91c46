use super::alert_replacement::store_secrets;
use crate::config::TlsVersionRange;
use crate::pki::ServerIdentity;
use openssl::error::ErrorStack;
use openssl::nid::Nid;
use openssl::ssl::{
    SslAcceptor, SslMethod, SslOptions, SslSessionCacheMode, SslVerifyMode, SslVersion,
};
use openssl::stack::Stack;
use openssl::x509::X509Name;

/// The TLS settings of one listener.
pub(crate) struct TlsSettings {
    pub(crate) identity: ServerIdentity,
    pub(crate) versions: TlsVersionRange,
    pub(crate) client_certificate: ClientCertificate,
}

/// When the certificate of the client is requested.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ClientCertificate {
    /// After a request that requires it ([`super::Handler::requests_certificate`]).
    OnDemand,
    /// In the first handshake; a client without one is accepted.
    First,
}

impl TlsSettings {
    pub(super) fn acceptor(&self) -> Result<SslAcceptor, ErrorStack> {
        let mut builder = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls_server())?;
        let (lowest, highest) = match self.versions {
            TlsVersionRange::Tls12 => (SslVersion::TLS1_2, SslVersion::TLS1_2),
            TlsVersionRange::Tls13 => (SslVersion::TLS1_3, SslVersion::TLS1_3),
            TlsVersionRange::Tls12To13 => (SslVersion::TLS1_2, SslVersion::TLS1_3),
        };
        builder.set_min_proto_version(Some(lowest))?;
        builder.set_max_proto_version(Some(highest))?;
        builder.set_certificate(&self.identity.certificate)?;
        builder.set_private_key(&self.identity.key)?;
        builder.check_private_key()?;
        // A resumed session would have a client certificate without a new proof of possession.
        builder.set_session_id_context(b"keybound-emulator")?;
        builder.set_session_cache_mode(SslSessionCacheMode::OFF);
        builder.set_options(SslOptions::NO_TICKET);
        builder.set_num_tickets(0)?;
        let mode = match self.client_certificate {
            ClientCertificate::OnDemand => SslVerifyMode::NONE,
            ClientCertificate::First => SslVerifyMode::PEER,
        };
        // Every certificate is accepted here; the service rejects it in its response.
        builder.set_verify_callback(mode, |_is_valid, _context| true);
        builder.set_client_ca_list(authorities()?);
        store_secrets(&mut builder);
        Ok(builder.build())
    }
}

/// The authorities in the certificate request. As with the real services, the issuer of binding certificates is not among
/// them, so that a client that selects its certificate by this list finds none.
fn authorities() -> Result<Stack<X509Name>, ErrorStack> {
    let mut name = X509Name::builder()?;
    name.append_entry_by_nid(Nid::COMMONNAME, NAMED_AUTHORITY)?;
    let mut names = Stack::new()?;
    names.push(name.build())?;
    Ok(names)
}

const NAMED_AUTHORITY: &str = "An authority of other clients (simulated)";
