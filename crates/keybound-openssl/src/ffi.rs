//! The calls to OpenSSL: a private library context with the provider for [`BindingKey`](keybound_keys::BindingKey)s, and
//! settings of TLS contexts.
mod callbacks;
mod errors;
mod host_verification;
mod library_context;
mod native;
mod provider_key;
mod security_policy;
#[cfg(feature = "rustls")]
mod server_trust;
mod ssl_context;
mod system_trust;

pub(crate) use callbacks::on_verify;
pub(crate) use errors::{reasons, settings_rejected, with_reason};
pub(crate) use host_verification::{CHAIN_FLAGS, set_expected_host};
pub(crate) use library_context::LibraryContext;
#[cfg(feature = "server")]
pub(crate) use native::MessageCallback;
pub(crate) use provider_key::ProviderKey;
pub(crate) use security_policy::apply_security_policy;
#[cfg(feature = "rustls")]
pub(crate) use server_trust::{Rejection, ServerTrust};
pub use ssl_context::offer_post_handshake_auth;
#[cfg(feature = "openssl")]
pub(crate) use ssl_context::remove_other_trust;
pub(crate) use ssl_context::{
    disable_resumption, has_received_close_notify, set_certificate_callback, set_message_callback,
    set_pinned_verification,
};

/// Initializes what all clients of the process share: the private library context and the system's trust anchors, which takes some
/// tens of milliseconds. Optional. It blocks: call it off the event loop, before the first client is created or during another wait.
pub fn warm_up() {
    if let Ok(library) = LibraryContext::get() {
        library.warm_up();
    }
}

/// The name of the provider, which is the library of its errors.
pub(crate) fn provider_name() -> &'static str {
    keybound_provider::NAME.to_str().unwrap_or_default()
}
