//! The calls to OpenSSL: a private library context with the provider for [`BindingKey`](keybound_keys::BindingKey)s, and
//! settings of TLS contexts.
mod context;
mod key;
mod library;
mod native;
mod security;
#[cfg(feature = "rustls")]
mod server_trust;
mod system_trust;

#[cfg(feature = "openssl")]
pub(crate) use context::forget_other_trust;
pub(crate) use context::{
    check_expected_host, forget_sessions, offer_post_handshake_authentication, peer_has_ended,
    set_certificate_callback, set_message_callback, state_of,
};
pub(crate) use key::BridgedKey;
pub(crate) use library::Library;
pub(crate) use security::set_floor;
#[cfg(feature = "rustls")]
pub(crate) use server_trust::{Refused, ServerTrust};

/// Opens the private OpenSSL context and reads the system's trust anchors, which takes some tens of milliseconds. Blocks.
pub fn warm_up() {
    if let Ok(library) = Library::get() {
        library.warm_up();
    }
}

/// The name of the provider, which OpenSSL's errors carry as their library.
pub(crate) fn provider_name() -> &'static str {
    keybound_provider::NAME.to_str().unwrap_or_default()
}
