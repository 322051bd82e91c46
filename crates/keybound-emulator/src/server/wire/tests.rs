use super::*;
use http::Response;

const HOSTS: Hosts = Hosts {
    scheme: "http",
    link_local: true,
};

type Scripted<'a> = tokio::io::Join<&'a [u8], Vec<u8>>;

fn wire(bytes: &[u8]) -> Wire<Scripted<'_>> {
    Wire::new(tokio::io::join(bytes, vec![]))
}

async fn exchange(bytes: &[u8], limit: usize) -> Result<(Head, Bytes), StatusCode> {
    let status = |error| match error {
        ReadError::Rejected(status, _) => status,
        ReadError::Disconnected => StatusCode::REQUEST_TIMEOUT,
    };
    let mut wire = wire(bytes);
    let head = wire.read_head(HOSTS).await.map_err(status)?.unwrap();
    let body = wire.read_body(head.framing, limit).await.map_err(status)?;
    Ok((head, body))
}

#[tokio::test]
async fn reads_bodies_by_length_and_by_chunks() {
    for (text, body) in [
        ("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", ""),
        (
            "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\nabc",
            "abc",
        ),
        (
            "POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: Chunked\r\n\r\n2;x=y\r\nab\r\n1 \r\nc\r\n0\r\nT: v\r\n\r\n",
            "abc",
        ),
    ] {
        let (_, read) = exchange(text.as_bytes(), 3).await.unwrap();
        assert_eq!(read, body, "{text}");
    }
}

