//! TLS contexts of one client: trust, versions, identity and the rules that hold for all its connections.
use crate::bridge::{
    BridgedKey, KeyFailures, Library, forget_sessions, offer_post_handshake_authentication,
    set_certificate_callback,
};
use crate::session::{SessionNotes, on_verify};
use crate::target::{Host, Target};
use crate::{ClientIdentity, TlsVersions, TransportError, TransportErrorKind, TrustAnchors};
use openssl::error::ErrorStack;
use openssl::ssl::{
    Ssl, SslContext, SslContextBuilder, SslMode, SslOptions, SslVerifyMode, SslVersion,
};
use openssl::x509::verify::X509CheckFlags;
use std::sync::Arc;

/// The contexts of one client.
pub(crate) struct TlsContexts {
    general: SslContext,
    /// Where more is trusted for loopback hosts.
    loopback: Option<SslContext>,
    host_allows: Allowed,
    has_identity: bool,
    key_failures: Option<Arc<KeyFailures>>,
}

/// TLS versions that the host's configuration allows.
#[derive(Clone, Copy, Debug)]
struct Allowed {
    tls12: bool,
    tls13: bool,
}

impl TlsContexts {
    /// # Errors
    /// [`HostUnsupported`](TransportErrorKind::HostUnsupported) where the host's configuration does not allow it.
    pub(crate) fn new(
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
            configure(&mut builder, library, bridged, anchors).map_err(|error| {
                TransportError::new(
                    TransportErrorKind::HostUnsupported,
                    "the host's OpenSSL does not take the settings of the client",
                )
                .with_source(error)
            })?;
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
            key_failures: bridged.map(|(_, key)| Arc::clone(key.failures())),
        })
    }

    pub(crate) fn key_failures(&self) -> Option<&Arc<KeyFailures>> {
        self.key_failures.as_ref()
    }

    /// A TLS client for one connection to the target, and the notes that will be taken on it.
    pub(crate) fn session(
        &self,
        target: &Target,
        versions: TlsVersions,
    ) -> Result<(Ssl, Arc<SessionNotes>), TransportError> {
        let tls12 = versions.includes_12() && self.host_allows.tls12;
        let tls13 = versions.includes_13() && self.host_allows.tls13;
        if !(tls12 || tls13) {
            return Err(TransportError::new(
                TransportErrorKind::HostUnsupported,
                format!(
                    "the host's OpenSSL configuration does not allow the tls version for {}",
                    target.host
                ),
            ));
        }
        let context = match &self.loopback {
            Some(context) if target.host.is_loopback() => context,
            _ => &self.general,
        };
        let notes = Arc::new(SessionNotes::new(self.has_identity));
        let version = |tls13| match tls13 {
            true => Some(SslVersion::TLS1_3),
            false => Some(SslVersion::TLS1_2),
        };
        let make = || -> Result<Ssl, ErrorStack> {
            let mut ssl = Ssl::new(context)?;
            ssl.set_min_proto_version(version(!tls12))?;
            ssl.set_max_proto_version(version(tls13))?;
            set_name(&mut ssl, &target.host)?;
            Ok(ssl)
        };
        let mut ssl = make().map_err(|error| {
            TransportError::new(
                TransportErrorKind::Tls,
                format!("no tls client can be made for {}", target.host),
            )
            .with_source(error)
        })?;
        ssl.set_ex_data(Library::get()?.notes(), Arc::clone(&notes));
        Ok((ssl, notes))
    }
}

impl Allowed {
    fn of(builder: &mut SslContextBuilder) -> Self {
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
}

fn configure(
    builder: &mut SslContextBuilder,
    library: &Library,
    identity: Option<(&ClientIdentity, &BridgedKey)>,
    anchors: &mut dyn Iterator<Item = &[u8]>,
) -> Result<(), ErrorStack> {
    // Hyper hands over another buffer when it tries again, and takes what was written. The certificate goes out alone: a
    // search for its issuers among the trust anchors would send some of them along.
    builder.set_mode(
        SslMode::AUTO_RETRY
            | SslMode::ENABLE_PARTIAL_WRITE
            | SslMode::ACCEPT_MOVING_WRITE_BUFFER
            | SslMode::RELEASE_BUFFERS
            | SslMode::NO_AUTO_CHAIN,
    );
    // Every connection authenticates anew; a renegotiation is a full handshake.
    forget_sessions(builder);
    builder.set_options(SslOptions::NO_TICKET | SslOptions::NO_COMPRESSION);
    builder.set_alpn_protos(b"\x08http/1.1")?;
    builder.set_verify_callback(SslVerifyMode::PEER, on_verify);
    set_certificate_callback(builder);
    library.trust(builder, anchors)?;
    if let Some((identity, key)) = identity {
        let certificate = library.certificate(identity.certificate().der())?;
        builder.set_certificate(&certificate)?;
        builder.set_private_key(key.pkey())?;
        builder.check_private_key()?;
        offer_post_handshake_authentication(builder);
    }
    Ok(())
}

fn set_name(ssl: &mut Ssl, host: &Host) -> Result<(), ErrorStack> {
    let param = ssl.param_mut();
    param.set_hostflags(X509CheckFlags::NO_PARTIAL_WILDCARDS);
    match host {
        Host::Ip(ip) => param.set_ip(*ip),
        Host::Name(name) => {
            param.set_host(name)?;
            ssl.set_hostname(name)
        }
    }
}
