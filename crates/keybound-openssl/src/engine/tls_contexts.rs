use super::Session;
use crate::ConnectionState;
use crate::Host;
use crate::ffi::{
    CHAIN_FLAGS, LibraryContext, ProviderKey, apply_security_policy, disable_resumption,
    offer_post_handshake_auth, on_verify, set_certificate_callback, set_expected_host,
    set_message_callback, set_pinned_verification, settings_rejected, with_reason,
};
use crate::{
    ClientIdentity, TlsEngine, TlsVersions, TransportError, TransportErrorKind, TrustAnchors,
};
use keybound_core::Sha1Thumbprint;
use keybound_keys::LastKeyError;
use openssl::error::ErrorStack;
use openssl::ssl::{
    Ssl, SslContext, SslContextBuilder, SslMode, SslOptions, SslVerifyMode, SslVersion,
};
use std::sync::Arc;

/// OpenSSL's contexts of one client, with its identity, trust and security settings.
pub struct TlsContexts {
    general: SslContext,
    /// For loopback hosts, if further anchors are trusted for them.
    loopback: Option<SslContext>,
    host_allows: AllowedVersions,
    has_identity: bool,
    /// The only certificate that servers may present, for contexts that verify by it.
    pinned: Option<Sha1Thumbprint>,
    last_key_error: Option<Arc<LastKeyError>>,
}

/// TLS versions that the host's configuration allows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AllowedVersions {
    tls12: bool,
    tls13: bool,
}

impl TlsContexts {
    /// Contexts that present the identity, if any, and trust these anchors.
    ///
    /// # Errors
    /// [`HostUnsupported`](TransportErrorKind::HostUnsupported) if the host's configuration does not allow it.
    pub fn new(
        identity: Option<&ClientIdentity>,
        trust: &TrustAnchors,
    ) -> Result<Self, TransportError> {
        let library = LibraryContext::get()?;
        let key = identity
            .map(|identity| ProviderKey::new(library, Arc::clone(identity.key())))
            .transpose()?;
        let presented = identity.zip(key.as_ref());
        let build = |anchors: &mut dyn Iterator<Item = &[u8]>| {
            let mut builder = library.tls_context()?;
            let allowed = AllowedVersions::of(&mut builder);
            configure(&mut builder, library, presented, anchors).map_err(settings_rejected)?;
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
            pinned: None,
            last_key_error: key.map(|key| Arc::clone(key.last_error())),
        })
    }

    /// Contexts without an identity for a server with this one certificate. Its issuers, names and validity are not checked, and no
    /// trust anchor replaces it.
    ///
    /// # Errors
    /// [`HostUnsupported`](TransportErrorKind::HostUnsupported) if the host's configuration does not allow it.
    pub fn pinned(certificate: Sha1Thumbprint) -> Result<Self, TransportError> {
        let mut builder = LibraryContext::get()?.tls_context()?;
        let host_allows = AllowedVersions::of(&mut builder);
        configure_client(&mut builder).map_err(settings_rejected)?;
        set_pinned_verification(&mut builder);
        Ok(Self {
            general: builder.build(),
            loopback: None,
            host_allows,
            has_identity: false,
            pinned: Some(certificate),
            last_key_error: None,
        })
    }

    /// The key's error, if it did not sign; `None` without an identity.
    pub fn last_key_error(&self) -> Option<&Arc<LastKeyError>> {
        self.last_key_error.as_ref()
    }

    /// A TLS client for one connection to the host.
    ///
    /// # Errors
    /// [`HostUnsupported`](TransportErrorKind::HostUnsupported) if the host's configuration allows none of the versions.
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
        let state = Arc::new(match self.pinned {
            None => ConnectionState::new(TlsEngine::OpenSsl, self.has_identity),
            Some(certificate) => ConnectionState::pinned(TlsEngine::OpenSsl, certificate),
        });
        let create = || -> Result<Ssl, ErrorStack> {
            let mut ssl = Ssl::new(context)?;
            ssl.set_min_proto_version(Some(lowest))?;
            ssl.set_max_proto_version(Some(highest))?;
            set_name(&mut ssl, host)?;
            Ok(ssl)
        };
        let mut ssl = create().map_err(|errors| {
            let message = format!("no tls client can be created for {host}");
            TransportError::new(TransportErrorKind::Tls, with_reason(&message, &errors))
        })?;
        ssl.set_ex_data(LibraryContext::get()?.state(), Arc::clone(&state));
        Ok(Session { ssl, state })
    }
}

impl AllowedVersions {
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

    /// The lowest and highest of the requested versions; `None` if the host allows none of them.
    pub(crate) fn limits(self, versions: TlsVersions) -> Option<(SslVersion, SslVersion)> {
        let tls12 = versions.includes_12() && self.tls12;
        let tls13 = versions.includes_13() && self.tls13;
        let lowest = if tls12 {
            SslVersion::TLS1_2
        } else {
            SslVersion::TLS1_3
        };
        let highest = if tls13 {
            SslVersion::TLS1_3
        } else {
            SslVersion::TLS1_2
        };
        (tls12 || tls13).then_some((lowest, highest))
    }
}

fn configure(
    builder: &mut SslContextBuilder,
    library: &LibraryContext,
    identity: Option<(&ClientIdentity, &ProviderKey)>,
    anchors: &mut dyn Iterator<Item = &[u8]>,
) -> Result<(), ErrorStack> {
    configure_client(builder)?;
    library.set_trust(builder, anchors)?;
    match identity {
        Some((identity, key)) => present_certificate(builder, library, identity, key),
        None => Ok(()),
    }
}

fn configure_client(builder: &mut SslContextBuilder) -> Result<(), ErrorStack> {
    configure_security(builder);
    builder.set_alpn_protos(b"\x08http/1.1")
}

/// The settings of all connections that may present a binding certificate.
pub(crate) fn configure_security(builder: &mut SslContextBuilder) {
    // Hyper retries with another buffer, and accepts partial writes. The certificate is sent alone: OpenSSL would add issuers
    // that it finds among the trust anchors.
    builder.set_mode(
        SslMode::AUTO_RETRY
            | SslMode::ENABLE_PARTIAL_WRITE
            | SslMode::ACCEPT_MOVING_WRITE_BUFFER
            | SslMode::RELEASE_BUFFERS
            | SslMode::NO_AUTO_CHAIN,
    );
    // Every connection authenticates, and a renegotiation is a full handshake.
    disable_resumption(builder);
    builder.set_options(SslOptions::NO_TICKET | SslOptions::NO_COMPRESSION);
    builder.set_verify_callback(SslVerifyMode::PEER, on_verify);
    set_certificate_callback(builder);
    set_message_callback(builder);
    apply_security_policy(builder);
    // Fails for unknown flags only.
    let _ = builder.verify_param_mut().set_flags(CHAIN_FLAGS);
}

/// Makes a context present the certificate whenever a server requests it.
pub(crate) fn present_certificate(
    builder: &mut SslContextBuilder,
    library: &LibraryContext,
    identity: &ClientIdentity,
    key: &ProviderKey,
) -> Result<(), ErrorStack> {
    let certificate = library.certificate(identity.certificate().der())?;
    builder.set_certificate(&certificate)?;
    builder.set_private_key(key.pkey())?;
    builder.check_private_key()?;
    offer_post_handshake_auth(builder);
    Ok(())
}

fn set_name(ssl: &mut Ssl, host: &Host) -> Result<(), ErrorStack> {
    set_expected_host(ssl.param_mut(), host)?;
    match host {
        Host::Ip(_) => Ok(()),
        Host::Name(name) => ssl.set_hostname(name),
    }
}
