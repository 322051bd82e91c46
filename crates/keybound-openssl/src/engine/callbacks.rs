//! OpenSSL's callbacks, which update the state of a connection.
use crate::SessionNotes;
use crate::bridge::{check_expected_host, notes_of};
use openssl::ssl::SslRef;
use openssl::x509::{X509StoreContext, X509StoreContextRef, X509VerifyResult};

/// OpenSSL's callback for each request for our certificate (`SSL_CTX_set_cert_cb`): 1 goes on with what the context
/// holds, 0 fails the handshake.
pub(crate) fn on_certificate_request(ssl: &SslRef) -> i32 {
    notes_of(ssl)
        .is_some_and(|notes| notes.note_request())
        .into()
}

/// OpenSSL's callback for each message of a handshake that comes from the server: false ends the connection.
pub(crate) fn on_message(ssl: &SslRef, message: u8) -> bool {
    let Some(notes) = notes_of(ssl) else {
        return false;
    };
    if message == FINISHED {
        // The last, or in TLS 1.3 the last from the server.
        notes.note_first_handshake();
        return true;
    }
    let begins_handshake = matches!(message, HELLO_REQUEST | SERVER_HELLO | CERTIFICATE_REQUEST);
    notes.note_message(begins_handshake).is_ok()
}

/// OpenSSL's callback for each record from the server, with its head where that is new.
pub(crate) fn on_record(ssl: &SslRef, head: &[u8], is_data: bool) {
    let Some(notes) = notes_of(ssl) else {
        return;
    };
    if !head.is_empty() {
        notes.note_record(head);
    }
    if is_data {
        notes.note_data();
    }
}

/// OpenSSL's callback for each step of the verification of the server's certificate.
pub(crate) fn on_verify(verified: bool, store: &mut X509StoreContextRef) -> bool {
    let Some(notes) = X509StoreContext::ssl_idx()
        .ok()
        .and_then(|index| store.ex_data(index))
        .and_then(notes_of)
    else {
        return false;
    };
    if !verified {
        notes.refuse_server(store.error().error_string());
        return false;
    }
    if store.error_depth() > 0 {
        return true;
    }
    match check_leaf(notes, store) {
        Ok(()) => true,
        Err(error) => {
            store.set_error(error);
            false
        }
    }
}

fn check_leaf(notes: &SessionNotes, store: &X509StoreContextRef) -> Result<(), X509VerifyResult> {
    let leaf = store
        .current_cert()
        .ok_or(X509VerifyResult::APPLICATION_VERIFICATION)?;
    check_expected_host(store, leaf)
        .inspect_err(|mismatch| notes.refuse_server(mismatch.error_string()))?;
    let same = leaf.to_der().is_ok_and(|der| notes.note_server(&der));
    same.then_some(())
        .ok_or(X509VerifyResult::APPLICATION_VERIFICATION)
}

/// Types of messages (RFC 8446, appendix B.3).
const HELLO_REQUEST: u8 = 0;
const SERVER_HELLO: u8 = 2;
const CERTIFICATE_REQUEST: u8 = 13;
const FINISHED: u8 = 20;
