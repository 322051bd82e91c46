//! A managed identity source on loopback.
use keybound_testing::Leaf;
use openssl::hash::MessageDigest;
use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// Sends the same response to every request.
pub struct Source {
    pub url: String,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Source {
    /// Starts a source that runs until the test program exits.
    pub fn start(status: u16, body: &str) -> Self {
        Self::serve("http", status, body, |connection, respond| {
            respond(&mut connection.try_clone().unwrap(), &mut &connection);
        })
    }

    /// A source that issues this token.
    pub fn issuing(token: &str) -> Self {
        Self::start(200, &issued(token))
    }

    /// The same over TLS, with a self-signed certificate; returns its SHA-1 thumbprint too.
    pub fn issuing_over_tls(token: &str) -> (Self, String) {
        let leaf = Leaf::self_signed("127.0.0.1");
        let digest = leaf.certificate.digest(MessageDigest::sha1()).unwrap();
        let thumbprint = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        (Self::issuing_with(&leaf, token), thumbprint)
    }

    /// The same with this certificate.
    pub fn issuing_with(leaf: &Leaf, token: &str) -> Self {
        let acceptor = leaf.acceptor().build();
        Self::serve("https", 200, &issued(token), move |connection, respond| {
            if let Ok(mut connection) = acceptor.accept(connection) {
                let mut response = Vec::new();
                respond(&mut connection, &mut response);
                // Errors of a client do not stop the server.
                let _ = connection.write_all(&response);
                let _ = connection.shutdown();
            }
        })
    }

    /// Names it by an address that reaches the loopback interface, but is not exempt from proxies as a loopback host.
    #[cfg(unix)]
    pub fn at_any_address(mut self) -> Self {
        self.url = self.url.replace("127.0.0.1", "0.0.0.0");
        self
    }

    fn serve(
        scheme: &str,
        status: u16,
        body: &str,
        connected: impl Fn(TcpStream, &Respond<'_>) + Send + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("{scheme}://{}", listener.local_addr().unwrap());
        let requests = Arc::<Mutex<Vec<String>>>::default();
        let recorded = Arc::clone(&requests);
        let response = format!(
            "HTTP/1.1 {status} X\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        );
        std::thread::spawn(move || {
            let respond = |from: &mut dyn Read, to: &mut dyn std::io::Write| {
                recorded.lock().unwrap().push(request(from));
                let _ = to.write_all(response.as_bytes());
            };
            for connection in listener.incoming().flatten() {
                connected(connection, &respond);
            }
        });
        Self { url, requests }
    }

    /// The requests so far: head and body.
    pub fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

/// Reads a request and writes the response.
type Respond<'a> = dyn Fn(&mut dyn Read, &mut dyn std::io::Write) + 'a;

fn issued(token: &str) -> String {
    format!(r#"{{"access_token":"{token}","expires_in":"3600","token_type":"Bearer"}}"#)
}

fn request(from: &mut dyn Read) -> String {
    let mut reader = BufReader::new(from);
    let mut text = String::new();
    while reader.read_line(&mut text).is_ok_and(|length| length > 2) {}
    let head = text.to_ascii_lowercase();
    let length = head
        .split("content-length: ")
        .nth(1)
        .and_then(|rest| rest.split('\r').next());
    let mut body = vec![0; length.and_then(|length| length.parse().ok()).unwrap_or(0)];
    reader.read_exact(&mut body).unwrap();
    text + &String::from_utf8(body).unwrap()
}
