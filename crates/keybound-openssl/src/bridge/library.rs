//! The private library context. It is made once for the process, holds nothing of any user, and leaves the process's
//! own context alone: to load a provider there would switch off what others rely on.
//!
//! It reads the system's openssl.cnf at its built-in path. The file that `OPENSSL_CONF` names is the process's: libcrypto
//! loads its providers there, and libssl applies its `ssl_conf` to every TLS context, this crate's too, where
//! [`set_floor`] bounds what it can allow.
use super::native;
use super::security::set_floor;
use super::system_trust::SystemTrust;
use crate::ConnectionState;
use crate::{TransportError, TransportErrorKind};
use foreign_types::ForeignType as _;
use openssl::error::ErrorStack;
use openssl::ex_data::Index;
use openssl::ssl::{Ssl, SslContextBuilder};
use openssl::x509::X509;
#[cfg(any(feature = "openssl", feature = "rustls"))]
use openssl::x509::store::X509Store;
use openssl_sys::OSSL_LIB_CTX;
use std::ffi::{CStr, CString, c_int, c_long, c_void};
use std::path::Path;
use std::ptr::{null, null_mut};
use std::sync::{Arc, OnceLock};

/// The private library context, as the host's openssl.cnf configures it.
pub(crate) struct Library {
    context: *mut OSSL_LIB_CTX,
    state: Index<Ssl, Arc<ConnectionState>>,
    system_trust: SystemTrust,
}

// SAFETY: a library context is made for use from several threads; the pointer is never freed.
unsafe impl Send for Library {}
// SAFETY: as above.
unsafe impl Sync for Library {}

