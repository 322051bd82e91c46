//! The private library context. It is created once for the process, contains no data of users, and does not change the process's
//! default context: a provider that is loaded there would disable the automatic default provider.
//!
//! It reads the system's openssl.cnf at its built-in path. The file that `OPENSSL_CONF` names applies to the process: libcrypto
//! loads its providers into the default context, and libssl applies its `ssl_conf` to every TLS context, also those of this
//! crate, where [`apply_security_policy`] limits it.
use super::errors::{unsupported, with_reason};
use super::native;
use super::security_policy::apply_security_policy;
use super::system_trust::SystemTrust;
use crate::ConnectionState;
use crate::TransportError;
use foreign_types::ForeignType as _;
use openssl::error::ErrorStack;
use openssl::ex_data::Index;
use openssl::ssl::{Ssl, SslContextBuilder};
use openssl::x509::X509;
#[cfg(any(feature = "openssl", feature = "rustls"))]
use openssl::x509::store::X509Store;
use openssl_sys::{OSSL_LIB_CTX, OSSL_PROVIDER};
use std::ffi::{CStr, CString, c_int, c_long, c_void};
use std::path::Path;
use std::ptr::{null, null_mut};
use std::sync::{Arc, OnceLock};

/// The private library context, as the host's openssl.cnf configures it.
pub(crate) struct LibraryContext {
    state: Index<Ssl, Arc<ConnectionState>>,
    system_trust: SystemTrust,
    // Dropped last: the trust anchors belong to it.
    context: OwnedContext,
}

/// A library context, and the provider that is loaded into it.
struct OwnedContext {
    context: *mut OSSL_LIB_CTX,
    provider: *mut OSSL_PROVIDER,
}

impl Drop for OwnedContext {
    fn drop(&mut self) {
        // SAFETY: both pointers are owned, and null is permitted for the context only. The context of [`LibraryContext::get`] is never
        // dropped: keys and TLS contexts in it stay valid. One that could not be opened has none.
        unsafe {
            if !self.provider.is_null() {
                openssl_sys::OSSL_PROVIDER_unload(self.provider);
            }
            openssl_sys::OSSL_LIB_CTX_free(self.context);
        }
    }
}

// SAFETY: a library context may be used from several threads.
unsafe impl Send for LibraryContext {}
// SAFETY: as above.
unsafe impl Sync for LibraryContext {}

