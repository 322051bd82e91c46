//! App Service's endpoint on loopback, in the parent process.
use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// The service, by its address.
pub struct Service {
    address: String,
}

impl Service {
    /// Starts the service on threads of this process.
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let counts = Arc::<Mutex<HashMap<String, usize>>>::default();
        std::thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                let counts = Arc::clone(&counts);
                std::thread::spawn(move || serve(&connection, &counts));
            }
        });
        Self { address }
    }

    /// The variables of the host.
    pub fn environment(&self) -> [(&'static str, String); 2] {
        [
            (ENDPOINT, format!("http://{}/msi/token", self.address)),
            ("IDENTITY_HEADER", "unused".to_owned()),
        ]
    }

    /// The service that the variables name.
    pub fn of_environment() -> Option<Self> {
        let url = std::env::var(ENDPOINT).ok()?;
        let address = url.strip_prefix("http://")?.strip_suffix("/msi/token")?;
        Some(Self {
            address: address.to_owned(),
        })
    }

    /// The number of requests for the resource of this scope so far.
    pub async fn requests(&self, scope: &str) -> usize {
        let mut connection = tokio::net::TcpStream::connect(&self.address)
            .await
            .expect("a connection");
        let name = name_of(scope);
        let request = format!("GET /count?{name} HTTP/1.1\r\nHost: a\r\n\r\n");
        connection
            .write_all(request.as_bytes())
            .await
            .expect("an open connection");
        let mut response = String::new();
        connection
            .read_to_string(&mut response)
            .await
            .expect("a response");
        let (_, count) = response.split_once("\r\n\r\n").expect("a body");
        count.parse().expect("a number")
    }
}

/// One request for a connection.
fn serve(mut connection: &TcpStream, counts: &Mutex<HashMap<String, usize>>) {
    let mut head = String::new();
    let mut reader = BufReader::new(connection);
    while reader.read_line(&mut head).is_ok_and(|length| length > 2) {}
    let mut counts = counts.lock().expect("no panic");
    let (status, body) = if let Some((_, name)) = head.split_once("/count?") {
        let name = name.split(' ').next().unwrap_or_default();
        (
            200,
            counts.get(name).copied().unwrap_or_default().to_string(),
        )
    } else {
        let name = name_of(&head);
        *counts.entry(name.to_owned()).or_default() += 1;
        drop(counts);
        match name {
            "slow" | "failing" => std::thread::sleep(DELAY),
            _ => {}
        }
        match name {
            "failing" => (400, r#"{"statusCode":400,"message":"no"}"#.to_owned()),
            _ => (200, TOKEN.to_owned()),
        }
    };
    let response = format!(
        "HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    connection
        .write_all(response.as_bytes())
        .expect("an open connection");
}

/// The first label of the resource's host in a scope or an encoded URL.
fn name_of(text: &str) -> &str {
    let host = text
        .split("://")
        .nth(1)
        .or_else(|| text.split("%2F%2F").nth(1));
    host.and_then(|host| host.split('.').next())
        .unwrap_or_default()
}

const ENDPOINT: &str = "IDENTITY_ENDPOINT";
const DELAY: Duration = Duration::from_millis(50);
const TOKEN: &str = r#"{"access_token":"unused","expires_on":"4102444800","resource":"unused","token_type":"Bearer"}"#;
