//! A resource that echoes the token that it receives.
use openssl::asn1::{Asn1Integer, Asn1Time};
use openssl::bn::BigNum;
use openssl::hash::MessageDigest;
use openssl::pkey::{PKey, Private};
use openssl::rsa::Rsa;
use openssl::ssl::{SslAcceptor, SslMethod};
use openssl::x509::extension::SubjectAlternativeName;
use openssl::x509::{X509, X509Name};
use std::fs;
use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::net::TcpListener;
use std::path::Path;

/// Echoes the `Authorization` of each request: in a header, and twice in a JSON body.
pub struct Echo {
    pub url: String,
    /// The certificate that it presents, PEM.
    ca_pem: Vec<u8>,
}

impl Echo {
    /// Writes a CA file with the certificates of another file and this server's.
    pub fn ca_file(&self, folder: &Path, other: &str) -> String {
        let path = folder.join("ca.pem");
        let other = fs::read(other).unwrap();
        fs::write(&path, [&other[..], &self.ca_pem].concat()).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// Starts a server that runs until the test program exits.
    pub fn start() -> Self {
        let key = PKey::from_rsa(Rsa::generate(2048).unwrap()).unwrap();
        let certificate = certificate(&key);
        let mut acceptor = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls_server()).unwrap();
        acceptor.set_private_key(&key).unwrap();
        acceptor.set_certificate(&certificate).unwrap();
        let acceptor = acceptor.build();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("https://{}/echo", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                // Errors of a client do not stop the server.
                if let Ok(mut connection) = acceptor.accept(connection) {
                    let response = response(&mut connection);
                    let _ = connection.write_all(response.as_bytes());
                    let _ = connection.shutdown();
                }
            }
        });
        Self {
            url,
            ca_pem: certificate.to_pem().unwrap(),
        }
    }
}

fn response(request: impl Read) -> String {
    let lines = BufReader::new(request).lines().map_while(Result::ok);
    let authorization = lines
        .take_while(|line| !line.is_empty())
        .find_map(|line| {
            let (name, value) = line.split_once(": ")?;
            name.eq_ignore_ascii_case("authorization")
                .then(|| value.to_owned())
        })
        .unwrap_or_default();
    let body = format!(r#"{{"authorization":"{authorization}","again":"<{authorization}>"}}"#);
    format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
         Connection: close\r\nX-Echo: {authorization}\r\n\r\n{body}",
        body.len()
    )
}

/// A self-signed certificate for 127.0.0.1.
pub(super) fn certificate(key: &PKey<Private>) -> X509 {
    let mut name = X509Name::builder().unwrap();
    name.append_entry_by_text("CN", "echo").unwrap();
    let name = name.build();
    let mut builder = X509::builder().unwrap();
    builder.set_version(2).unwrap();
    let serial = Asn1Integer::from_bn(&BigNum::from_u32(1).unwrap()).unwrap();
    builder.set_serial_number(&serial).unwrap();
    builder.set_subject_name(&name).unwrap();
    builder.set_issuer_name(&name).unwrap();
    builder.set_pubkey(key).unwrap();
    let (from, until) = (Asn1Time::days_from_now(0), Asn1Time::days_from_now(1));
    builder.set_not_before(&from.unwrap()).unwrap();
    builder.set_not_after(&until.unwrap()).unwrap();
    let names = SubjectAlternativeName::new()
        .ip("127.0.0.1")
        .build(&builder.x509v3_context(None, None))
        .unwrap();
    builder.append_extension(names).unwrap();
    builder.sign(key, MessageDigest::sha256()).unwrap();
    builder.build()
}
