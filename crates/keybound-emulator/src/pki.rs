//! The emulator's two authorities. The server CA signs the certificates of the servers; the issuer signs binding certificates.
//! Neither is trusted for the other purpose.
mod authority;
mod ca_store;
mod client_certificate;
mod issuer;
mod server_ca;
mod state_dir;
#[cfg(test)]
mod tests;
mod token_not_after;

pub(crate) use client_certificate::{ClientCertificate, ClientCertificateProblem};
pub(crate) use issuer::ClientCertificateRequest;
pub(crate) use server_ca::ServerIdentity;
pub(crate) use token_not_after::{
    TokenNotAfter, read as read_token_not_after, time_of as read_token_not_after_value,
};

use crate::faults::ServerCertificateFault;
use crate::start_error::StartError;
use openssl::error::ErrorStack;
use std::net::IpAddr;
use std::path::Path;
use std::time::SystemTime;

/// Both authorities, and the certificate of the servers.
pub(crate) struct Pki {
    store: ca_store::CaStore,
    issuer: issuer::Issuer,
    server: ServerIdentity,
    service_fabric: ServerIdentity,
    /// The address on which the servers listen.
    address: IpAddr,
}

impl Pki {
    /// Creates both authorities, or loads the server CA from its directory. The certificate of the servers is for the usual names of
    /// loopback and for the address on which they listen.
    ///
    /// # Errors
    /// If the directory or a file in it cannot be used, or OpenSSL fails.
    pub fn new(state_dir: Option<&Path>, address: IpAddr) -> Result<Self, StartError> {
        let failed = |error: ErrorStack| StartError::Certificates(error.into());
        let store = match state_dir {
            Some(folder) => ca_store::CaStore::stored(folder)?,
            None => ca_store::CaStore::temporary()?,
        };
        Ok(Self {
            issuer: issuer::Issuer::new().map_err(failed)?,
            server: store.ca().server_identity(None, address).map_err(failed)?,
            service_fabric: ServerIdentity::self_signed(address).map_err(failed)?,
            store,
            address,
        })
    }

    /// The file with the server CA's certificate, PEM.
    pub fn ca_file(&self) -> &Path {
        self.store.ca_file()
    }

    /// The server CA's certificate, PEM.
    pub fn ca_pem(&self) -> &[u8] {
        self.store.ca().pem()
    }

    /// Key and certificate of all servers but Service Fabric's.
    pub fn server(&self) -> &ServerIdentity {
        &self.server
    }

    /// Key and self-signed certificate of Service Fabric's server.
    pub fn service_fabric(&self) -> &ServerIdentity {
        &self.service_fabric
    }

    /// Key and certificate of a server with a fault.
    ///
    /// # Errors
    /// If OpenSSL fails.
    pub fn faulty_server(
        &self,
        fault: ServerCertificateFault,
    ) -> Result<ServerIdentity, ErrorStack> {
        self.store.ca().server_identity(Some(fault), self.address)
    }

    /// Signs a binding certificate and returns its DER.
    ///
    /// # Errors
    /// If OpenSSL fails, for example with a malformed public key.
    pub fn issue(&self, request: &ClientCertificateRequest<'_>) -> Result<Vec<u8>, ErrorStack> {
        self.issuer.issue(request)
    }

    /// The certificate of the authority that signs binding certificates, PEM.
    ///
    /// # Errors
    /// If OpenSSL fails.
    pub fn issuer_pem(&self) -> Result<Vec<u8>, ErrorStack> {
        self.issuer.certificate().to_pem()
    }

    /// Parses a client certificate (DER) and checks that the issuer signed it and that it is valid at `now`. The TLS handshake
    /// proves possession of the key.
    ///
    /// # Errors
    /// The problem of the certificate.
    pub fn check_client_certificate(
        &self,
        der: &[u8],
        now: SystemTime,
    ) -> Result<ClientCertificate, ClientCertificateProblem> {
        client_certificate::check(der, self.issuer.certificate(), now)
    }
}
