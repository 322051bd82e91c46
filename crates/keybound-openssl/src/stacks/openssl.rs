use super::verifying_signer::VerifyingSigner;
use crate::ConnectionState;
use crate::Host;
use crate::bridge::{BridgedKey, Library, forget_other_trust};
use crate::engine::{Allowed, TlsContexts, not_taken, present, set_rules};
use crate::{ClientIdentity, TlsEngine, TlsVersions, TrustAnchors};
use keybound_core::tls::VersionPolicy;
use keybound_core::{Error, ErrorKind, Stage};
use openssl::ssl::{Ssl, SslContextBuilder};
use std::fmt;
use std::sync::Arc;

/// Sets OpenSSL up for callers with their own OpenSSL stack (`tokio-openssl`, `hyper-openssl`, `SslConnector`):
/// certificate and key, whom to trust, and the rules that hold for such connections.
///
/// Take the first of these that your stack allows; each leaves more to the caller than the one before:
///
/// | | of Keybound | left to the caller |
/// |---|---|---|
/// | [`ssl`](Self::ssl) | everything, the verification of the server's name included | ALPN |
/// | [`set_up`](Self::set_up) | what a context holds | the server's name (`SslConnector::connect` and `configure` verify it by themselves), versions by host |
/// | [`context_builder`](Self::context_builder) | the same, in a context of Keybound's | **the server's name, which nothing else verifies**, versions by host |
///
/// Set up are: the certificate, which is sent alone whenever a server requests it, by renegotiation of TLS 1.2 and after the
/// handshake of TLS 1.3 too (at most 8 times on a connection); the key behind it, which cannot be exported; trust, which
/// replaces what was there, stores for verification, verification callbacks of certificates and shared secrets (PSK) too; no sessions, no tickets, no compression. Refused are a server that shows another certificate
/// when it renegotiates, one that only its common name names, and one that begins handshakes over and over (about 30 on a
/// connection, 8 without data between them). Cipher suites without a certificate of the server or without encryption, and finite-field Diffie-Hellman, are
/// never negotiated, whatever the host or the caller sets. The security level is 2 at least. The context's callbacks for
/// security and for messages are replaced. What was added to the trust for loopback hosts only does not count here, as
/// nothing checks where the caller's stack connects to. What else a caller sets on a builder afterwards is the caller's.
///
/// Signatures are made within the handshake. A key that is [slow](keybound_keys::SigningCost::Slow) signs on another thread,
/// and makes room for the other tasks of a multi-thread tokio runtime meanwhile; elsewhere, in a `LocalSet` too, the
/// handshake's thread waits, for 30 seconds at most: a key that hangs fails the handshake. When the token is
/// renewed with another certificate, connections of the old one must not carry it: make a new set-up, and a new client
/// around it, from the new token's binding.
pub struct OpensslSetup {
    library: &'static Library,
    identity: ClientIdentity,
    key: BridgedKey,
    trust: TrustAnchors,
    versions: VersionPolicy,
    contexts: TlsContexts,
}

impl OpensslSetup {
    /// From what is presented, whom to trust, and the TLS versions by host.
    ///
    /// # Errors
    /// [`HostUnsupported`](ErrorKind::HostUnsupported) where the host's OpenSSL configuration does not let the
    /// key be used.
    pub fn new(
        identity: &ClientIdentity,
        trust: &TrustAnchors,
        versions: &VersionPolicy,
    ) -> Result<Self, Error> {
        let library = Library::get()?;
        let identity = identity.map_key(|key| Arc::new(VerifyingSigner::new(key)));
        let trust = trust.for_any_host();
        Ok(Self {
            library,
            key: BridgedKey::new(library, Arc::clone(identity.key()))?,
            contexts: TlsContexts::new(Some(&identity), &trust)?,
            identity,
            trust,
            versions: versions.clone(),
        })
    }

    /// A TLS client for one connection to a host, a name or an address (an IPv6 one in brackets): it verifies that name,
    /// sends it, and offers the versions that the policy has for the host. ALPN offers `http/1.1`;
    /// `Ssl::set_alpn_protos` changes that. Give it to `tokio_openssl::SslStream::new`, or to `Ssl::connect`.
    ///
    /// # Errors
    /// [`InvalidRequest`](ErrorKind::InvalidRequest) where the host is malformed,
    /// [`HostUnsupported`](ErrorKind::HostUnsupported) where the host's configuration allows none of the
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

    /// Sets up a context of the caller's own, made by `SslConnector::builder` for one. The library context that it was
    /// made in does not matter. Hosts of Key Vault and Managed HSM want [`Tls12`](TlsVersions::Tls12).
    ///
    /// # Errors
    /// [`HostUnsupported`](ErrorKind::HostUnsupported) where the host's configuration does not allow it. The
    /// builder is then not to be used.
    pub fn set_up(
        &self,
        builder: &mut SslContextBuilder,
        versions: TlsVersions,
    ) -> Result<(), Error> {
        let Some((lowest, highest)) = Allowed::of(builder).limits(versions) else {
            return Err(Error::new(
                ErrorKind::HostUnsupported,
                Stage::Request,
                "the host's OpenSSL configuration does not allow the tls version",
            ));
        };
        set_rules(builder);
        forget_other_trust(builder);
        // A store of its own: what the caller adds to it must not count for anybody else.
        let store = self.library.own_trust(self.trust.for_all());
        builder.set_cert_store(store.map_err(not_taken)?);
        present(builder, self.library, &self.identity, &self.key)
            .and_then(|()| builder.set_min_proto_version(Some(lowest)))
            .and_then(|()| builder.set_max_proto_version(Some(highest)))
            .map_err(|errors| not_taken(errors).into())
    }

    /// A context in Keybound's own library context, which lives as long as the process, set up as by
    /// [`set_up`](Self::set_up). An `Ssl` made from it verifies the server's chain and **not its name**, until
    /// `ssl.param_mut().set_host(…)` says which; [`ssl`](Self::ssl) does that by itself.
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
