//! The functions behind OpenSSL's callbacks, which update the state of a connection.
use super::host_verification::check_expected_host;
use super::ssl_context::state_of;
use crate::ConnectionState;
use openssl::ssl::SslRef;
use openssl::x509::{X509Ref, X509StoreContext, X509StoreContextRef, X509VerifyResult};
use std::sync::Arc;

/// Called for each request for the client certificate (`SSL_CTX_set_cert_cb`): 1 continues with the certificate of the context, 0
/// fails the handshake.
pub(super) fn on_certificate_request(ssl: &SslRef) -> i32 {
    state_of(ssl)
        .is_some_and(|state| state.on_certificate_request())
        .into()
}

/// Called for each handshake message from the server. False ends the connection.
pub(super) fn on_message(ssl: &SslRef, message: u8) -> bool {
    let Some(state) = state_of(ssl) else {
        return false;
    };
    if message == FINISHED {
        // The last message, or in TLS 1.3 the server's last.
        state.on_first_handshake();
        return true;
    }
    let begins_handshake = matches!(message, HELLO_REQUEST | SERVER_HELLO | CERTIFICATE_REQUEST);
    state.on_handshake_message(begins_handshake).is_ok()
}

/// Called for each record from the server, with its header if it is new.
pub(super) fn on_record(ssl: &SslRef, header: &[u8], is_data: bool) {
    let Some(state) = state_of(ssl) else {
        return;
    };
    if !header.is_empty() {
        state.on_record(header);
    }
    if is_data {
        state.on_data();
    }
}

/// Called for each step of the verification of the server's certificate.
pub(crate) fn on_verify(verified: bool, store: &mut X509StoreContextRef) -> bool {
    let Some(state) = verifying_state(store) else {
        return false;
    };
    if !verified {
        let certificate = store.current_cert();
        reject(state, store.error(), certificate);
        return false;
    }
    if store.error_depth() > 0 {
        return true;
    }
    match check_leaf(state, store) {
        Ok(()) => true,
        Err(error) => {
            store.set_error(error);
            false
        }
    }
}

/// Called instead of the verification of the server's certificates where one is pinned.
pub(super) fn on_verify_pinned(leaf: Option<&X509Ref>, store: &mut X509StoreContextRef) -> bool {
    let checked = match (verifying_state(store), leaf) {
        (Some(state), Some(leaf)) => check_pinned(state, leaf),
        _ => Err(X509VerifyResult::APPLICATION_VERIFICATION),
    };
    store.set_error(checked.err().unwrap_or(X509VerifyResult::OK));
    checked.is_ok()
}

/// The state of the connection whose server is verified.
fn verifying_state(store: &X509StoreContextRef) -> Option<&Arc<ConnectionState>> {
    let index = X509StoreContext::ssl_idx().ok()?;
    store.ex_data(index).and_then(state_of)
}

/// Accepts exactly the pinned certificate, with a key of the security level that other servers need. Host name, usage, issuers and
/// validity are not checked: the thumbprint names the certificate itself.
fn check_pinned(state: &ConnectionState, leaf: &X509Ref) -> Result<(), X509VerifyResult> {
    let other = X509VerifyResult::APPLICATION_VERIFICATION;
    let der = leaf.to_der().map_err(|_| other)?;
    if !state.is_pinned() || !state.on_server_certificate(&der) {
        return Err(other);
    }
    check_key(leaf).inspect_err(|error| reject(state, *error, Some(leaf)))
}

/// Records why the server is rejected, and for which certificate of its chain.
fn reject(state: &ConnectionState, reason: X509VerifyResult, certificate: Option<&X509Ref>) {
    let der = certificate.and_then(|certificate| certificate.to_der().ok());
    state.reject_server(reason.error_string(), der.as_deref());
}

fn check_key(leaf: &X509Ref) -> Result<(), X509VerifyResult> {
    let key = leaf
        .public_key()
        .map_err(|_| X509VerifyResult::APPLICATION_VERIFICATION)?;
    // Negative for keys of which OpenSSL does not know the strength.
    if key.security_bits().cast_signed() >= MIN_SECURITY_BITS {
        return Ok(());
    }
    // SAFETY: the code is one of OpenSSL's.
    Err(unsafe { X509VerifyResult::from_raw(openssl_sys::X509_V_ERR_EE_KEY_TOO_SMALL) })
}

fn check_leaf(
    state: &ConnectionState,
    store: &X509StoreContextRef,
) -> Result<(), X509VerifyResult> {
    let leaf = store
        .current_cert()
        .ok_or(X509VerifyResult::APPLICATION_VERIFICATION)?;
    check_expected_host(store, leaf)
        .inspect_err(|mismatch| reject(state, *mismatch, Some(leaf)))?;
    let same = leaf
        .to_der()
        .is_ok_and(|der| state.on_server_certificate(&der));
    same.then_some(())
        .ok_or(X509VerifyResult::APPLICATION_VERIFICATION)
}

/// Of security level 2, the lowest that connections have: RSA with 2048 bits, P-256.
const MIN_SECURITY_BITS: i32 = 112;

/// Types of handshake messages (RFC 8446, appendix B.3).
const HELLO_REQUEST: u8 = 0;
const SERVER_HELLO: u8 = 2;
const CERTIFICATE_REQUEST: u8 = 13;
const FINISHED: u8 = 20;
