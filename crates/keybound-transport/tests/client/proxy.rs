//! Connections through an HTTP proxy.
use crate::support::pki::Authority;
use crate::support::server::{ClientAuth, Server, ServerConfig, resource_server, tcp_server};
use crate::support::{ClientBuilder, TEST_TIMEOUT, client_builder, error_chain, get, request};
use keybound_testing::http1::read_head;
use keybound_transport::{ProxyConfig, RequestBody, TlsEngine, TransportErrorKind, TrustAnchors};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

/// A proxy that responds with `head` and, where that is successful, connects every tunnel to one address.
async fn proxy(to: SocketAddr, head: &'static str) -> (Server, Arc<Mutex<Vec<String>>>) {
    let heads = Arc::new(Mutex::new(vec![]));
    let log = Arc::clone(&heads);
    let server = tcp_server(move |mut stream, _, _| {
        let log = Arc::clone(&log);
        async move {
            let request = read_head(&mut stream).await.unwrap();
            log.lock().unwrap().push(request);
            stream.write_all(head.as_bytes()).await.unwrap();
            if head.contains(" 200 ") {
                let mut target = TcpStream::connect(to).await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut stream, &mut target).await;
            }
        }
    })
    .await;
    (server, heads)
}

async fn origin(authority: &Authority, host: &str) -> Server {
    let server_config = ServerConfig {
        leaf: authority.server(host),
        version: None,
        client_auth: ClientAuth::None,
        client_ca: authority.clone(),
    };
    resource_server(server_config.context()).await
}

/// Not a loopback address; connections to it are refused.
const UNREACHABLE: &str = "https://0.0.0.0:1/";
const ESTABLISHED: &str = "HTTP/1.1 200 Connection established\r\n\r\n";

#[tokio::test]
async fn sends_proxy_credentials_to_the_proxy_only() {
    let authority = Authority::new("test authority");
    let origin = origin(&authority, "vault.example").await;
    let (proxy, heads) = proxy(origin.address, ESTABLISHED).await;
    let url = format!("http://user:swordfish@127.0.0.1:{}", proxy.address.port());
    let client = client_builder(&authority)
        .proxy(ProxyConfig::from_values(Some(&url), None).unwrap())
        .build()
        .unwrap();
    for _ in 0..2 {
        let response = get(&client, "https://vault.example/x").await.unwrap();
        assert_eq!(response.status, 200);
    }
    assert_eq!(
        *heads.lock().unwrap(),
        [
            "CONNECT vault.example:443 HTTP/1.1\r\nHost: vault.example:443\r\n\
          Proxy-Authorization: Basic dXNlcjpzd29yZGZpc2g=\r\n\r\n"
        ]
    );
    let received = origin.requests.lock().unwrap();
    assert_eq!(received.len(), 2);
    assert!(
        received
            .iter()
            .all(|request| request.header("proxy-authorization").is_none())
    );
    assert_eq!(received[0].header("host"), Some("vault.example"));
    let shown = format!("{client:?}");
    assert!(
        !shown.contains("swordfish") && !shown.contains("dXNlcj"),
        "{shown}"
    );
}

#[tokio::test]
async fn uses_the_system_proxy_except_for_its_exceptions() {
    let authority = Authority::new("test authority");
    let origin = origin(&authority, "vault.example").await;
    let (proxy, heads) = proxy(origin.address, ESTABLISHED).await;
    let list = format!("http=other:1;https=127.0.0.1:{}", proxy.address.port());
    let config = ProxyConfig::from_windows_settings(&list, "0.0.*;<-loopback>");
    let client = client_builder(&authority).proxy(config).build().unwrap();
    let response = get(&client, "https://vault.example/x").await.unwrap();
    assert_eq!(response.status, 200);
    let error = get(&client, UNREACHABLE).await.unwrap_err();
    assert_eq!(error.kind(), TransportErrorKind::Connect);
    let local = format!("https://127.0.0.1:{}/", origin.address.port());
    let error = get(&client, &local).await.unwrap_err();
    assert_eq!(error.kind(), TransportErrorKind::ServerCertificate);
    assert_eq!(
        *heads.lock().unwrap(),
        ["CONNECT vault.example:443 HTTP/1.1\r\nHost: vault.example:443\r\n\r\n"]
    );
}

#[tokio::test]
async fn unusable_system_settings_leave_a_direct_connection() {
    let authority = Authority::new("test authority");
    let origin = origin(&authority, "localhost").await;
    let config = ProxyConfig::from_windows_settings("socks=swordfish:1", "");
    let client = client_builder(&authority).proxy(config).build().unwrap();
    let uri = format!("https://localhost:{}/", origin.address.port());
    assert_eq!(get(&client, &uri).await.unwrap().status, 200);
    let error = get(&client, UNREACHABLE).await.unwrap_err();
    let message = error.to_string();
    assert!(
        message.starts_with("0.0.0.0:1 was tried without a proxy: the user's proxy settings"),
        "{message}"
    );
    let message = error_chain(&error);
    assert_eq!(error.kind(), TransportErrorKind::Connect, "{message}");
    assert!(message.contains("no connection to 0.0.0.0:1"), "{message}");
    assert!(!message.contains("swordfish"), "{message}");
}