impl LibraryContext {
    /// The context, created by the first call.
    ///
    /// # Errors
    /// [`HostUnsupported`](crate::TransportErrorKind::HostUnsupported) if the host's configuration cannot be loaded.
    pub(crate) fn get() -> Result<&'static Self, TransportError> {
        static LIBRARY: OnceLock<Result<LibraryContext, String>> = OnceLock::new();
        LIBRARY
            .get_or_init(|| {
                openssl::init();
                Self::open(system_configuration().as_deref())
            })
            .as_ref()
            .map_err(|reason| unsupported(reason.clone()))
    }

    fn open(configuration: Option<&CStr>) -> Result<Self, String> {
        // SAFETY: null is the process's default context.
        if unsafe { native::EVP_default_properties_is_fips_enabled(null_mut()) } == 1 {
            // In the system's file or that of `OPENSSL_CONF`; the provider is not a validated module in either case.
            return Err(
                "the host's OpenSSL configuration allows validated (FIPS) modules only, which Keybound's provider is not"
                    .to_owned(),
            );
        }
        let state = Ssl::new_ex_index()
            .map_err(|error| with_reason("no index for connection data", &error))?;
        // SAFETY: no arguments.
        let context = unsafe { openssl_sys::OSSL_LIB_CTX_new() };
        if context.is_null() {
            return Err(with_reason("no library context", &ErrorStack::get()));
        }
        let mut library = Self {
            state,
            system_trust: SystemTrust::default(),
            context: OwnedContext {
                context,
                provider: null_mut(),
            },
        };
        let opened = library
            .load_configuration(configuration)
            .and_then(|()| library.add_provider());
        // Errors left in the queue would be reported by the next call.
        let errors = ErrorStack::get();
        opened
            .map_err(|message| with_reason(message, &errors))
            .map(|()| library)
    }

    /// Applies the sections of openssl.cnf on providers, algorithms and randomness to this context. The other sections apply to
    /// the whole process: libcrypto has applied them at its start, and they must not change while others use them.
    fn load_configuration(&self, file: Option<&CStr>) -> Result<(), &'static str> {
        let Some(file) = file else {
            return Ok(());
        };
        // SAFETY: the configuration is freed on all paths; strings and stacks in it are used before that.
        unsafe {
            let conf = native::NCONF_new_ex(self.context.context, null_mut());
            if conf.is_null() {
                return Err("no memory for the host's OpenSSL configuration");
            }
            let mut line: c_long = 0;
            let loaded = native::NCONF_load(conf, file.as_ptr(), &raw mut line) == 1 && {
                remove_process_sections(conf);
                native::CONF_modules_load(conf, null(), 0) > 0
            };
            openssl_sys::NCONF_free(conf);
            if !loaded {
                return Err("the host's OpenSSL configuration cannot be loaded");
            }
        }
        Ok(())
    }

    /// Adds the provider after those that the host has configured, which have precedence for all other algorithms.
    fn add_provider(&mut self) -> Result<(), &'static str> {
        unsafe extern "C" fn visit(_: *mut OSSL_PROVIDER, _: *mut c_void) -> c_int {
            1
        }
        // SAFETY: the context is alive, the strings and the entry are constants. The iteration activates the default provider
        // if the host has configured none, before this provider is added.
        unsafe {
            let context = self.context.context;
            native::OSSL_PROVIDER_do_all(context, visit, null_mut());
            let name = keybound_provider::NAME.as_ptr();
            if native::OSSL_PROVIDER_add_builtin(context, name, keybound_provider::init) == 1 {
                self.context.provider = openssl_sys::OSSL_PROVIDER_try_load(context, name, 1);
            }
        }
        if self.context.provider.is_null() {
            return Err("Keybound's provider cannot be added to OpenSSL");
        }
        Ok(())
    }

    pub(super) fn context(&self) -> *mut OSSL_LIB_CTX {
        self.context.context
    }

    /// The index of the connection state in an `Ssl`.
    pub(crate) fn state(&self) -> Index<Ssl, Arc<ConnectionState>> {
        self.state
    }

    /// A TLS client context with the host's settings and the provider.
    pub(crate) fn tls_context(&self) -> Result<SslContextBuilder, TransportError> {
        // SAFETY: the builder takes ownership of the context.
        unsafe {
            let context = native::SSL_CTX_new_ex(
                self.context.context,
                null(),
                openssl_sys::TLS_client_method(),
            );
            if context.is_null() {
                return Err(unsupported(with_reason(
                    "the host's OpenSSL configuration allows no TLS",
                    &ErrorStack::get(),
                )));
            }
            let mut builder = SslContextBuilder::from_ptr(context);
            apply_security_policy(&mut builder);
            Ok(builder)
        }
    }

    /// Sets the trust anchors of a TLS context: the system's, and these certificates (DER).
    pub(crate) fn set_trust<'a>(
        &self,
        builder: &mut SslContextBuilder,
        more: impl Iterator<Item = &'a [u8]>,
    ) -> Result<(), ErrorStack> {
        let more = more.map(<[u8]>::to_vec).collect();
        self.system_trust.apply(self, builder, more)
    }

    /// The same trust anchors in a separate store, to which callers may add.
    #[cfg(any(feature = "openssl", feature = "rustls"))]
    pub(crate) fn separate_trust<'a>(
        &self,
        more: impl Iterator<Item = &'a [u8]>,
    ) -> Result<X509Store, ErrorStack> {
        let more: Vec<_> = more.map(<[u8]>::to_vec).collect();
        self.system_trust.copy(self, &more)
    }

    /// Reads the system's trust anchors now.
    pub(crate) fn warm_up(&self) {
        if let Err(errors) = self.system_trust.warm_up(self) {
            tracing::debug!(%errors, "the system's trust anchors cannot be read yet");
        }
    }

    /// Reads a certificate for use in this context.
    pub(crate) fn certificate(&self, der: &[u8]) -> Result<X509, ErrorStack> {
        self.read_certificate(der, openssl_sys::d2i_X509)
    }

    /// Reads a trust anchor, with the trust settings that follow the certificate in OpenSSL's `TRUSTED CERTIFICATE`.
    pub(crate) fn anchor(&self, der: &[u8]) -> Result<X509, ErrorStack> {
        self.read_certificate(der, native::d2i_X509_AUX)
    }

    fn read_certificate(&self, der: &[u8], read: ReadCertificate) -> Result<X509, ErrorStack> {
        // SAFETY: either function fills the given certificate; if it fails, it leaves the certificate, or frees it and clears
        // the pointer.
        unsafe {
            let mut certificate = native::X509_new_ex(self.context.context, null());
            let mut input = der.as_ptr();
            let length = c_long::try_from(der.len()).unwrap_or(0);
            if certificate.is_null() || read(&raw mut certificate, &raw mut input, length).is_null()
            {
                // Null is ignored.
                openssl_sys::X509_free(certificate);
                return Err(ErrorStack::get());
            }
            let certificate = X509::from_ptr(certificate);
            // Rejects data after the certificate.
            if input.offset_from_unsigned(der.as_ptr()) != der.len() {
                return Err(ErrorStack::get());
            }
            Ok(certificate)
        }
    }
}