#[tokio::test]
async fn reads_a_second_request_from_the_stream() {
    let mut wire = wire(
        b"PUT /a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\nxGET /b HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    );
    let first = wire.read_head(HOSTS).await.unwrap().unwrap();
    assert!(!first.last);
    assert_eq!(wire.read_body(first.framing, 1).await.unwrap(), "x");
    let second = wire.read_head(HOSTS).await.unwrap().unwrap();
    assert_eq!(second.request.uri(), "/b");
    assert!(second.last);
    assert!(wire.read_head(HOSTS).await.unwrap().is_none());
}

#[tokio::test]
async fn rejects_malformed_and_ambiguous_requests() {
    let bad = StatusCode::BAD_REQUEST;
    let misdirected = StatusCode::MISDIRECTED_REQUEST;
    for (text, status) in [
        ("GET / HTTP/1.1\r\n\r\n", bad),
        (
            "GET / HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n",
            bad,
        ),
        ("GET * HTTP/1.1\r\nHost: localhost\r\n\r\n", bad),
        (
            "CONNECT localhost:443 HTTP/1.1\r\nHost: localhost\r\n\r\n",
            bad,
        ),
        ("GET http:/x HTTP/1.1\r\nHost: localhost\r\n\r\n", bad),
        ("GET /a#b HTTP/1.1\r\nHost: localhost\r\n\r\n", bad),
        (
            "GET http://localhost/#b HTTP/1.1\r\nHost: localhost\r\n\r\n",
            bad,
        ),
        ("GET http://localhost/ HTTP/1.1\r\n\r\n", bad),
        ("GET / HTTP/1.1\r\nHost: h\r\n\r\n", misdirected),
        ("GET / HTTP/1.1\r\nHost:\r\n\r\n", misdirected),
        ("GET / HTTP/1.0\r\nHost: h\r\n\r\n", misdirected),
        (
            "GET / HTTP/1.1\r\nHost: localhost\u{e9}\r\n\r\n",
            misdirected,
        ),
        (
            "GET http://h/ HTTP/1.1\r\nHost: localhost\r\n\r\n",
            misdirected,
        ),
        ("GET http://h/ HTTP/1.1\r\nHost: h\r\n\r\n", misdirected),
        (
            "GET http:/// HTTP/1.1\r\nHost: localhost\r\n\r\n",
            misdirected,
        ),
        (
            "GET http://u@localhost/ HTTP/1.1\r\nHost: localhost\r\n\r\n",
            misdirected,
        ),
        (
            "GET https://localhost/ HTTP/1.1\r\nHost: localhost\r\n\r\n",
            misdirected,
        ),
        (
            "GET ftp://localhost/ HTTP/1.1\r\nHost: localhost\r\n\r\n",
            misdirected,
        ),
        ("\x16\x03\x01 garbage\r\n\r\n", bad),
        (
            "GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: +1\r\n\r\nx",
            bad,
        ),
        (
            "GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: \r\n\r\nx",
            bad,
        ),
        (
            "GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx",
            bad,
        ),
        (
            "GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            bad,
        ),
        (
            "GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            bad,
        ),
        (
            "GET / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: gzip\r\n\r\n",
            StatusCode::NOT_IMPLEMENTED,
        ),
        (
            "GET / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n",
            bad,
        ),
        (
            "GET / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n\r\n",
            bad,
        ),
        (
            "GET / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n",
            bad,
        ),
        (
            "GET / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nffffffff\r\n",
            StatusCode::PAYLOAD_TOO_LARGE,
        ),
        (
            "GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n\r\nabcd",
            StatusCode::PAYLOAD_TOO_LARGE,
        ),
        (
            "GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999999999999\r\n\r\n",
            bad,
        ),
        (
            "GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\nab",
            StatusCode::REQUEST_TIMEOUT,
        ),
    ] {
        let rejected = exchange(text.as_bytes(), 3).await.err();
        assert_eq!(rejected, Some(status), "{text:?}");
    }
}

/// RFC 9112 section 3.2.2: a server accepts the absolute form, and then ignores `Host`.
#[tokio::test]
async fn reads_the_path_of_an_absolute_target() {
    for (target, path) in [
        ("http://127.0.0.1:8080/a/b?c=d%20&e=/?", "/a/b?c=d%20&e=/?"),
        ("HTTP://LOCALHOST/", "/"),
        ("http://localhost", "/"),
        ("http://localhost?x=y", "/?x=y"),
        ("http://[::1]:1//a", "//a"),
        ("http://169.254.169.254/metadata/x", "/metadata/x"),
        ("http://imds.invalid/metadata/x?y", "/metadata/x?y"),
        ("/http://h/", "/http://h/"),
    ] {
        for version in ["1.0", "1.1"] {
            let text = format!("GET {target} HTTP/{version}\r\nHost: localhost\r\n\r\n");
            let (head, _) = exchange(text.as_bytes(), 0).await.unwrap();
            assert_eq!(head.request.uri().to_string(), path, "{target}");
            assert_eq!(head.request.uri().authority(), None, "{target}");
        }
    }
    let other_host = "GET http://localhost/a HTTP/1.1\r\nHost: h\r\n\r\n";
    let (head, _) = exchange(other_host.as_bytes(), 0).await.unwrap();
    assert_eq!(head.request.uri().path(), "/a");
    let no_host = "GET /a HTTP/1.0\r\n\r\n";
    assert!(exchange(no_host.as_bytes(), 0).await.is_ok());
}

#[tokio::test]
async fn limits_heads_and_lines() {
    let mut endless = b"GET / HTTP/1.1\r\nx: ".to_vec();
    endless.resize(MAX_HEAD_BYTES + 10, b'a');
    assert_eq!(
        exchange(&endless, 0).await.err(),
        Some(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE)
    );
    let mut line =
        b"GET / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n1;".to_vec();
    line.resize(line.len() + MAX_LINE_BYTES + 1, b'a');
    assert_eq!(
        exchange(&line, 9).await.err(),
        Some(StatusCode::BAD_REQUEST)
    );
}

#[tokio::test]
async fn frames_responses_by_length() {
    let mut wire = wire(b"");
    let response = Response::builder()
        .status(401)
        .header("x-a", "b")
        .body(Bytes::from_static(b"no"))
        .unwrap();
    wire.write_response(&response, false, true).await.unwrap();
    assert_eq!(
        String::from_utf8(wire.stream.into_inner().1).unwrap(),
        "HTTP/1.1 401 Unauthorized\r\nx-a: b\r\ncontent-length: 2\r\nconnection: close\r\n\r\nno"
    );
}
