//! The bridge from a [`BindingKey`](keybound_keys::BindingKey) to OpenSSL: a private library context with a provider of
//! its own, and keys that sign through it.
mod context;
mod key;
mod library;
mod native;
mod provider;
mod system_trust;

pub(crate) use context::{
    forget_sessions, offer_post_handshake_authentication, peer_has_ended, set_certificate_callback,
};
pub(crate) use key::BridgedKey;
pub(crate) use library::Library;
pub(crate) use provider::KeyFailures;

/// The name of the provider, which OpenSSL's errors carry as their library.
pub(crate) fn provider_name() -> &'static str {
    provider::NAME.to_str().unwrap_or_default()
}
