//! Listeners of a process that can open few files.
#![cfg(target_os = "linux")]

use keybound_resource::tls::{MtlsListener, OpensslServer, request_any_client_certificate};
use keybound_testing::{ChildProcess, Leaf};
use openssl::ssl::{SslConnector, SslMethod, SslVerifyMode};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpStream};
use tokio::net::TcpListener;

/// As many are accepted as files can be opened: fewer than handshakes may run.
#[test]
fn silent_connections_do_not_delay_others_if_files_are_few() {
    let mut server = ChildProcess::start(&mut ChildProcess::of_test("server"));
    let address: SocketAddr = server.expect("listening on ").parse().unwrap();
    let silent: Vec<_> = (0..FILES)
        .map(|_| TcpStream::connect(address).unwrap())
        .collect();
    let mut connector = SslConnector::builder(SslMethod::tls_client()).unwrap();
    connector.set_verify(SslVerifyMode::NONE);
    let stream = TcpStream::connect(address).unwrap();
    let connected = connector.build().connect("localhost", stream);
    assert!(connected.is_ok(), "{connected:?}");
    // The first ones were closed, and it did not wait for the timeouts of all that were accepted.
    let accepted = &silent[silent.len() / 2];
    accepted.set_nonblocking(true).unwrap();
    let is_open = accepted.peek(&mut [0]).unwrap_err();
    assert_eq!(is_open.kind(), ErrorKind::WouldBlock);
}

#[tokio::test]
#[ignore = "the child process of another test"]
async fn server() {
    let limit = Rlimit {
        current: Some(FILES),
        ..getrlimit(Resource::Nofile)
    };
    setrlimit(Resource::Nofile, limit).unwrap();
    let mut context = Leaf::self_signed("localhost").acceptor();
    request_any_client_certificate(&mut context).unwrap();
    let tls = OpensslServer::new(context.build().into_context()).unwrap();
    let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut listener = MtlsListener::new(tcp, tls).unwrap();
    println!("listening on {}", listener.local_addr().unwrap());
    loop {
        listener.accept().await;
    }
}

const FILES: u64 = 64;