#[tokio::test]
async fn trust_is_the_same_through_a_tunnel() {
    let authority = Authority::new("test authority");
    let elsewhere = origin(&authority, "elsewhere.example").await;
    let here = origin(&authority, "vault.example").await;
    let config = |proxy: &Server| {
        let url = format!("127.0.0.1:{}", proxy.address.port());
        ProxyConfig::from_values(Some(&url), None).unwrap()
    };
    let (wrong, _) = proxy(elsewhere.address, ESTABLISHED).await;
    let client = client_builder(&authority)
        .proxy(config(&wrong))
        .build()
        .unwrap();
    let error = get(&client, "https://vault.example/").await.unwrap_err();
    assert_eq!(error.kind(), TransportErrorKind::ServerCertificate);
    // Anchors for loopback hosts do not apply to others.
    let (right, _) = proxy(here.address, ESTABLISHED).await;
    let trust = TrustAnchors::system()
        .with_loopback_pem(&authority.pem())
        .unwrap();
    let client = ClientBuilder::default()
        .engine(TlsEngine::OpenSsl)
        .trust(trust)
        .proxy(config(&right))
        .build()
        .unwrap();
    let error = get(&client, "https://vault.example/").await.unwrap_err();
    assert_eq!(error.kind(), TransportErrorKind::ServerCertificate);
}

/// Names with several labels, which cannot be resolved here, are reached through a tunnel.
#[tokio::test]
async fn wildcards_match_whole_labels_and_common_names_are_ignored() {
    let authority = Authority::new("test authority");
    let host = "my.vault.example";
    for (leaf, is_valid) in [
        (authority.server_with_names(host, &[host], &[]), true),
        (
            authority.server_with_names("any", &["*.vault.example"], &[]),
            true,
        ),
        (
            authority.server_with_names("any", &["m*.vault.example"], &[]),
            false,
        ),
        (
            authority.server_with_names("any", &["*y.vault.example"], &[]),
            false,
        ),
        (
            authority.server_with_names("any", &["my.*.example"], &[]),
            false,
        ),
        (
            authority.server_with_names("any", &["*.example"], &[]),
            false,
        ),
        (authority.server_with_names(host, &[], &[]), false),
        (
            authority.server_with_names("*.vault.example", &[], &[]),
            false,
        ),
        (
            authority.server_with_names(host, &[], &["127.0.0.1"]),
            false,
        ),
    ] {
        let server_config = ServerConfig {
            leaf: leaf.clone(),
            version: None,
            client_auth: ClientAuth::None,
            client_ca: authority.clone(),
        };
        let origin = resource_server(server_config.context()).await;
        let (proxy, _) = proxy(origin.address, ESTABLISHED).await;
        let url = format!("http://127.0.0.1:{}", proxy.address.port());
        let client = client_builder(&authority)
            .proxy(ProxyConfig::from_values(Some(&url), None).unwrap())
            .build()
            .unwrap();
        let outcome = get(&client, &format!("https://{host}/")).await;
        let kind = outcome
            .map(|response| response.status)
            .map_err(|error| error.kind());
        let expected = if is_valid {
            Ok(200)
        } else {
            Err(TransportErrorKind::ServerCertificate)
        };
        assert_eq!(kind, expected, "{:?}", leaf.certificate);
    }
}

#[tokio::test]
async fn reports_proxies_that_reject_or_fail() {
    let authority = Authority::new("test authority");
    let origin = origin(&authority, "vault.example").await;
    let page = "Content-Length: 6\r\nContent-Type: text/html\r\n\r\n<html>";
    let with_page = |status: &str| format!("HTTP/1.1 {status}\r\n{page}");
    for (head, word) in [
        (
            "HTTP/1.1 407 Proxy Authentication Required\r\n\r\n".to_owned(),
            "rejected the credentials",
        ),
        (
            with_page("407 Proxy Authentication Required"),
            "rejected the credentials",
        ),
        (with_page("407 x"), "its URL has none"),
        (with_page("403 Forbidden"), "status 403"),
        (with_page("503 Service Unavailable"), "status 503"),
        (with_page("502 Bad Gateway"), "status 502"),
        (with_page("302 Found"), "status 302"),
        (with_page("400 Bad Request"), "status 400"),
        (
            with_page("403 Forbidden").replace("\r\n", "\n"),
            "status 403",
        ),
        (
            format!("HTTP/1.1 103 Hints\r\n\r\n{}", with_page("407 x")),
            "rejected the credentials",
        ),
        (
            "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n".to_owned(),
            "status 403",
        ),
        (
            "HTTP/1.1 200 OK\r\n\r\ntoo much".to_owned(),
            "data after its response",
        ),
        (
            "HTTP/1.1 100 Continue\r\n\r\n".to_owned(),
            "closed the connection",
        ),
        ("SSH-2.0\r\n\r\n".to_owned(), "http/1.1"),
        ("HTTP/1.1 200".to_owned(), "closed the connection"),
        (String::new(), "closed the connection"),
    ] {
        let proxy = tcp_server(move |mut stream, _, _| {
            let head_of_proxy = head.clone();
            async move {
                read_head(&mut stream).await.unwrap();
                stream.write_all(head_of_proxy.as_bytes()).await.unwrap();
            }
        })
        .await;
        let credentials = match word {
            "its URL has none" => "",
            _ => "user:swordfish@",
        };
        let url = format!("http://{credentials}127.0.0.1:{}", proxy.address.port());
        let client = client_builder(&authority)
            .proxy(ProxyConfig::from_values(Some(&url), None).unwrap())
            .build()
            .unwrap();
        let error = get(&client, "https://vault.example/").await.unwrap_err();
        let message = error_chain(&error);
        assert_eq!(error.kind(), TransportErrorKind::Proxy, "{message}");
        assert!(message.contains(word), "{message}");
        assert!(
            !message.contains("swordfish") && !message.contains("dXNlcj"),
            "{message}"
        );
    }
    assert_eq!(origin.connections(), 0);
}

