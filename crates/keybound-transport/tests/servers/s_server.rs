//! `openssl s_server`: as a file server that closes each connection after its response, and as a pipe through which the test sends
//! responses and makes it request the certificate.
use crate::fixture::{BOTH, client_of, each};
use crate::process::Process;
use crate::support::keys::{callback_key, shared_key};
use crate::support::pki::{Authority, ClientIdentities as _};
use crate::support::{client_builder, get, post};
use keybound_keys::SigningCost;
use keybound_transport::{HttpsClient, TlsVersions, TransportErrorKind, VersionPolicy};
use std::fs;
use std::io::Write as _;
use std::process::{ChildStdin, Command};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tempfile::TempDir;
use tokio::task::JoinSet;

/// A running `s_server` and the authorities of both ends.
struct Server {
    process: Process,
    authority: Authority,
    clients: Authority,
    folder: TempDir,
    port: u16,
}

impl Server {
    fn start(version: TlsVersions, arguments: &[&str]) -> Self {
        let (authority, clients) = (Authority::new("servers"), Authority::new("clients"));
        let leaf = authority.server("localhost");
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, content: &[u8]| {
            fs::write(folder.path().join(name), content).unwrap();
        };
        write("server.pem", &leaf.certificate.to_pem().unwrap());
        write("server.key", &leaf.key.private_key_to_pem_pkcs8().unwrap());
        write("clients.pem", &clients.pem());
        let version = match version {
            TlsVersions::Tls12 => "-tls1_2",
            _ => "-tls1_3",
        };
        let process = Process::start(
            Command::new("openssl")
                .args(["s_server", "-accept", "127.0.0.1:0", version])
                .args(["-cert", "server.pem", "-key", "server.key"])
                .args(["-CAfile", "clients.pem", "-verify_return_error"])
                .args(arguments)
                .current_dir(folder.path()),
        );
        let port = until(|| accepting(&process));
        Self {
            process,
            authority,
            clients,
            folder,
            port,
        }
    }

    fn uri(&self, path: &str) -> String {
        format!("https://localhost:{}{path}", self.port)
    }

    fn client(&self, version: TlsVersions) -> HttpsClient {
        client_of(&self.authority, version, Some(&self.clients))
    }

    /// The number of accepted client certificates.
    fn verified(&self) -> usize {
        self.process.count("depth=0 CN = someone")
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s_server_receives_each_request_once_with_the_certificate() {
    let each = each(20);
    for version in BOTH {
        let server = Server::start(version, &["-WWW", "-Verify", "1"]);
        let client = server.client(version);
        let mut workers = JoinSet::new();
        for worker in 0..8 {
            for number in 0..each {
                let name = format!("file-{worker}-{number}.txt");
                fs::write(server.folder.path().join(&name), &name).unwrap();
            }
            let (client, uri) = (client.clone(), server.uri(""));
            workers.spawn(async move {
                for number in 0..each {
                    let name = format!("file-{worker}-{number}.txt");
                    let response = get(&client, &format!("{uri}/{name}")).await.unwrap();
                    assert_eq!((response.status, response.text()), (200, &*name));
                    assert!(!response.info().retried && response.info().certificate_requested);
                }
            });
        }
        workers.join_all().await;
        for worker in 0..8 {
            for number in 0..each {
                let file_request = format!("FILE:file-{worker}-{number}.txt");
                // Its output arrives after the response at times.
                until(|| (server.process.count(&file_request) > 0).then_some(()));
                assert_eq!(server.process.count(&file_request), 1);
            }
        }
        until(|| (server.verified() >= 8 * each).then_some(()));
        assert_eq!(server.verified(), 8 * each);
        let stranger = client_of(&server.authority, version, None);
        let error = get(&stranger, &server.uri("/file-0-0.txt"))
            .await
            .unwrap_err();
        assert_eq!(error.kind(), TransportErrorKind::ClientCertificateRejected);
        assert_eq!(server.process.count("FILE:file-0-0.txt"), 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reuses_connections_across_certificate_requests() {
    for version in BOTH {
        let mut server = Server::start(version, &[]);
        let mut input = server.process.input();
        let signatures = Arc::new(AtomicUsize::new(0));
        let key = {
            let signatures = Arc::clone(&signatures);
            callback_key(SigningCost::Quick, move |scheme, digest| {
                signatures.fetch_add(1, Ordering::SeqCst);
                shared_key().sign(scheme, digest)
            })
        };
        let client = client_builder(&server.authority)
            .versions(VersionPolicy::default().with_host("localhost", version))
            .identity(server.clients.client("someone", key))
            .build()
            .unwrap();
        let ask = match version {
            TlsVersions::Tls12 => "R\n",
            _ => "c\n",
        };
        let (caller, uri) = (client.clone(), server.uri("/first"));
        let calling = tokio::spawn(async move { get(&caller, &uri).await.unwrap() });
        serve(&server, &mut input, "/first", Some((ask, &signatures)));
        let first = calling.await.unwrap();
        assert_eq!((first.status, first.text()), (200, "ok"));
        assert!(first.info().certificate_requested && !first.info().reused);
        let uri = server.uri("/large");
        let calling = tokio::spawn(async move { post(&client, &uri, LARGE).await.unwrap() });
        serve(&server, &mut input, "/large", None);
        let large = calling.await.unwrap();
        assert!(large.info().reused && large.info().certificate_requested);
        let out = String::from_utf8_lossy(&server.process.out()).into_owned();
        assert_eq!(out.matches("HTTP/1.1\r\n").count(), 2, "{out}");
        assert!(out.contains(&"x".repeat(LARGE)), "the body is complete");
        assert_eq!(signatures.load(Ordering::SeqCst), 1);
    }
}

/// Waits for a request, makes the server request the certificate with the command `ask`, if any, and sends the response.
fn serve(server: &Server, input: &mut ChildStdin, path: &str, ask: Option<(&str, &AtomicUsize)>) {
    let large = path == "/large";
    tokio::task::block_in_place(|| {
        until(|| {
            let out = String::from_utf8_lossy(&server.process.out()).into_owned();
            let request = &out[out.find(path)?..];
            let body = &request[request.find("\r\n\r\n")? + 4..];
            let whole = !large || body.len() >= LARGE;
            whole.then_some(())
        });
        if let Some((ask, signatures)) = ask {
            input.write_all(ask.as_bytes()).unwrap();
            until(|| (signatures.load(Ordering::SeqCst) == 1).then_some(()));
        }
        let response = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
        input.write_all(response).unwrap();
    });
}

fn accepting(process: &Process) -> Option<u16> {
    let out = String::from_utf8_lossy(&process.out()).into_owned();
    let address = out.split_once("ACCEPT ")?.1.split_once('\n')?.0;
    address.rsplit_once(':')?.1.trim().parse().ok()
}

/// Polls until there is a value.
fn until<T>(mut poll: impl FnMut() -> Option<T>) -> T {
    for _ in 0..10_000 {
        if let Some(found) = poll() {
            return found;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    panic!("timed out");
}

const LARGE: usize = 1 << 20;
