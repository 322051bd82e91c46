//! A resource that echoes the token that it receives.
use keybound_testing::Leaf;
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
        let leaf = Leaf::self_signed("127.0.0.1");
        let acceptor = leaf.acceptor().build();
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
            ca_pem: leaf.pem(),
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
