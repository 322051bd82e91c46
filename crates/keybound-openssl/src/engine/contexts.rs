//! OpenSSL's contexts of one client: trust, versions, identity and the rules that hold for all its connections.
use super::{Session, on_verify};
use crate::ConnectionState;
use crate::Host;
use crate::bridge::{
    BridgedKey, Library, forget_sessions, offer_post_handshake_authentication,
    set_certificate_callback, set_floor, set_message_callback,
};
use crate::{
    ClientIdentity, TlsEngine, TlsVersions, TransportError, TransportErrorKind, TrustAnchors,
};
use keybound_keys::LastKeyError;
use openssl::error::ErrorStack;
use openssl::ssl::{
    Ssl, SslContext, SslContextBuilder, SslMode, SslOptions, SslVerifyMode, SslVersion,
};
use openssl::x509::verify::{X509CheckFlags, X509VerifyFlags, X509VerifyParamRef};
use std::sync::Arc;

/// The contexts of one client.
pub struct TlsContexts {
    general: SslContext,
    /// Where more is trusted for loopback hosts.
    loopback: Option<SslContext>,
    host_allows: Allowed,
    has_identity: bool,
    last_key_error: Option<Arc<LastKeyError>>,
}

/// TLS versions that the host's configuration allows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Allowed {
    tls12: bool,
    tls13: bool,
}

impl TlsContexts {
    /// Contexts that present the identity, where there is one, and trust these anchors.
    ///
    /// # Errors
    /// [`HostUnsupported`](TransportErrorKind::HostUnsupported) where the host's configuration does not allow it.
    pub fn new(
        identity: Option<&ClientIdentity>,
        trust: &TrustAnchors,
    ) -> Result<Self, TransportError> {
        let library = Library::get()?;
        let bridged = match identity {
            Some(identity) => Some((
                identity,
                BridgedKey::new(library, Arc::clone(identity.key()))?,
            )),
            None => None,
        };
        let build = |anchors: &mut dyn Iterator<Item = &[u8]>| {
            let mut builder = library.tls_context()?;
            let allowed = Allowed::of(&mut builder);
            let bridged = bridged.as_ref().map(|(identity, key)| (*identity, key));
            configure(&mut builder, library, bridged, anchors).map_err(not_taken)?;
            Ok((builder.build(), allowed))
        };
        let (general, host_allows) = build(&mut trust.for_all())?;
        let loopback = match trust.for_loopback().next() {
            Some(_) => Some(build(&mut trust.for_all().chain(trust.for_loopback()))?.0),
            None => None,
        };
        Ok(Self {
            general,
            loopback,
            host_allows,
            has_identity: identity.is_some(),
            last_key_error: bridged.map(|(_, key)| Arc::clone(key.last_error())),
        })
    }

    /// Where the key's error is stored when it does not sign; `None` without an identity.
    pub fn last_key_error(&self) -> Option<&Arc<LastKeyError>> {
        self.last_key_error.as_ref()
    }

    /// A TLS client for one connection to the host.
    ///
    /// # Errors
    /// [`HostUnsupported`](TransportErrorKind::HostUnsupported) where the host's configuration allows none of the versions.
    pub fn session(&self, host: &Host, versions: TlsVersions) -> Result<Session, TransportError> {
        let Some((lowest, highest)) = self.host_allows.limits(versions) else {
            return Err(TransportError::new(
                TransportErrorKind::HostUnsupported,
                format!(
                    "the host's OpenSSL configuration does not allow the tls version for {host}"
                ),
            ));
        };
        let context = match &self.loopback {
            Some(context) if host.is_loopback() => context,
            _ => &self.general,
        };
        let state = Arc::new(ConnectionState::new(TlsEngine::OpenSsl, self.has_identity));
        let make = || -> Result<Ssl, ErrorStack> {
            let mut ssl = Ssl::new(context)?;
            ssl.set_min_proto_version(Some(lowest))?;
            ssl.set_max_proto_version(Some(highest))?;
            set_name(&mut ssl, host)?;
            Ok(ssl)
        };
        let mut ssl = make().map_err(|error| {
            TransportError::new(
                TransportErrorKind::Tls,
                format!("no tls client can be made for {host}"),
            )
            .with_source(error)
        })?;
        ssl.set_ex_data(Library::get()?.state(), Arc::clone(&state));
        Ok(Session { ssl, state })
    }
}

impl Allowed {
    pub(crate) fn of(builder: &mut SslContextBuilder) -> Self {
        let (min, max) = (builder.min_proto_version(), builder.max_proto_version());
        let options = builder.options();
        Self {
            tls12: min != Some(SslVersion::TLS1_3)
                && matches!(max, None | Some(SslVersion::TLS1_2 | SslVersion::TLS1_3))
                && !options.contains(SslOptions::NO_TLSV1_2),
            tls13: matches!(max, None | Some(SslVersion::TLS1_3))
                && !options.contains(SslOptions::NO_TLSV1_3),
        }
    }

