//! The replacement of the alert that rejects a client certificate. OpenSSL derives the alert from a verification error, and has
//! no error for `access_denied` and `certificate_required`. For these the record of the alert is replaced before it is sent, only
//! in the first handshake of a connection: there it is not encrypted (TLS 1.2), or is the first record under a key that OpenSSL
//! logs (TLS 1.3).
use super::certificate_alert::CertificateCheck;
use keybound_core::lock;
use openssl::error::ErrorStack;
use openssl::ex_data::Index;
use openssl::md::{Md, MdRef};
use openssl::pkey::Id;
use openssl::pkey_ctx::{HkdfMode, PkeyCtx};
use openssl::ssl::{Ssl, SslContextBuilder, SslRef};
use openssl::symm::{Cipher, encrypt_aead};
use std::sync::{Arc, LazyLock, Mutex};

/// The replacement of the next alert of a connection.
#[derive(Clone, Default)]
pub(super) struct AlertReplacement(Arc<Mutex<Pending>>);

#[derive(Default)]
struct Pending {
    description: Option<u8>,
    record_key: Option<RecordKey>,
}

impl AlertReplacement {
    /// The replacement of these bytes, if they are the record of the alert.
    pub(super) fn apply(&self, bytes: &[u8]) -> Option<Vec<u8>> {
        let pending = lock(&self.0);
        let alert = [FATAL, pending.description?];
        match bytes {
            [0x15, 3, 3, 0, 2, FATAL, _] => Some([&bytes[..5], &alert].concat()),
            [0x17, 3, 3, 0, ENCRYPTED_LENGTH, ..]
                if bytes.len() == 5 + usize::from(ENCRYPTED_LENGTH) =>
            {
                pending.record_key.as_ref()?.encrypt(alert).ok()
            }
            _ => None,
        }
    }
}

/// Checks all certificates of one connection, including those presented later.
pub(super) fn check_certificates(
    ssl: &mut Ssl,
    replacement: &AlertReplacement,
    check: CertificateCheck,
) {
    let mode = ssl.verify_mode();
    ssl.set_ex_data(*SLOT, replacement.clone());
    let replacement = replacement.clone();
    ssl.set_verify_callback(mode, move |_, context| {
        let leaf = context
            .current_cert()
            .filter(|_| context.error_depth() == 0);
        let Some(alert) = leaf.and_then(|leaf| check(&leaf.to_der().ok()?)) else {
            return true;
        };
        lock(&replacement.0).description = alert.description;
        context.set_error(alert.rejection.verify_result());
        false
    });
}

/// Stores the server application traffic secret (TLS 1.3) of connections whose certificates are checked.
pub(super) fn store_secrets(builder: &mut SslContextBuilder) {
    builder.set_keylog_callback(|ssl, line| {
        let secret = line.strip_prefix("SERVER_TRAFFIC_SECRET_0 ");
        if let (Some(slot), Some(line)) = (ssl.ex_data(*SLOT), secret) {
            lock(&slot.0).record_key = RecordKey::from_log(ssl, line);
        }
    });
}

/// The key of the first record that a server of TLS 1.3 writes after its handshake.
struct RecordKey {
    cipher: Cipher,
    key: Vec<u8>,
    nonce: [u8; 12],
}

impl RecordKey {
    /// The key from a line of the key log: client random and secret, in hexadecimal.
    fn from_log(ssl: &SslRef, line: &str) -> Option<Self> {
        let (_, secret) = line.split_once(' ')?;
        let secret = openssl::bn::BigNum::from_hex_str(secret).ok()?;
        let (cipher, md, length, key) = match ssl.current_cipher()?.name() {
            "TLS_AES_256_GCM_SHA384" => (Cipher::aes_256_gcm(), Md::sha384(), 48, 32),
            "TLS_AES_128_GCM_SHA256" => (Cipher::aes_128_gcm(), Md::sha256(), 32, 16),
            "TLS_CHACHA20_POLY1305_SHA256" => (Cipher::chacha20_poly1305(), Md::sha256(), 32, 32),
            _ => return None,
        };
        let secret = secret.to_vec_padded(length).ok()?;
        let mut nonce = [0; 12];
        expand(md, &secret, b"tls13 iv", &mut nonce).ok()?;
        let mut bytes = vec![0; key];
        expand(md, &secret, b"tls13 key", &mut bytes).ok()?;
        Some(Self {
            cipher,
            key: bytes,
            nonce,
        })
    }

    /// The record of an alert (RFC 8446 section 5.2) with sequence number 0, for which the nonce is the IV.
    fn encrypt(&self, [level, description]: [u8; 2]) -> Result<Vec<u8>, ErrorStack> {
        let header = [0x17, 3, 3, 0, ENCRYPTED_LENGTH];
        let mut tag = [0; 16];
        let inner = [level, description, 0x15];
        let encrypted = encrypt_aead(
            self.cipher,
            &self.key,
            Some(&self.nonce),
            &header,
            &inner,
            &mut tag,
        )?;
        Ok([&header[..], &encrypted, &tag].concat())
    }
}

/// HKDF-Expand-Label without a context (RFC 8446 section 7.1).
fn expand(md: &MdRef, secret: &[u8], label: &[u8], output: &mut [u8]) -> Result<(), ErrorStack> {
    let mut context = PkeyCtx::new_id(Id::HKDF)?;
    context.derive_init()?;
    context.set_hkdf_mode(HkdfMode::EXPAND_ONLY)?;
    context.set_hkdf_md(md)?;
    context.set_hkdf_key(secret)?;
    let [length, label_length] = [output.len(), label.len()].map(|length| length as u8);
    context.add_hkdf_info(&[&[0, length, label_length], label, &[0]].concat())?;
    context.derive(Some(output)).map(|_| ())
}

/// The index of the replacement in the data of a connection.
static SLOT: LazyLock<Index<Ssl, AlertReplacement>> =
    LazyLock::new(|| Ssl::new_ex_index().expect("OpenSSL has memory for an index"));

const FATAL: u8 = 2;
/// An alert, its content type and the tag.
const ENCRYPTED_LENGTH: u8 = 2 + 1 + 16;