#[tokio::test]
async fn bounded_input_from_proxies() {
    let authority = Authority::new("test authority");
    let proxy = tcp_server(|mut stream, _, _| async move {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n").await;
        let field = format!("A: {}\r\n", "b".repeat(1000));
        while stream.write_all(field.as_bytes()).await.is_ok() {}
    })
    .await;
    let silent = tcp_server(|stream, _, _| async move {
        std::future::pending::<()>().await;
        drop(stream);
    })
    .await;
    let client = |proxy: &Server| {
        let url = format!("user:swordfish@127.0.0.1:{}", proxy.address.port());
        client_builder(&authority)
            .proxy(ProxyConfig::from_values(Some(&url), None).unwrap())
            .build()
            .unwrap()
    };
    let request = || request("GET", "https://vault.example/", RequestBody::empty());
    let error = client(&proxy)
        .send(request(), TEST_TIMEOUT)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), TransportErrorKind::Proxy);
    assert!(error_chain(&error).contains("sent a larger response head than allowed"));
    let short = Duration::from_millis(200);
    let half = tcp_server(|mut stream, _, _| async move {
        stream.write_all(b"HTTP/1.1 200 OK\r\n").await.unwrap();
        std::future::pending::<()>().await;
    })
    .await;
    for server in [&silent, &half] {
        let error = client(server).send(request(), short).await.unwrap_err();
        let message = error_chain(&error);
        assert_eq!(error.kind(), TransportErrorKind::Timeout, "{message}");
        let name = format!("the proxy 127.0.0.1:{}", server.address.port());
        assert!(
            message.contains(&name) && message.contains("vault.example:443"),
            "{message}"
        );
        assert!(!message.contains("swordfish"), "{message}");
    }
}

/// Interim responses precede the final one, and lines may end with LF alone.
#[tokio::test]
async fn accepts_all_forms_of_successful_responses() {
    let authority = Authority::new("test authority");
    let origin = origin(&authority, "vault.example").await;
    for head in [
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
        "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
        "HTTP/1.0 200 OK\n\n",
        "HTTP/1.1 200 \r\nVia: \u{fc}\r\n\r\n",
    ] {
        let (proxy, _) = proxy(origin.address, head).await;
        let url = format!("127.0.0.1:{}", proxy.address.port());
        let client = client_builder(&authority)
            .proxy(ProxyConfig::from_values(Some(&url), None).unwrap())
            .build()
            .unwrap();
        let response = get(&client, "https://vault.example/").await.unwrap();
        assert_eq!(response.status, 200, "{head}");
    }
}

#[tokio::test]
async fn malformed_environment_proxy_fails_only_requests_through_it() {
    let authority = Authority::new("test authority");
    let origin = origin(&authority, "localhost").await;
    let config = ProxyConfig::from_environment(Some("socks5://u:swordfish@p:1"), Some("0.0.0.0"));
    let client = client_builder(&authority).proxy(config).build().unwrap();
    assert_eq!(get(&client, &origin.uri("/")).await.unwrap().status, 200);
    let error = get(&client, UNREACHABLE).await.unwrap_err();
    assert_eq!(error.kind(), TransportErrorKind::Connect);
    let error = get(&client, "https://vault.example/").await.unwrap_err();
    let message = error_chain(&error);
    assert_eq!(
        error.kind(),
        TransportErrorKind::InvalidRequest,
        "{message}"
    );
    assert!(
        message.contains("vault.example:443") && !message.contains("swordfish"),
        "{message}"
    );
}

#[tokio::test]
async fn connects_to_loopback_directly() {
    let authority = Authority::new("test authority");
    let origin = origin(&authority, "localhost").await;
    let (proxy, heads) = proxy(origin.address, ESTABLISHED).await;
    let url = format!("127.0.0.1:{}", proxy.address.port());
    let client = client_builder(&authority)
        .proxy(ProxyConfig::from_values(Some(&url), None).unwrap())
        .build()
        .unwrap();
    assert_eq!(get(&client, &origin.uri("/")).await.unwrap().status, 200);
    assert!(heads.lock().unwrap().is_empty());
}
