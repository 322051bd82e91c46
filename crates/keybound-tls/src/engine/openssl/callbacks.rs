//! What OpenSSL's callbacks do with the notes on a connection.
use crate::bridge::notes_of;
use openssl::ssl::SslRef;
use openssl::x509::{X509StoreContext, X509StoreContextRef, X509VerifyResult};

/// OpenSSL's callback for each request for our certificate (`SSL_CTX_set_cert_cb`): 1 goes on with what the context
/// holds, 0 fails the handshake.
pub(crate) fn on_certificate_request(ssl: &SslRef) -> i32 {
    notes_of(ssl)
        .is_some_and(|notes| notes.note_request())
        .into()
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
    let same = store
        .current_cert()
        .and_then(|certificate| certificate.to_der().ok())
        .is_some_and(|der| notes.note_server(&der));
    if !same {
        store.set_error(X509VerifyResult::APPLICATION_VERIFICATION);
    }
    same
}