    /// The lowest and the highest of the versions asked for; `None` where the host allows none of them.
    pub(crate) fn limits(self, versions: TlsVersions) -> Option<(SslVersion, SslVersion)> {
        let tls12 = versions.includes_12() && self.tls12;
        let tls13 = versions.includes_13() && self.tls13;
        match (tls12, tls13) {
            (true, true) => Some((SslVersion::TLS1_2, SslVersion::TLS1_3)),
            (true, false) => Some((SslVersion::TLS1_2, SslVersion::TLS1_2)),
            (false, true) => Some((SslVersion::TLS1_3, SslVersion::TLS1_3)),
            (false, false) => None,
        }
    }
}

fn configure(
    builder: &mut SslContextBuilder,
    library: &Library,
    identity: Option<(&ClientIdentity, &BridgedKey)>,
    anchors: &mut dyn Iterator<Item = &[u8]>,
) -> Result<(), ErrorStack> {
    set_rules(builder);
    builder.set_alpn_protos(b"\x08http/1.1")?;
    library.trust(builder, anchors)?;
    match identity {
        Some((identity, key)) => present(builder, library, identity, key),
        None => Ok(()),
    }
}

/// What holds for every connection that may present a binding certificate.
pub(crate) fn set_rules(builder: &mut SslContextBuilder) {
    // Hyper retries with another buffer, and accepts partial writes. The certificate is sent alone: a search for its
    // issuers among the trust anchors would send some of them too.
    builder.set_mode(
        SslMode::AUTO_RETRY
            | SslMode::ENABLE_PARTIAL_WRITE
            | SslMode::ACCEPT_MOVING_WRITE_BUFFER
            | SslMode::RELEASE_BUFFERS
            | SslMode::NO_AUTO_CHAIN,
    );
    // Every connection authenticates; a renegotiation is a full handshake.
    forget_sessions(builder);
    builder.set_options(SslOptions::NO_TICKET | SslOptions::NO_COMPRESSION);
    builder.set_verify_callback(SslVerifyMode::PEER, on_verify);
    set_certificate_callback(builder);
    set_message_callback(builder);
    set_floor(builder);
    // Fails for no flag but unknown ones.
    let _ = builder.verify_param_mut().set_flags(ANCHOR_RULES);
}

/// Makes a context present the certificate whenever a server requests it.
pub(crate) fn present(
    builder: &mut SslContextBuilder,
    library: &Library,
    identity: &ClientIdentity,
    key: &BridgedKey,
) -> Result<(), ErrorStack> {
    let certificate = library.certificate(identity.certificate().der())?;
    builder.set_certificate(&certificate)?;
    builder.set_private_key(key.pkey())?;
    builder.check_private_key()?;
    offer_post_handshake_authentication(builder);
    Ok(())
}

pub(crate) fn not_taken(error: ErrorStack) -> TransportError {
    TransportError::new(
        TransportErrorKind::HostUnsupported,
        "the host's OpenSSL does not take the settings of the client",
    )
    .with_source(error)
}

fn set_name(ssl: &mut Ssl, host: &Host) -> Result<(), ErrorStack> {
    set_expected_host(ssl.param_mut(), host)?;
    match host {
        Host::Ip(_) => Ok(()),
        Host::Name(name) => ssl.set_hostname(name),
    }
}

/// Makes the verification of a server's certificate require this host, as one of its subject alternative names.
pub(crate) fn set_expected_host(
    param: &mut X509VerifyParamRef,
    host: &Host,
) -> Result<(), ErrorStack> {
    param.set_hostflags(NAME_RULES);
    match host {
        Host::Ip(ip) => param.set_ip(*ip),
        Host::Name(name) => param.set_host(name),
    }
}

/// Names are those of the subject alternative name, never the common name (RFC 9525, section 6.3): name constraints do
/// not cover every common name. A wildcard is a whole label.
pub(crate) const NAME_RULES: X509CheckFlags =
    X509CheckFlags::NO_PARTIAL_WILDCARDS.union(X509CheckFlags::NEVER_CHECK_SUBJECT);

/// Every trusted certificate ends a chain, not only one that signs itself (RFC 5280, section 6.1.1): a caller who trusts an
/// intermediate authority, or the server's own certificate, need not trust what is above it.
pub(crate) const ANCHOR_RULES: X509VerifyFlags = X509VerifyFlags::PARTIAL_CHAIN;
