//! Verification of servers' certificates for TLS stacks other than OpenSSL, as libssl does it for its clients.
use super::library::Library;
use super::native;
use crate::Host;
use crate::engine::{ANCHOR_RULES, not_taken, set_expected_host};
use crate::{TransportError, TrustAnchors};
use foreign_types::{ForeignType as _, ForeignTypeRef as _};
use openssl::error::ErrorStack;
use openssl::stack::Stack;
use openssl::x509::store::X509Store;
use openssl::x509::verify::X509VerifyParamRef;
use openssl::x509::{X509, X509StoreContext, X509StoreContextRef, X509VerifyResult};
use std::ffi::c_int;
use std::fmt;
use std::ptr::null;

/// The trust anchors, as a store of OpenSSL.
pub(crate) struct ServerTrust {
    library: &'static Library,
    store: X509Store,
    /// The host's, as for every TLS client.
    security_level: c_int,
}

/// Why a server's certificate is refused.
#[derive(Debug)]
pub(crate) enum Refused {
    /// A certificate cannot be read.
    Malformed,
    /// The chain or the name is not valid.
    Invalid(X509VerifyResult),
    /// OpenSSL could not verify it.
    NotVerified(ErrorStack),
}

impl ServerTrust {
    /// Trusts the system's anchors and those added for every host.
    ///
    /// # Errors
    /// [`HostUnsupported`](crate::TransportErrorKind::HostUnsupported) where the host's OpenSSL does not allow it.
    pub(crate) fn new(trust: &TrustAnchors) -> Result<Self, TransportError> {
        let library = Library::get()?;
        let context = library.tls_context()?.build();
        Ok(Self {
            library,
            store: library.own_trust(trust.for_all()).map_err(not_taken)?,
            security_level: c_int::try_from(context.security_level()).unwrap_or(c_int::MAX),
        })
    }

    /// Verifies a server's certificates (DER), the first being its own, for a host at a time (seconds since 1970).
    ///
    /// # Errors
    /// [`Refused`].
    pub(crate) fn verify<'a>(
        &self,
        first: &[u8],
        others: impl Iterator<Item = &'a [u8]>,
        host: &Host,
        now: u64,
    ) -> Result<(), Refused> {
        let verified = self.verify_chain(first, others, host, now);
        // Errors on the queue would be read by the next call.
        let _ = ErrorStack::get();
        verified
    }

    fn verify_chain<'a>(
        &self,
        first: &[u8],
        others: impl Iterator<Item = &'a [u8]>,
        host: &Host,
        now: u64,
    ) -> Result<(), Refused> {
        let read = |der: &[u8]| {
            self.library
                .certificate(der)
                .map_err(|_| Refused::Malformed)
        };
        let first = read(first)?;
        let mut chain = Stack::<X509>::new().map_err(Refused::NotVerified)?;
        for der in others {
            chain.push(read(der)?).map_err(Refused::NotVerified)?;
        }
        let mut context = self.store_context().map_err(Refused::NotVerified)?;
        let verified = context
            .init(&self.store, &first, &chain, |context| {
                self.expect(context, host, now)?;
                Ok((context.verify_cert()?, context.error()))
            })
            .map_err(Refused::NotVerified)?;
        match verified {
            (true, X509VerifyResult::OK) => Ok(()),
            (_, X509VerifyResult::OK) => {
                Err(Refused::Invalid(X509VerifyResult::APPLICATION_VERIFICATION))
            }
            (_, refused) => Err(Refused::Invalid(refused)),
        }
    }

    /// Sets what a TLS client expects: a server, of this name, now.
    fn expect(
        &self,
        context: &mut X509StoreContextRef,
        host: &Host,
        now: u64,
    ) -> Result<(), ErrorStack> {
        // SAFETY: the store context is alive and initialised; the string is a constant. The parameters belong to the
        // store context, and nothing else uses them meanwhile.
        let param = unsafe {
            if native::X509_STORE_CTX_set_default(context.as_ptr(), c"ssl_server".as_ptr()) != 1 {
                return Err(ErrorStack::get());
            }
            X509VerifyParamRef::from_ptr_mut(native::X509_STORE_CTX_get0_param(context.as_ptr()))
        };
        param.set_flags(ANCHOR_RULES)?;
        param.set_auth_level(self.security_level);
        // After the end of `time_t` everything has expired.
        param.set_time(now.try_into().unwrap_or(libc::time_t::MAX));
        set_expected_host(param, host)
    }

    fn store_context(&self) -> Result<X509StoreContext, ErrorStack> {
        // SAFETY: the library context is alive; what is made is taken over.
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
