//! The attack table through the daemon, in the protocol of each proxy.
#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

mod support;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{AUTHORIZATION, HOST, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode};
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use keybound_testing::attacks::{AttackRequest, CLIENT, TestIssuer, Verdict, fixed_now, run};
use keybound_verify::IDENTITY_HEADERS;
use keybound_verify::messages::{
    AttributeContext, CheckRequest, CheckResponse, HeaderMap as RawHeaders, HeaderValue as Raw,
    HttpRequest, HttpResponse, Peer, Request as EnvoyRequest,
};
use support::envoy::{answer, check, connect_http2};
use support::{Table, host, runtime};
use tokio::net::UnixStream;

#[test]
fn attack_table_through_daemon_by_http() {
    let table = Table::new(fixed_now());
    for (engine, certificate) in [
        ("nginx", nginx as Certificate),
        ("envoy-http", xfcc),
        ("haproxy", base64),
        ("apache", base64),
        ("caddy", base64),
        ("traefik", traefik),
    ] {
        let runtime = runtime();
        let (daemon, mut client) = runtime.block_on(async {
            let daemon = table.start(engine).await;
            let stream = UnixStream::connect(table.socket(engine)).await.unwrap();
            let (client, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
            tokio::spawn(connection);
            (daemon, client)
        });
        run(engine, &table.issuer, |request, policy| {
            let host = host(policy, request.seconds_later);
            let request = subrequest(&table.issuer, engine, certificate, request, &host)?;
            let response = runtime.block_on(async {
                client.ready().await.unwrap();
                client.send_request(request).await.unwrap()
            });
            Some(verdict_of_http(engine, &response))
        });
        runtime.block_on(daemon.stop(std::time::Duration::ZERO));
    }
}

#[test]
fn attack_table_through_daemon_by_grpc() {
    let table = Table::new(fixed_now());
    for raw in [true, false] {
        let runtime = runtime();
        let (daemon, mut client) = runtime.block_on(async {
            let daemon = table.start("envoy").await;
            let (client, _) = connect_http2(&table.socket("envoy")).await;
            (daemon, client)
        });
        run("ext_authz", &table.issuer, |request, policy| {
            let host = host(policy, request.seconds_later);
            let message = message(&table.issuer, request, &host, raw)?;
            let response = runtime.block_on(async {
                client.ready().await.unwrap();
                let response = client.send_request(check(&message)).await.unwrap();
                answer(response).await
            });
            Some(verdict_of_message(response))
        });
        runtime.block_on(daemon.stop(std::time::Duration::ZERO));
    }
}

/// What a proxy adds for the certificate of the connection.
type Certificate = fn(&TestIssuer, &[u8]) -> (&'static str, String);

fn nginx(issuer: &TestIssuer, der: &[u8]) -> (&'static str, String) {
    (
        "x-ssl-client-cert",
        issuer.certificates.url_encoded_pem(der),
    )
}

fn xfcc(issuer: &TestIssuer, der: &[u8]) -> (&'static str, String) {
    (
        "x-forwarded-client-cert",
        issuer.certificates.xfcc_element(der),
    )
}

fn base64(_: &TestIssuer, der: &[u8]) -> (&'static str, String) {
    // HAProxy cannot have read an empty certificate.
    let text = match der.is_empty() {
        true => "AA==".to_owned(),
        false => STANDARD.encode(der),
    };
    ("x-ssl-client-der", text)
}

fn traefik(issuer: &TestIssuer, der: &[u8]) -> (&'static str, String) {
    ("x-forwarded-tls-client-cert", base64(issuer, der).1)
}

/// The request of a proxy for the request of a client. `None` if no client can send such a header.
fn subrequest(
    issuer: &TestIssuer,
    engine: &str,
    certificate: Certificate,
    request: &AttackRequest,
    host: &str,
) -> Option<Request<Empty<Bytes>>> {
    let mut headers = HeaderMap::new();
    for value in &request.authorization {
        let is_space = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
        // It does not belong to the value (RFC 9110 section 5.5).
        if is_space(value.first()) || is_space(value.last()) {
            return None;
        }
        headers.append(AUTHORIZATION, HeaderValue::from_bytes(value).ok()?);
    }
    for (name, value) in &request.headers {
        headers.append(HeaderName::try_from(name).unwrap(), value.parse().unwrap());
    }
    // A proxy replaces the client's header by its own.
    let (name, _) = certificate(issuer, &[0]);
    headers.remove(name);
    if let Some(der) = &request.certificate {
        let (name, value) = certificate(issuer, der);
        headers.insert(name, value.parse().unwrap());
    }
    let (mut path, mut own_host) = ("/_keybound", "keybound");
    if engine == "envoy-http" {
        (path, own_host) = (&request.path, host);
    } else {
        headers.insert("x-forwarded-host", host.parse().unwrap());
        headers.insert("x-forwarded-method", HeaderValue::from_static("GET"));
        headers.insert("x-forwarded-uri", request.path.parse().unwrap());
    }
    headers.insert(HOST, own_host.parse().unwrap());
    let mut http = Request::get(path).body(Empty::new()).unwrap();
    *http.headers_mut() = headers;
    Some(http)
}

fn verdict_of_http<B>(engine: &str, response: &Response<B>) -> Verdict {
    let header = |name: &str| {
        let value = response.headers().get(name);
        value.map(|value| value.to_str().unwrap().to_owned())
    };
    let reason = header("x-keybound-reason");
    if response.status() == StatusCode::OK {
        assert_eq!(reason, None);
        assert_eq!(header("x-keybound-client").as_deref(), Some(CLIENT));
        assert!(header("x-keybound-tenant").is_some());
        assert!(header("x-keybound-roles").is_some());
        return Verdict::accepted();
    }
    assert_eq!(header("x-keybound-client"), None);
    let status = header("x-keybound-status").unwrap().parse().unwrap();
    if engine == "nginx" {
        let expected = if status == 403 { 403 } else { 401 };
        assert_eq!(response.status().as_u16(), expected);
    } else {
        assert_eq!(response.status().as_u16(), status);
    }
    Verdict::refused(status, reason, header(WWW_AUTHENTICATE.as_str()))
}

/// The message of Envoy. Without raw headers, several headers of a name are joined by commas, and only UTF-8 can be sent.
fn message(
    issuer: &TestIssuer,
    request: &AttackRequest,
    host: &str,
    raw: bool,
) -> Option<CheckRequest> {
    let certificate = match &request.certificate {
        None => Bytes::new(),
        Some(der) => issuer.certificates.url_encoded_pem(der).into(),
    };
    let mut http = HttpRequest {
        method: "GET".into(),
        path: request.path.clone().into(),
        host: host.to_owned().into(),
        ..HttpRequest::default()
    };
    let headers = request.headers.iter();
    let headers = headers.map(|(name, value)| (name.to_lowercase(), value.clone().into_bytes()));
    let authorization = request.authorization.iter();
    let authorization = authorization.map(|value| ("authorization".to_owned(), value.clone()));
    if raw {
        let headers = headers.chain(authorization);
        let headers = headers.map(|(key, raw_value)| Raw {
            key: key.into(),
            value: Bytes::new(),
            raw_value: raw_value.into(),
        });
        http.header_map = Some(RawHeaders {
            headers: headers.collect(),
        });
    } else {
        for (name, value) in headers.chain(authorization) {
            let value = String::from_utf8_lossy(&value).into_owned();
            let joined = http.headers.remove(&name);
            let joined = joined.map_or(value.clone(), |first| format!("{first},{value}"));
            http.headers.insert(name, joined);
        }
        // Both places have one: together they are several.
        if request.authorization.len() > 1 {
            http.header_map = Some(RawHeaders {
                headers: vec![Raw {
                    key: "Authorization".into(),
                    value: "mtls_pop x".into(),
                    raw_value: Bytes::new(),
                }],
            });
        }
    }
    Some(CheckRequest {
        attributes: Some(AttributeContext {
            source: Some(Peer { certificate }),
            request: Some(EnvoyRequest { http: Some(http) }),
        }),
    })
}

fn verdict_of_message(response: CheckResponse) -> Verdict {
    let status = response.status.unwrap().code;
    match response.http_response.unwrap() {
        HttpResponse::Ok(ok) => {
            assert_eq!(status, 0);
            let values: Vec<_> = ok
                .headers
                .iter()
                .map(|option| {
                    assert_eq!(option.append_action, 2, "it replaces that of the client");
                    let header = option.header.as_ref().unwrap();
                    (text(&header.key), text(&header.value))
                })
                .collect();
            assert!(
                values.contains(&("x-keybound-client", CLIENT)),
                "{values:?}"
            );
            // Each header of the identity is set or removed, so that none of the client remains.
            let removed = ok.headers_to_remove.iter().map(String::as_str);
            let mut names: Vec<_> = removed
                .chain(values.iter().map(|(name, _)| *name))
                .collect();
            names.sort_unstable();
            let mut expected = [&["authorization"], IDENTITY_HEADERS].concat();
            expected.sort_unstable();
            assert_eq!(names, expected);
            Verdict::accepted()
        }
        HttpResponse::Denied(denied) => {
            assert_ne!(status, 0);
            let header = |name: &str| {
                let mut headers = denied.headers.iter().flat_map(|option| &option.header);
                let header = headers.find(|header| header.key == name);
                header.map(|header| text(&header.value).to_owned())
            };
            let http = u16::try_from(denied.status.as_ref().unwrap().code).unwrap();
            Verdict::refused(
                http,
                header("x-keybound-reason"),
                header("www-authenticate"),
            )
        }
    }
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}