impl Library {
    /// The context, made at the first call.
    ///
    /// # Errors
    /// [`HostUnsupported`](TransportErrorKind::HostUnsupported) where the host's configuration cannot be loaded.
    pub(crate) fn get() -> Result<&'static Self, TransportError> {
        static LIBRARY: OnceLock<Result<Library, String>> = OnceLock::new();
        LIBRARY
            .get_or_init(|| {
                openssl::init();
                Self::open(system_configuration().as_deref())
            })
            .as_ref()
            .map_err(|reason| unsupported(reason.clone()))
    }

    fn open(configuration: Option<&CStr>) -> Result<Self, String> {
        // SAFETY: null is the process's own context.
        if unsafe { native::EVP_default_properties_is_fips_enabled(null_mut()) } == 1 {
            // Said by the system's file, or by `OPENSSL_CONF` alone: either way the key bridge is no validated module.
            return Err(
                "the host's OpenSSL configuration allows validated (FIPS) modules only, and the key bridge is none"
                    .to_owned(),
            );
        }
        let state = Ssl::new_ex_index().map_err(|error| reason("no connection data", &error))?;
        // SAFETY: no arguments.
        let context = unsafe { openssl_sys::OSSL_LIB_CTX_new() };
        if context.is_null() {
            return Err(reason("no library context", &ErrorStack::get()));
        }
        let library = Self {
            context,
            state,
            system_trust: SystemTrust::default(),
        };
        let opened = library
            .load_configuration(configuration)
            .and_then(|()| library.add_bridge());
        // Errors on the queue would be read by the next call.
        let left = ErrorStack::get();
        opened.map_err(|what| reason(what, &left)).map(|()| library)
    }

    /// Applies the sections of openssl.cnf on providers, algorithms and randomness to this context. The other sections
    /// concern the whole process; libcrypto applied them when it started, and they must not change while others use
    /// them.
    fn load_configuration(&self, file: Option<&CStr>) -> Result<(), &'static str> {
        let Some(file) = file else {
            return Ok(());
        };
        // SAFETY: the configuration is freed on every way out; strings and stacks taken from it are used before that.
        unsafe {
            let conf = native::NCONF_new_ex(self.context, null_mut());
            if conf.is_null() {
                return Err("no place for the host's OpenSSL configuration");
            }
            let mut line: c_long = 0;
            let loaded = native::NCONF_load(conf, file.as_ptr(), &raw mut line) == 1 && {
                keep_own_sections(conf);
                native::CONF_modules_load(conf, null(), 0) > 0
            };
            openssl_sys::NCONF_free(conf);
            if !loaded {
                return Err("the host's OpenSSL configuration cannot be loaded");
            }
        }
        Ok(())
    }

    /// Adds the bridge after the providers that the host has chosen, so that these come first for everything else.
    fn add_bridge(&self) -> Result<(), &'static str> {
        unsafe extern "C" fn visit(_: *mut openssl_sys::OSSL_PROVIDER, _: *mut c_void) -> c_int {
            1
        }
        // SAFETY: the context is alive, the strings and the entry are constants. The visit makes the default provider
        // active where the host has chosen none, before ours is there.
        let loaded = unsafe {
            native::OSSL_PROVIDER_do_all(self.context, visit, null_mut());
            native::OSSL_PROVIDER_add_builtin(
                self.context,
                keybound_provider::NAME.as_ptr(),
                keybound_provider::init,
            ) == 1
                && !openssl_sys::OSSL_PROVIDER_try_load(
                    self.context,
                    keybound_provider::NAME.as_ptr(),
                    1,
                )
                .is_null()
        };
        if loaded {
            Ok(())
        } else {
            Err("the key bridge cannot be added to OpenSSL")
        }
    }

    pub(super) fn context(&self) -> *mut OSSL_LIB_CTX {
        self.context
    }

    /// The index of the connection state in an `Ssl`.
    pub(crate) fn state(&self) -> Index<Ssl, Arc<ConnectionState>> {
        self.state
    }

    /// A TLS client context with the host's settings and the key bridge.
    pub(crate) fn tls_context(&self) -> Result<SslContextBuilder, TransportError> {
        // SAFETY: the builder takes the context over.
        unsafe {
            let context =
                native::SSL_CTX_new_ex(self.context, null(), openssl_sys::TLS_client_method());
            if context.is_null() {
                return Err(unsupported(reason(
                    "the host's OpenSSL configuration allows no TLS",
                    &ErrorStack::get(),
                )));
            }
            let mut builder = SslContextBuilder::from_ptr(context);
            set_floor(&mut builder);
            Ok(builder)
        }
    }

    /// Sets the trust of a TLS context: the system's, and these certificates (DER).
    pub(crate) fn trust<'a>(
        &self,
        builder: &mut SslContextBuilder,
        more: impl Iterator<Item = &'a [u8]>,
    ) -> Result<(), ErrorStack> {
        let more = more.map(<[u8]>::to_vec).collect();
        self.system_trust.apply(self, builder, more)
    }

    /// The same trust, as a store that is not shared, for callers who may add to it.
    #[cfg(any(feature = "openssl", feature = "rustls"))]
    pub(crate) fn own_trust<'a>(
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

    /// The same, with the settings of use that follow the certificate in OpenSSL's `TRUSTED CERTIFICATE`.
    pub(crate) fn anchor(&self, der: &[u8]) -> Result<X509, ErrorStack> {
        self.read_certificate(der, native::d2i_X509_AUX)
    }

    fn read_certificate(&self, der: &[u8], read: ReadCertificate) -> Result<X509, ErrorStack> {
        // SAFETY: either reader fills the certificate given; where it fails, it leaves it, or frees it and clears the slot.
        unsafe {
            let mut certificate = native::X509_new_ex(self.context, null());
            let mut input = der.as_ptr();
            let length = c_long::try_from(der.len()).unwrap_or(0);
            if certificate.is_null() || read(&raw mut certificate, &raw mut input, length).is_null()
            {
                // Null does no harm.
                openssl_sys::X509_free(certificate);
                return Err(ErrorStack::get());
            }
            let certificate = X509::from_ptr(certificate);
            // What follows is no part of it.
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

/// The host's configuration does not allow it.
pub(super) fn unsupported(message: String) -> TransportError {
    TransportError::new(TransportErrorKind::HostUnsupported, message)
}

/// What failed, with OpenSSL's first reason.
pub(super) fn reason(what: &str, errors: &ErrorStack) -> String {
    match crate::engine::first_reason(errors) {
        Some(reason) => format!("{what}: {reason}"),
        None => what.to_owned(),
    }
}

/// Leaves only those settings that belong to one library context in the section that `openssl_conf` names.
///
/// # Safety
/// `conf` is a loaded configuration.
unsafe fn keep_own_sections(conf: *const openssl_sys::CONF) {
    // SAFETY: strings, stack and entries belong to the configuration, which is alive; an entry taken off the stack is
    // still freed with it.
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
            let own = !entry.is_null() && {
                // A name may carry a suffix after a dot, to be unique.
                let name = CStr::from_ptr((*entry).name).to_string_lossy();
                OWN_SECTIONS.contains(&name.split('.').next().unwrap_or_default())
            };
            if !own {
                native::OPENSSL_sk_delete(entries, index);
            }
        }
    }
}

