//! Connections over SChannel.
use crate::fixture::{builder, client, clients, server, server_config, trusted_server};
use crate::native::{trusted, under_wine, wine_compatible};
use crate::support::pki::Authority;
use crate::support::server::{
    ClientAuth, ServerConfig, resource_server, switch_context, tcp_server, tls_server,
};
use crate::support::{error_chain, get, post};
use keybound_openssl::server::request_client_certificate;
use keybound_testing::http1::{read_request, write_response};
use keybound_transport::{ConnectionReuse, RequestBody, TransportErrorKind};
use openssl::ssl::SslVersion;
use std::time::Duration;
use tokio::io::AsyncWriteExt as _;

#[tokio::test]
async fn presents_the_certificate_in_the_first_handshake() {
    for client_auth in [ClientAuth::Optional, ClientAuth::Required] {
        let server = trusted_server(client_auth).await;
        let (client, thumbprint) = client();
        for reused in [false, true] {
            let response = get(&client, &server.uri("/")).await.unwrap();
            assert_eq!(response.text(), format!("0 {thumbprint}"));
            let info = response.info();
            assert_eq!(info.tls_version, "TLSv1.2");
            assert!(info.certificate_requested);
            assert_eq!(info.reused, reused);
            let of_server = info.server_certificate().unwrap().unwrap();
            assert!(of_server.not_after() > of_server.not_before());
        }
        assert_eq!(server.connections(), 1);
    }
}

#[tokio::test]
async fn presents_no_certificate_without_a_request() {
    let server = trusted_server(ClientAuth::None).await;
    let (client, _) = client();
    let response = get(&client, &server.uri("/")).await.unwrap();
    assert_eq!(response.text(), "0 none");
    assert!(!response.info().certificate_requested);
}

#[tokio::test]
async fn presents_no_certificate_without_an_identity() {
    let client = builder().build().unwrap();
    let server = trusted_server(ClientAuth::Optional).await;
    let response = get(&client, &server.uri("/")).await.unwrap();
    assert_eq!(response.text(), "0 none");
    let server = trusted_server(ClientAuth::Required).await;
    let error = get(&client, &server.uri("/")).await.unwrap_err();
    assert_eq!(
        error.kind(),
        TransportErrorKind::ClientCertificateRejected,
        "{}",
        error_chain(&error)
    );
    assert!(error.to_string().contains("the client has none"), "{error}");
}

#[tokio::test]
async fn reports_rejected_certificates() {
    let strangers = Authority::new("authority of others");
    let server = server(
        wine_compatible(|| trusted().server("localhost")),
        &strangers,
        ClientAuth::Required,
    )
    .await;
    let (client, _) = client();
    let error = get(&client, &server.uri("/")).await.unwrap_err();
    assert_eq!(
        error.kind(),
        TransportErrorKind::ClientCertificateRejected,
        "{}",
        error_chain(&error)
    );
    assert_eq!(server.requests(), 0);
}

#[tokio::test]
async fn transfers_bodies_of_all_lengths() {
    let (client, _) = client();
    let context = server_config(
        wine_compatible(|| trusted().server("localhost")),
        clients(),
        ClientAuth::Required,
    )
    .context();
    let server = tls_server(context, |mut stream, _, _| async move {
        while let Some(request) = read_request(&mut stream).await {
            let body = "y".repeat(request.body);
            if write_response(&mut stream, "200 OK", &body).await.is_none() {
                break;
            }
        }
    })
    .await;
    for length in [0, 1, 16_384, 16_385, 100_000, 1_000_000] {
        let response = post(&client, &server.uri("/"), length).await;
        let response = response.unwrap_or_else(|error| panic!("{length}: {}", error_chain(&error)));
        assert_eq!(response.body.len(), length);
        assert!(response.body.iter().all(|byte| *byte == b'y'));
    }
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn response_without_length_requires_close_notify() {
    let context = server_config(
        wine_compatible(|| trusted().server("localhost")),
        clients(),
        ClientAuth::None,
    )
    .context();
    let server = tls_server(context, |mut stream, number, _| async move {
        read_request(&mut stream).await;
        let response = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhalf";
        stream.write_all(response).await.unwrap();
        stream.flush().await.unwrap();
        if number == 0 {
            let _ = stream.shutdown().await;
        } else {
            let _ = stream.get_mut().shutdown().await;
        }
    })
    .await;
    let client = builder().build().unwrap();
    let whole = get(&client, &server.uri("/")).await;
    if under_wine() {
        // Its SChannel does not report close_notify. A response that may be truncated is an error.
        whole.unwrap_err();
    } else {
        assert_eq!(whole.unwrap().text(), "half");
    }
    let error = get(&client, &server.uri("/")).await.unwrap_err();
    assert_eq!(error.kind(), TransportErrorKind::Protocol);
}

#[tokio::test]
async fn reports_peers_without_tls() {
    let server = tcp_server(|mut stream, _, _| async move {
        let response = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n";
        let _ = stream.write_all(response).await;
        let _ = stream.shutdown().await;
    })
    .await;
    let error = get(&builder().build().unwrap(), &server.uri("/"))
        .await
        .unwrap_err();
    assert_eq!(
        error.kind(),
        TransportErrorKind::Tls,
        "{}",
        error_chain(&error)
    );
}

#[tokio::test]
async fn end_of_connection_in_the_handshake_is_a_connect_error() {
    let server = tcp_server(|stream, _, _| async move { drop(stream) }).await;
    let error = get(&builder().build().unwrap(), &server.uri("/"))
        .await
        .unwrap_err();
    assert_eq!(
        error.kind(),
        TransportErrorKind::Connect,
        "{}",
        error_chain(&error)
    );
}

#[tokio::test]
async fn silent_servers_fail_at_the_deadline() {
    let server = tcp_server(|stream, _, _| async move {
        let _stream = stream;
        std::future::pending().await
    })
    .await;
    let client = builder().build().unwrap();
    let request = crate::support::request("GET", &server.uri("/"), RequestBody::empty());
    let error = client
        .send(request, Duration::from_millis(200))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), TransportErrorKind::Timeout);
}

