//! The private library context. It is made once for the process, holds nothing of any user, and leaves the process's
//! own context alone: to load a provider there would switch off what others rely on.
use super::native;
use super::provider;
use super::system_trust::SystemTrust;
use crate::session::SessionNotes;
use crate::{TransportError, TransportErrorKind};
use foreign_types::ForeignType as _;
use openssl::error::ErrorStack;
use openssl::ex_data::Index;
use openssl::ssl::{Ssl, SslContextBuilder};
use openssl::x509::X509;
#[cfg(any(feature = "openssl", feature = "rustls"))]
use openssl::x509::store::X509Store;
use openssl_sys::OSSL_LIB_CTX;
use std::ffi::{CStr, c_char, c_int, c_long, c_void};
use std::ptr::{null, null_mut};
use std::sync::{Arc, OnceLock};

/// The private library context, as the host's openssl.cnf configures it.
pub(crate) struct Library {
    context: *mut OSSL_LIB_CTX,
    notes: Index<Ssl, Arc<SessionNotes>>,
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
            .get_or_init(Self::open)
            .as_ref()
            .map_err(|reason| unsupported(reason.clone()))
    }

    fn open() -> Result<Self, String> {
        openssl::init();
        let notes = Ssl::new_ex_index().map_err(|error| reason("no connection data", &error))?;
        // SAFETY: no arguments.
        let context = unsafe { openssl_sys::OSSL_LIB_CTX_new() };
        if context.is_null() {
            return Err(reason("no library context", &ErrorStack::get()));
        }
        let library = Self {
            context,
            notes,
            system_trust: SystemTrust::default(),
        };
        let opened = library
            .load_configuration()
            .and_then(|()| library.add_bridge());
        // Whatever was tried on the way is no concern of the next call.
        let left = ErrorStack::get();
        opened.map_err(|what| reason(what, &left)).map(|()| library)
    }

    /// Applies what openssl.cnf says of providers, algorithms and randomness to this context. The other sections are
    /// about the whole process; the library has applied them at its own start and they must not be replaced while
    /// others use them.
    fn load_configuration(&self) -> Result<(), &'static str> {
        let Some(file) = default_configuration_file() else {
            return Ok(());
        };
        // SAFETY: the configuration is freed on every way out; strings and stacks taken from it are used before that.
        unsafe {
            let conf = native::NCONF_new_ex(self.context, null_mut());
            if conf.is_null() {
                return Err("no place for the host's OpenSSL configuration");
            }
            let mut line: c_long = 0;
            let loaded = native::NCONF_load(conf, file.0, &raw mut line) == 1 && {
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
            native::OSSL_PROVIDER_add_builtin(self.context, provider::NAME.as_ptr(), provider::init)
                == 1
                && !openssl_sys::OSSL_PROVIDER_try_load(self.context, provider::NAME.as_ptr(), 1)
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

    /// Where the notes on a connection are kept.
    pub(crate) fn notes(&self) -> Index<Ssl, Arc<SessionNotes>> {
        self.notes
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
            Ok(SslContextBuilder::from_ptr(context))
        }
    }

    /// Has a TLS context trust what the system trusts, and these certificates (DER).
    pub(crate) fn trust<'a>(
        &self,
        builder: &mut SslContextBuilder,
        more: impl Iterator<Item = &'a [u8]>,
    ) -> Result<(), ErrorStack> {
        let more = more.map(<[u8]>::to_vec).collect();
        self.system_trust.apply(self, builder, more)
    }

    /// The same trust, as a store that nobody else uses: for those who may add to it.
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
        // SAFETY: `d2i_X509` fills the certificate given, or frees it and clears the slot where it fails.
        unsafe {
            let mut certificate = native::X509_new_ex(self.context, null());
            let mut input = der.as_ptr();
            let length = c_long::try_from(der.len()).unwrap_or(0);
            if certificate.is_null()
                || openssl_sys::d2i_X509(&raw mut certificate, &raw mut input, length).is_null()
            {
                return Err(ErrorStack::get());
            }
            Ok(X509::from_ptr(certificate))
        }
    }
}

/// The host's settings stand in the way.
pub(super) fn unsupported(message: String) -> TransportError {
    TransportError::new(TransportErrorKind::HostUnsupported, message)
}

/// What failed, with OpenSSL's first reason.
pub(super) fn reason(what: &str, errors: &ErrorStack) -> String {
    match crate::engine::openssl::first_reason(errors) {
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

/// The path of openssl.cnf, where there is such a file.
fn default_configuration_file() -> Option<ConfigurationFile> {
    // SAFETY: the call yields a string that is ours, or null.
    let file = ConfigurationFile(unsafe { native::CONF_get1_default_config_file() });
    if file.0.is_null() {
        return None;
    }
    // SAFETY: checked above.
    let path = unsafe { CStr::from_ptr(file.0) };
    let path = path.to_str().ok()?;
    std::path::Path::new(path).exists().then_some(file)
}

struct ConfigurationFile(*mut c_char);

impl Drop for ConfigurationFile {
    fn drop(&mut self) {
        // SAFETY: allocated by libcrypto, freed once.
        unsafe { openssl_sys::CRYPTO_free(self.0.cast(), c"".as_ptr(), 0) };
    }
}

const OWN_SECTIONS: [&str; 3] = ["providers", "alg_section", "random"];
