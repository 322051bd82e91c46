//! Reloads that operators request.
use crate::fixture::{Fixture, connect, connect_unix, get, status};
use crate::support::{paused_runtime, runtime};
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Empty};
use keybound_verify::{Config, DecisionLog, request_reload};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};

#[test]
fn operators_request_one_reload_at_a_time() {
    runtime().block_on(async {
        let fixture = Fixture::new();
        let daemon = fixture.start(DecisionLog::none()).await.unwrap();
        // An issuer that accepts connections, and does not respond.
        let issuer = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let keys = fixture.folder.path().join("keys.json");
        fixture.replace(&format!("[keys]\nfile = {keys:?}\n"), "");
        fixture.replace(
            "tenants =",
            &format!(
                "issuers = [{{ version = 2, name = \"https://a/{{tenantid}}\", metadata = \"https://{}/\" }}]\ntenants =",
                issuer.local_addr().unwrap()
            ),
        );
        let admin = fixture.admin();
        let first = tokio::spawn(async move { get(&admin, "POST", "/reload").await });
        let _fetch = issuer.accept().await.unwrap();
        let mut sender = connect_unix(&fixture.admin()).await;
        let request = Request::post("/reload").header("host", "localhost");
        let request = request.body(Empty::new()).unwrap();
        let (refused, answer) = status(&mut sender, request).await;
        assert_eq!((refused, &answer.headers()["retry-after"]), (429, &"5".parse().unwrap()));
        first.abort();
        daemon.stop(Duration::ZERO).await;
    });
}

/// Such as a unit that is reloaded twice: the second one waits.
#[test]
fn reload_after_another_one_is_requested_again() {
    paused_runtime().block_on(async {
        let fixture = Fixture::new();
        let daemon = fixture.start(DecisionLog::none()).await.unwrap();
        let config = Config::from_toml(&fixture.config.lock().unwrap()).unwrap();
        let mut waits = Vec::new();
        for _ in 0..3 {
            let reloaded = request_reload(&config, |wait| waits.push(wait)).await;
            reloaded.unwrap();
        }
        assert_eq!(waits, [Duration::from_secs(5); 2]);
        let (_, metrics) = get(&fixture.admin(), "GET", "/metrics").await;
        let count = "keybound_verify_reloads_total{outcome=\"succeeded\"} 3\n";
        assert!(metrics.contains(count), "{metrics}");
        daemon.stop(Duration::ZERO).await;
    });
}

/// On an address that other hosts can reach, the address of a peer proves nothing: a side-car connects from loopback.
#[test]
fn reloads_are_accepted_on_sockets_and_loopback_only() {
    runtime().block_on(async {
        let fixture = Fixture::new();
        let socket = format!("unix = {:?}\n", fixture.admin());
        fixture.replace(&socket, &format!("{socket}tcp = \"0.0.0.0:0\"\n"));
        let daemon = fixture.start(DecisionLog::none()).await.unwrap();
        let port = daemon.admin_address().unwrap().port();
        let address = (Ipv4Addr::LOCALHOST, port).into();
        let (refused, why) = post_reload(address, &[]).await;
        assert_eq!(refused, StatusCode::FORBIDDEN);
        assert!(why.contains("send SIGHUP to the daemon"), "{why}");
        // What else is there is for everyone, and a program of this host has the socket.
        let mut sender = connect(TcpStream::connect(address).await.unwrap()).await;
        let ready = Request::get("/readyz").body(Empty::new()).unwrap();
        assert_eq!(status(&mut sender, ready).await.0, 200);
        let config = Config::from_toml(&fixture.config.lock().unwrap()).unwrap();
        request_reload(&config, |_| {}).await.unwrap();
        daemon.stop(Duration::ZERO).await;

        fixture.replace(
            &format!("{socket}tcp = \"0.0.0.0:0\"\n"),
            "tcp = \"127.0.0.1:0\"\n",
        );
        let daemon = fixture.start(DecisionLog::none()).await.unwrap();
        let address = daemon.admin_address().unwrap();
        for headers in [
            &[("origin", "https://page.example")][..],
            &[("origin", "null")],
            &[("host", "page.example")],
        ] {
            let (refused, why) = post_reload(address, headers).await;
            assert_eq!(refused, StatusCode::FORBIDDEN, "{headers:?}");
            assert_eq!(why, "a reload is not accepted from a web page\n");
        }
        assert_eq!(post_reload(address, &[]).await.0, StatusCode::OK);
        daemon.stop(Duration::ZERO).await;
    });
}

/// The answer to a request with these headers, and with the address as host if there is no other one.
async fn post_reload(address: SocketAddr, headers: &[(&str, &str)]) -> (StatusCode, String) {
    let mut request = Request::post("/reload");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    if !headers.iter().any(|(name, _)| *name == "host") {
        request = request.header("host", address.to_string());
    }
    let request = request.body(Empty::new()).unwrap();
    let mut sender = connect(TcpStream::connect(address).await.unwrap()).await;
    let response = sender.send_request(request).await.unwrap();
    let status = response.status();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}
