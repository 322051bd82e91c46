//! OpenSSL's callbacks, which update the state of a connection.
use crate::ConnectionState;
use crate::bridge::{check_expected_host, state_of};
use openssl::ssl::SslRef;
use openssl::x509::{X509StoreContext, X509StoreContextRef, X509VerifyResult};

/// OpenSSL's callback for each request for our certificate (`SSL_CTX_set_cert_cb`): 1 goes on with what the context
/// holds, 0 fails the handshake.
pub(crate) fn on_certificate_request(ssl: &SslRef) -> i32 {
    state_of(ssl)
        .is_some_and(|state| state.on_certificate_request())
        .into()
}

/// OpenSSL's callback for each message of a handshake that comes from the server: false ends the connection.
pub(crate) fn on_message(ssl: &SslRef, message: u8) -> bool {
    let Some(state) = state_of(ssl) else {
        return false;
    };
    if message == FINISHED {
        // The last, or in TLS 1.3 the last from the server.
        state.on_first_handshake();
        return true;
    }
    let begins_handshake = matches!(message, HELLO_REQUEST | SERVER_HELLO | CERTIFICATE_REQUEST);
    state.on_handshake_message(begins_handshake).is_ok()
}

/// OpenSSL's callback for each record from the server, with its head where that is new.
pub(crate) fn on_record(ssl: &SslRef, head: &[u8], is_data: bool) {
    let Some(state) = state_of(ssl) else {
        return;
    };
    if !head.is_empty() {
        state.on_record(head);
    }
    if is_data {
        state.on_data();
    }
}

/// OpenSSL's callback for each step of the verification of the server's certificate.
pub(crate) fn on_verify(verified: bool, store: &mut X509StoreContextRef) -> bool {
    let Some(state) = X509StoreContext::ssl_idx()
        .ok()
        .and_then(|index| store.ex_data(index))
        .and_then(state_of)
    else {
        return false;
    };
    if !verified {
        state.reject_server(store.error().error_string());
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

fn check_leaf(
    state: &ConnectionState,
    store: &X509StoreContextRef,
) -> Result<(), X509VerifyResult> {
    let leaf = store
        .current_cert()
        .ok_or(X509VerifyResult::APPLICATION_VERIFICATION)?;
    check_expected_host(store, leaf)
        .inspect_err(|mismatch| state.reject_server(mismatch.error_string()))?;
    let same = leaf
        .to_der()
        .is_ok_and(|der| state.on_server_certificate(&der));
    same.then_some(())
        .ok_or(X509VerifyResult::APPLICATION_VERIFICATION)
}

/// Types of messages (RFC 8446, appendix B.3).
const HELLO_REQUEST: u8 = 0;
const SERVER_HELLO: u8 = 2;
const CERTIFICATE_REQUEST: u8 = 13;
const FINISHED: u8 = 20;
