use crate::apis::MAX_PEM;
use crate::{ConfigError, TlsConfig};
use keybound_core::X5tS256;
use keybound_resource::regular_file;
use keybound_resource::tls::{OpensslServer, request_any_client_certificate};
use openssl::error::ErrorStack;
use openssl::pkey::{PKey, Private};
use openssl::ssl::{SslAcceptor, SslMethod};
use openssl::x509::X509;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

/// The content of the files of `[listen.tls]`.
pub(crate) struct LoadedTls {
    pub(super) server: Arc<OpensslServer>,
    pub(super) pinned: Vec<X5tS256>,
}

impl LoadedTls {
    /// Reads each file once.
    pub(crate) fn read(config: &TlsConfig) -> Result<Self, ConfigError> {
        let mut pinned = Vec::new();
        for path in &config.clients {
            let clients = PemFile::new("clients", path);
            for certificate in clients.certificates()? {
                let der = certificate.to_der().map_err(|error| clients.wrong(error))?;
                pinned.push(X5tS256::of_der(&der));
            }
        }
        Ok(Self {
            server: Arc::new(server(config)?),
            pinned,
        })
    }

    pub(super) fn is_pinned(&self, thumbprint: &X5tS256) -> bool {
        self.pinned.contains(thumbprint)
    }
}

fn server(config: &TlsConfig) -> Result<OpensslServer, ConfigError> {
    let failed = |error: ErrorStack| ConfigError::new(format!("[listen.tls]: {error}"));
    let certificate = PemFile::new("certificate", &config.certificate);
    let key = PemFile::new("key", &config.key);
    let mut acceptor =
        SslAcceptor::mozilla_intermediate_v5(SslMethod::tls_server()).map_err(failed)?;
    let mut chain = certificate.certificates()?.into_iter();
    if let Some(leaf) = chain.next() {
        let set = acceptor.set_certificate(&leaf);
        set.map_err(|error| certificate.wrong(error))?;
    }
    for issuer in chain {
        let added = acceptor.add_extra_chain_cert(issuer);
        added.map_err(|error| certificate.wrong(error))?;
    }
    let set = acceptor.set_private_key(&*key.private_key()?);
    set.and_then(|()| acceptor.check_private_key())
        .map_err(|_| key.wrong("it is not the key of the certificate"))?;
    request_any_client_certificate(&mut acceptor).map_err(failed)?;
    OpensslServer::new(acceptor.build().into_context())
        .map_err(|error| ConfigError::new(format!("[listen.tls]: {error}")))
}

/// A file, which is named in errors.
struct PemFile<'a> {
    setting: &'static str,
    path: &'a Path,
}

impl<'a> PemFile<'a> {
    fn new(setting: &'static str, path: &'a Path) -> Self {
        Self { setting, path }
    }

    /// At least one.
    fn certificates(&self) -> Result<Vec<X509>, ConfigError> {
        let certificates = X509::stack_from_pem(&self.read()?);
        let certificates = certificates.map_err(|error| self.wrong(error))?;
        match certificates.is_empty() {
            true => Err(self.wrong("it has no certificate in PEM")),
            false => Ok(certificates),
        }
    }

    fn private_key(&self) -> Result<PKey<Private>, ConfigError> {
        // Without the callback OpenSSL prompts on the terminal for the passphrase of an encrypted key.
        let no_passphrase = |_: &mut [u8]| Err(ErrorStack::get());
        let key = PKey::private_key_from_pem_callback(&self.read()?, no_passphrase);
        // The error of OpenSSL for an encrypted key would be empty.
        key.map_err(|_| self.wrong("it has no key in PEM, or it is encrypted"))
    }

    fn read(&self) -> Result<Vec<u8>, ConfigError> {
        regular_file::read(self.path, MAX_PEM).map_err(|error| self.wrong(error))
    }

    fn wrong(&self, error: impl fmt::Display) -> ConfigError {
        let (setting, path) = (self.setting, self.path.display());
        ConfigError::new(format!("[listen.tls] {setting} {path}: {error}"))
    }
}