type ReadCertificate = unsafe extern "C" fn(
    *mut *mut openssl_sys::X509,
    *mut *const u8,
    c_long,
) -> *mut openssl_sys::X509;

/// Removes the settings that do not belong to one library context from the section that `openssl_conf` names.
///
/// # Safety
/// `conf` is a loaded configuration.
unsafe fn remove_process_sections(conf: *const openssl_sys::CONF) {
    // SAFETY: strings, stack and entries belong to the configuration, which is alive; an entry that is removed from the stack
    // is still freed with it.
    unsafe {
        let section = native::NCONF_get_string(conf, null(), c"openssl_conf".as_ptr());
        if section.is_null() {
            return;
        }
        let entries = native::NCONF_get_section(conf, section);
        if entries.is_null() {
            return;
        }
        for index in (0..openssl_sys::OPENSSL_sk_num(entries)).rev() {
            let entry = openssl_sys::OPENSSL_sk_value(entries, index).cast::<native::ConfValue>();
            let is_for_context = !entry.is_null() && {
                // Names may have a suffix after a dot, to be unique.
                let name = CStr::from_ptr((*entry).name).to_string_lossy();
                CONTEXT_SECTIONS.contains(&name.split('.').next().unwrap_or_default())
            };
            if !is_for_context {
                native::OPENSSL_sk_delete(entries, index);
            }
        }
    }
}

/// The path of the system's openssl.cnf, if it exists. Environment variables do not change it.
fn system_configuration() -> Option<CString> {
    // SAFETY: the call returns a constant string.
    let folder = unsafe { CStr::from_ptr(native::X509_get_default_cert_area()) };
    let path = format!("{}/openssl.cnf", folder.to_str().ok()?);
    Path::new(&path).exists().then(|| CString::new(path).ok())?
}

const CONTEXT_SECTIONS: [&str; 3] = ["providers", "alg_section", "random"];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ffi::ProviderKey;
    use keybound_keys::memory::MemoryKey;

    /// Whether a key can be used with this openssl.cnf, or the error.
    fn with_system(text: &str) -> Result<(), String> {
        openssl::init();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("openssl.cnf");
        std::fs::write(&path, text).unwrap();
        let path = CString::new(path.to_str().unwrap()).unwrap();
        let library = LibraryContext::open(Some(&path))?;
        let key = Arc::new(MemoryKey::generate().unwrap());
        ProviderKey::new(&library, key).map_err(|error| error.to_string())?;
        library
            .tls_context()
            .map(drop)
            .map_err(|error| error.to_string())
    }

    fn providers(sections: &str) -> String {
        format!("openssl_conf = init\n[init]\nproviders = providers\n{sections}")
    }

    #[test]
    fn uses_the_systems_providers() {
        let missing =
            "[providers]\nnone = none\n[none]\nmodule = /nonexistent/module.so\nactivate = 1\n";
        for text in [
            String::new(),
            providers("[providers]\ndefault = active\n[active]\nactivate = 1"),
            // With a missing module besides.
            providers(&missing.replace("none = none", "none = none\ndefault = active"))
                + "[active]\nactivate = 1",
        ] {
            assert_eq!(with_system(&text), Ok(()), "{text}");
        }
        for text in [
            providers(missing),
            providers("[providers]\nbase = active\n[active]\nactivate = 1"),
        ] {
            let message = with_system(&text).unwrap_err();
            assert!(message.contains("OpenSSL"), "{text} {message}");
        }
    }

    #[test]
    fn rejects_systems_with_fips_modules_only() {
        let text = providers(
            "alg_section = algorithms\n[providers]\ndefault = active\n[active]\nactivate = 1\n\
             [algorithms]\ndefault_properties = fips=yes",
        );
        let message = with_system(&text).unwrap_err();
        assert!(
            message.starts_with("the host's OpenSSL configuration"),
            "{message}"
        );
    }

    #[test]
    fn rejects_malformed_system_configurations() {
        for text in ["[broken", "openssl_conf = nowhere"] {
            let message = with_system(text).unwrap_err();
            let expected = "the host's OpenSSL configuration cannot be loaded";
            assert!(message.starts_with(expected), "{text} {message}");
        }
    }
}
