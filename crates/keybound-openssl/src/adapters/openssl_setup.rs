use super::verifying_signer::VerifyingSigner;
use crate::ConnectionState;
use crate::Host;
use crate::engine::{AllowedVersions, TlsContexts, configure_security, present_certificate};
use crate::ffi::{LibraryContext, ProviderKey, remove_other_trust, settings_rejected};
use crate::{ClientIdentity, TlsEngine, TlsVersions, TrustAnchors};
use keybound_core::tls::VersionPolicy;
use keybound_core::{Error, ErrorKind, Stage};
use openssl::ssl::{Ssl, SslContextBuilder};
use std::fmt;
use std::sync::Arc;

/// Configures OpenSSL for callers with their own OpenSSL client (`tokio-openssl`, `hyper-openssl`, `SslConnector`): certificate and
/// key, trust anchors, and security settings.
///
/// Use the first of these that your client allows; each leaves more to the caller than the one before:
///
/// | | set by Keybound | left to the caller |
/// |---|---|---|
/// | [`ssl`](Self::ssl) | everything, including the verification of the server's name | ALPN |
/// | [`set_up`](Self::set_up) | the settings of a context | the server's name (`SslConnector::connect` and `configure` verify it), versions by host |
/// | [`context_builder`](Self::context_builder) | the same, in a context of Keybound's | **the server's name, which nothing else verifies**, versions by host |
///
/// The certificate is sent alone whenever a server requests it, also by TLS 1.2 renegotiation and after the TLS 1.3 handshake, at
/// most 8 times on a connection; its key cannot be exported. The trust anchors replace the earlier ones, including verification
/// stores, certificate verification callbacks and pre-shared keys. Sessions, tickets and compression are disabled. Rejected are
/// servers that present another certificate in a renegotiation, that are named by the common name only, or that begin too many
/// handshakes (about 30 on a connection, 8 without data between them). Cipher suites without a server certificate or encryption,
/// and finite-field Diffie-Hellman, are never negotiated, whatever the host or the caller sets; the security level is at least 2.
/// The context's security and message callbacks are replaced. Trust anchors for loopback hosts only do not apply, as nothing checks
/// where the caller connects. The caller is responsible for settings that it changes afterwards.
///
/// Signatures are created within the handshake. A key that is [slow](keybound_keys::SigningCost::Slow) signs on another thread. On
/// a worker of a multi-thread tokio runtime, other tasks run meanwhile; elsewhere, also in a `LocalSet`, the thread of the
/// handshake waits, for at most 30 seconds: a key that hangs fails the handshake. Connections of a renewed certificate's
/// predecessor must not carry the new token: create a new setup, and a client with it, from the binding of the new token.
pub struct OpensslSetup {
    library: &'static LibraryContext,
    identity: ClientIdentity,
    key: ProviderKey,
    trust: TrustAnchors,
    versions: VersionPolicy,
    contexts: TlsContexts,
}

impl OpensslSetup {
    /// A setup with an identity, trust anchors, and TLS versions by host.
    ///
    /// # Errors
    /// [`HostUnsupported`](ErrorKind::HostUnsupported) if the host's OpenSSL configuration does not allow the key.
    pub fn new(
        identity: &ClientIdentity,
        trust: &TrustAnchors,
        versions: &VersionPolicy,
    ) -> Result<Self, Error> {
        let library = LibraryContext::get()?;
        let identity = identity.map_key(|key| Arc::new(VerifyingSigner::new(key)));
        let trust = trust.for_any_host();
        Ok(Self {
            library,
            key: ProviderKey::new(library, Arc::clone(identity.key()))?,
            contexts: TlsContexts::new(Some(&identity), &trust)?,
            identity,
            trust,
            versions: versions.clone(),
        })
    }

    /// A TLS client for one connection to a host: a name or an address, IPv6 in brackets. It verifies and sends the name, and
    /// offers the versions that the policy has for the host. ALPN offers `http/1.1`; `Ssl::set_alpn_protos` changes that. Pass it
    /// to `tokio_openssl::SslStream::new`, or call `Ssl::connect`.
    ///
    /// # Errors
    /// [`InvalidRequest`](ErrorKind::InvalidRequest) if the host is malformed,
    /// [`HostUnsupported`](ErrorKind::HostUnsupported) if the host's configuration allows none of the
    /// versions.
    pub fn ssl(&self, host: &str) -> Result<Ssl, Error> {
        let host = Host::parse(host)
            .ok_or_else(|| Error::invalid_request("the host of the connection is malformed"))?;
        let versions = self.versions.for_host(&host);
        let mut ssl = self.contexts.session(&host, versions)?.ssl;
        let state = ConnectionState::for_caller(TlsEngine::OpenSsl);
        ssl.set_ex_data(self.library.state(), Arc::new(state));
        Ok(ssl)
    }

    /// Configures a context of the caller's, such as that of `SslConnector::builder`, in any library context. Hosts of Key Vault and
    /// Managed HSM require [`Tls12`](TlsVersions::Tls12).
    ///
    /// # Errors
    /// [`HostUnsupported`](ErrorKind::HostUnsupported) if the host's configuration does not allow it. The builder must not be
    /// used then.
    pub fn set_up(
        &self,
        builder: &mut SslContextBuilder,
        versions: TlsVersions,
    ) -> Result<(), Error> {
        let Some((lowest, highest)) = AllowedVersions::of(builder).limits(versions) else {
            return Err(Error::new(
                ErrorKind::HostUnsupported,
                Stage::Request,
                "the host's OpenSSL configuration does not allow the tls version",
            ));
        };
        configure_security(builder);
        remove_other_trust(builder);
        // A separate store: certificates that the caller adds to it must not be trusted elsewhere.
        let store = self.library.separate_trust(self.trust.for_all());
        builder.set_cert_store(store.map_err(settings_rejected)?);
        present_certificate(builder, self.library, &self.identity, &self.key)
            .and_then(|()| builder.set_min_proto_version(Some(lowest)))
            .and_then(|()| builder.set_max_proto_version(Some(highest)))
            .map_err(|errors| settings_rejected(errors).into())
    }

    /// A context in Keybound's library context, which lives as long as the process, configured as by [`set_up`](Self::set_up). An
    /// `Ssl` of it verifies the server's chain and **not its name**, unless `ssl.param_mut().set_host(…)` sets it;
    /// [`ssl`](Self::ssl) does so.
    ///
    /// # Errors
    /// As [`set_up`](Self::set_up).
    pub fn context_builder(&self, versions: TlsVersions) -> Result<SslContextBuilder, Error> {
        let mut builder = self.library.tls_context()?;
        self.set_up(&mut builder, versions)?;
        Ok(builder)
    }
}

impl fmt::Debug for OpensslSetup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpensslSetup")
            .field("certificate", self.identity.certificate())
            .field("trust", &self.trust)
            .field("versions", &self.versions)
            .finish_non_exhaustive()
    }
}