/// The path of the system's openssl.cnf, where there is such a file. No environment variable moves it.
fn system_configuration() -> Option<CString> {
    // SAFETY: the call yields a constant string.
    let folder = unsafe { CStr::from_ptr(native::X509_get_default_cert_area()) };
    let path = format!("{}/openssl.cnf", folder.to_str().ok()?);
    Path::new(&path).exists().then(|| CString::new(path).ok())?
}

const OWN_SECTIONS: [&str; 3] = ["providers", "alg_section", "random"];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bridge::BridgedKey;
    use keybound_keys::memory::MemoryKey;

    /// Whether a key can be used with this openssl.cnf, or the error.
    fn with_system(text: &str) -> Result<(), String> {
        openssl::init();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("openssl.cnf");
        std::fs::write(&path, text).unwrap();
        let path = CString::new(path.to_str().unwrap()).unwrap();
        let library = Library::open(Some(&path))?;
        let key = Arc::new(MemoryKey::generate().unwrap());
        BridgedKey::new(&library, key).map_err(|error| error.to_string())?;
        library
            .tls_context()
            .map(drop)
            .map_err(|error| error.to_string())
    }

    fn providers(sections: &str) -> String {
        format!("openssl_conf = init\n[init]\nproviders = providers\n{sections}")
    }

    #[test]
    fn the_systems_providers_are_used() {
        let missing =
            "[providers]\nnone = none\n[none]\nmodule = /nonexistent/module.so\nactivate = 1\n";
        for text in [
            String::new(),
            providers("[providers]\ndefault = active\n[active]\nactivate = 1"),
            // Another module is missing.
            providers(&missing.replace("none = none", "none = none\ndefault = active"))
                + "[active]\nactivate = 1",
        ] {
            assert_eq!(with_system(&text), Ok(()), "{text}");
        }
        for text in [
            providers(missing),
            providers("[providers]\nbase = active\n[active]\nactivate = 1"),
        ] {
            let refused = with_system(&text).unwrap_err();
            assert!(refused.contains("OpenSSL"), "{text} {refused}");
        }
    }

    #[test]
    fn a_system_that_allows_validated_modules_only_is_refused_plainly() {
        let text = providers(
            "alg_section = algorithms\n[providers]\ndefault = active\n[active]\nactivate = 1\n\
             [algorithms]\ndefault_properties = fips=yes",
        );
        let refused = with_system(&text).unwrap_err();
        assert!(
            refused.starts_with("the host's OpenSSL configuration"),
            "{refused}"
        );
    }

    #[test]
    fn a_system_configuration_that_cannot_be_loaded_is_refused_plainly() {
        for text in ["[broken", "openssl_conf = nowhere"] {
            let refused = with_system(text).unwrap_err();
            let expected = "the host's OpenSSL configuration cannot be loaded";
            assert!(refused.starts_with(expected), "{text} {refused}");
        }
    }
}