#[tokio::test]
async fn presents_the_certificate_after_the_request() {
    if under_wine() {
        // Its SChannel does not support renegotiation.
        return;
    }
    let context = ServerConfig {
        version: Some(SslVersion::TLS1_2),
        ..server_config(
            wine_compatible(|| trusted().server("localhost")),
            clients(),
            ClientAuth::None,
        )
    };
    let server = resource_server(context.context()).await;
    let (client, thumbprint) = client();
    for length in [0, 64 * 1024] {
        let response = post(&client, &server.uri("/secure"), length).await.unwrap();
        assert_eq!(response.text(), format!("{length} {thumbprint}"));
        assert!(response.info().certificate_requested);
    }
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn rejects_another_server_certificate_in_a_renegotiation() {
    if under_wine() {
        // Its SChannel does not support renegotiation.
        return;
    }
    let context = || {
        let leaf = wine_compatible(|| trusted().server("localhost"));
        let server_config = ServerConfig {
            version: Some(SslVersion::TLS1_2),
            ..server_config(leaf, clients(), ClientAuth::None)
        };
        server_config.context()
    };
    let second = context();
    let server = tls_server(context(), move |mut stream, _, _| {
        let second = second.clone();
        async move {
            read_request(&mut stream).await;
            switch_context(&stream, &second);
            let _ = request_client_certificate(&mut stream).await;
            write_response(&mut stream, "200 OK", "here").await;
        }
    })
    .await;
    let (client, _) = client();
    let error = get(&client, &server.uri("/")).await.unwrap_err();
    let message = error_chain(&error);
    assert_eq!(
        error.kind(),
        TransportErrorKind::ServerCertificate,
        "{message}"
    );
    assert!(message.contains("another certificate"), "{message}");
}

#[tokio::test]
async fn connections_leak_no_handles() {
    let server = trusted_server(ClientAuth::Required).await;
    let round = async || {
        let (client, _) = client();
        for _ in 0..10 {
            let mut request =
                crate::support::request("GET", &server.uri("/"), RequestBody::empty());
            let response = client
                .send_with(
                    &mut request,
                    crate::support::TEST_TIMEOUT,
                    ConnectionReuse::Never,
                )
                .await
                .unwrap();
            response.into_body().collect(1000).await.unwrap();
        }
    };
    round().await;
    let before = handles();
    for _ in 0..10 {
        round().await;
    }
    // The runtime and concurrent tests open and close a few.
    assert!(handles() < before + 50, "{before} {}", handles());
}

/// The number of open handles of this process. Wine does not count them, but a new one gets the lowest free number.
fn handles() -> usize {
    use windows::Win32::Foundation::CloseHandle;
    use windows::Win32::System::Threading::{
        CreateEventW, GetCurrentProcess, GetProcessHandleCount,
    };
    if !under_wine() {
        let mut count = 0;
        // SAFETY: the pseudo handle of the process is not closed; the number is written.
        unsafe { GetProcessHandleCount(GetCurrentProcess(), &raw mut count) }.unwrap();
        return count as usize;
    }
    // SAFETY: an event without a name, closed once.
    unsafe {
        let event = CreateEventW(None, false, false, None).unwrap();
        CloseHandle(event).unwrap();
        event.0 as usize / 4
    }
}
