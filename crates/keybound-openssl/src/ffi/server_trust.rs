//! The verification of server certificates for other TLS libraries, as libssl does it for its clients.
use super::errors::settings_rejected;
use super::host_verification::{CHAIN_FLAGS, set_expected_host};
use super::library_context::LibraryContext;
use super::native;
use crate::Host;
use crate::TransportError;
use foreign_types::{ForeignType as _, ForeignTypeRef as _};
use openssl::error::ErrorStack;
use openssl::stack::Stack;
use openssl::x509::store::X509Store;
use openssl::x509::verify::X509VerifyParamRef;
use openssl::x509::{X509, X509StoreContext, X509StoreContextRef, X509VerifyResult};
use std::ffi::c_int;
use std::fmt;
use std::ptr::null;

/// Trust anchors in an OpenSSL store.
pub(crate) struct ServerTrust {
    library: &'static LibraryContext,
    store: X509Store,
    /// The security level of TLS clients on this host.
    security_level: c_int,
}

/// Why a server's certificate is rejected.
#[derive(Debug)]
pub(crate) enum Rejection {
    /// A certificate is malformed.
    Malformed,
    /// The chain or the name is not valid.
    Invalid(X509VerifyResult),
    /// OpenSSL could not verify it.
    NotVerified(ErrorStack),
}

impl ServerTrust {
    /// Trusts the system's anchors and these (DER).
    ///
    /// # Errors
    /// [`HostUnsupported`](crate::TransportErrorKind::HostUnsupported) if the host's OpenSSL does not allow it.
    pub(crate) fn new<'a>(anchors: impl Iterator<Item = &'a [u8]>) -> Result<Self, TransportError> {
        let library = LibraryContext::get()?;
        let context = library.tls_context()?.build();
        Ok(Self {
            library,
            store: library.separate_trust(anchors).map_err(settings_rejected)?,
            security_level: c_int::try_from(context.security_level()).unwrap_or(c_int::MAX),
        })
    }

    /// Verifies a server's certificates (DER), the first being its own, for a host and a time (seconds since 1970).
    ///
    /// # Errors
    /// [`Rejection`].
    pub(crate) fn verify<'a>(
        &self,
        first: &[u8],
        others: impl Iterator<Item = &'a [u8]>,
        host: &Host,
        now: u64,
    ) -> Result<(), Rejection> {
        let verified = self.verify_chain(first, others, host, now);
        // Errors left in the queue would be reported by the next call.
        let _ = ErrorStack::get();
        verified
    }

    fn verify_chain<'a>(
        &self,
        first: &[u8],
        others: impl Iterator<Item = &'a [u8]>,
        host: &Host,
        now: u64,
    ) -> Result<(), Rejection> {
        let read = |der: &[u8]| {
            self.library
                .certificate(der)
                .map_err(|_| Rejection::Malformed)
        };
        let first = read(first)?;
        let mut chain = Stack::<X509>::new().map_err(Rejection::NotVerified)?;
        for der in others {
            chain.push(read(der)?).map_err(Rejection::NotVerified)?;
        }
        let mut context = self.store_context().map_err(Rejection::NotVerified)?;
        let verified = context
            .init(&self.store, &first, &chain, |context| {
                self.expect(context, host, now)?;
                Ok((context.verify_cert()?, context.error()))
            })
            .map_err(Rejection::NotVerified)?;
        match verified {
            (true, X509VerifyResult::OK) => Ok(()),
            (_, X509VerifyResult::OK) => Err(Rejection::Invalid(
                X509VerifyResult::APPLICATION_VERIFICATION,
            )),
            (_, reason) => Err(Rejection::Invalid(reason)),
        }
    }

    /// Sets the expectations of a TLS client: a server certificate for this host, valid now.
    fn expect(
        &self,
        context: &mut X509StoreContextRef,
        host: &Host,
        now: u64,
    ) -> Result<(), ErrorStack> {
        // SAFETY: the store context is alive and initialized; the string is a constant. The parameters belong to the store
        // context, and nothing else uses them meanwhile.
        let param = unsafe {
            if native::X509_STORE_CTX_set_default(context.as_ptr(), c"ssl_server".as_ptr()) != 1 {
                return Err(ErrorStack::get());
            }
            X509VerifyParamRef::from_ptr_mut(native::X509_STORE_CTX_get0_param(context.as_ptr()))
        };
        param.set_flags(CHAIN_FLAGS)?;
        param.set_auth_level(self.security_level);
        // After the last `time_t` all certificates have expired.
        param.set_time(now.try_into().unwrap_or(libc::time_t::MAX));
        set_expected_host(param, host)
    }

    fn store_context(&self) -> Result<X509StoreContext, ErrorStack> {
        // SAFETY: the library context is alive; the result owns the store context.
        unsafe {
            let context = native::X509_STORE_CTX_new_ex(self.library.context(), null());
            if context.is_null() {
                return Err(ErrorStack::get());
            }
            Ok(X509StoreContext::from_ptr(context))
        }
    }
}

impl fmt::Debug for ServerTrust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerTrust").finish_non_exhaustive()
    }
}
