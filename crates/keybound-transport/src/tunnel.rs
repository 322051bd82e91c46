//! A tunnel through an HTTP proxy (RFC 9110, section 9.3.6).
use crate::origin::Origin;
use crate::proxy::HttpProxy;
use crate::{TransportError, TransportErrorKind};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

/// Requests a tunnel to the origin from the proxy on this stream.
///
/// # Errors
/// [`Proxy`](TransportErrorKind::Proxy), with the name of the proxy and its failure.
pub(crate) async fn open(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    proxy: &HttpProxy,
    origin: &Origin,
) -> Result<(), TransportError> {
    let name = proxy.name();
    let fail =
        |what: &str| TransportError::new(TransportErrorKind::Proxy, format!("{name} {what}"));
    let Origin { host, port } = origin;
    let mut request = format!("CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n");
    if let Some(authorization) = &proxy.authorization {
        request.push_str("Proxy-Authorization: ");
        request.push_str(authorization.expose());
        request.push_str("\r\n");
    }
    request.push_str("\r\n");
    stream
        .write_all(request.as_bytes())
        .await
        .map_err(|error| fail("closed the connection").with_source(error))?;
    let mut response = Vec::with_capacity(1024);
    loop {
        match parse(&response) {
            ConnectResponse::Incomplete if response.len() > MAX_RESPONSE => {
                return Err(fail("sent a larger response head than allowed"));
            }
            ConnectResponse::Incomplete => {}
            // The server behind the tunnel does not send first. Other responses may have content.
            ConnectResponse::Status(200..300, rest) if rest > 0 => {
                return Err(fail("sent data after its response"));
            }
            ConnectResponse::Status(200..300, _) => return Ok(()),
            ConnectResponse::Status(407, _) if proxy.authorization.is_none() => {
                return Err(fail("requires credentials, and its URL has none"));
            }
            ConnectResponse::Status(407, _) => {
                return Err(fail("rejected the credentials"));
            }
            ConnectResponse::Status(status, _) => {
                return Err(fail(&format!("rejected the tunnel with status {status}")));
            }
            ConnectResponse::NotHttp => return Err(fail("sent a response that is not http/1.1")),
        }
        let read = stream
            .read_buf(&mut response)
            .await
            .map_err(|error| fail("closed the connection").with_source(error))?;
        if read == 0 {
            return Err(fail("closed the connection"));
        }
    }
}

/// The state of a response to CONNECT.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum ConnectResponse {
    /// The head is incomplete.
    Incomplete,
    /// The final status, and the number of bytes after its head.
    Status(u16, usize),
    NotHttp,
}

/// Parses the heads of a response. Interim ones are skipped (RFC 9110, section 15.2); a line may end with LF alone (RFC 9112,
/// section 2.2).
pub(crate) fn parse(mut response: &[u8]) -> ConnectResponse {
    loop {
        let received = response.len().min(VERSION.len());
        if response[..received] != VERSION[..received] {
            return ConnectResponse::NotHttp;
        }
        let Some(end) = head_length(response) else {
            return ConnectResponse::Incomplete;
        };
        match status(response) {
            None => return ConnectResponse::NotHttp,
            // 101 is final: it switches to a protocol that was not requested.
            Some(100 | 102..200) => response = &response[end..],
            Some(status) => return ConnectResponse::Status(status, response.len() - end),
        }
    }
}

/// The length of the first head, including the empty line at its end.
fn head_length(response: &[u8]) -> Option<usize> {
    let mut start = 0;
    loop {
        let length = response[start..].iter().position(|byte| *byte == b'\n')?;
        let line = &response[start..start + length];
        start += length + 1;
        if matches!(line, b"" | b"\r") {
            return Some(start);
        }
    }
}

/// The status of a head, `HTTP/1.x nnn …`.
fn status(head: &[u8]) -> Option<u16> {
    let rest = head.strip_prefix(VERSION)?;
    let (minor, rest) = rest.split_first()?;
    let digits = rest.strip_prefix(b" ")?.get(..3)?;
    let is_separated = matches!(rest.get(4), Some(b' ' | b'\r' | b'\n'));
    let is_valid = minor.is_ascii_digit() && digits.iter().all(u8::is_ascii_digit) && is_separated;
    is_valid
        .then(|| {
            digits
                .iter()
                .fold(0, |status, digit| status * 10 + u16::from(digit - b'0'))
        })
        .filter(|status| *status >= 100)
}

const VERSION: &[u8] = b"HTTP/1.";
/// The maximum size of all heads together, in bytes.
const MAX_RESPONSE: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_responses() {
        use ConnectResponse::{Incomplete, NotHttp, Status};
        for (response, expected) in [
            ("HTTP/1.1 200 OK\r\n\r\n", Status(200, 0)),
            ("HTTP/1.1 200 OK\n\n", Status(200, 0)),
            ("HTTP/1.1 200\nA: b\n\r\nxy", Status(200, 2)),
            ("HTTP/1.0 407\r\n\r\n", Status(407, 0)),
            (
                "HTTP/1.1 403 Forbidden\r\nA: b\r\n\r\n<html>",
                Status(403, 6),
            ),
            ("HTTP/1.1 403 Verboten: \u{fc}\r\n\r\n", Status(403, 0)),
            ("HTTP/1.1 100 Continue\r\n\r\n", Incomplete),
            (
                "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
                Status(200, 0),
            ),
            (
                "HTTP/1.1 103 A\r\nLink: b\r\n\r\nHTTP/1.1 100 B\n\nHTTP/1.1 302 C\r\n\r\n",
                Status(302, 0),
            ),
            ("HTTP/1.1 101 Switching\r\n\r\n", Status(101, 0)),
            ("HTTP/1.1 100 Continue\r\n\r\nSSH", NotHttp),
            ("HTTP/1.1 200 OK\r\n", Incomplete),
            ("HTTP/1.1 200 OK\r\nA: b\r\n", Incomplete),
            ("HTTP/1.", Incomplete),
            ("HT", Incomplete),
            ("", Incomplete),
            ("HTTP/1.1 2000 OK\r\n\r\n", NotHttp),
            ("HTTP/1.1 20\r\n\r\n", NotHttp),
            ("HTTP/1.1 099 x\r\n\r\n", NotHttp),
            ("HTTP/2 200\r\n\r\n", NotHttp),
            ("SSH-2.0-x", NotHttp),
            ("\u{15}\u{3}\u{3}", NotHttp),
            ("\r\nHTTP/1.1 200 OK\r\n\r\n", NotHttp),
        ] {
            assert_eq!(parse(response.as_bytes()), expected, "{response:?}");
        }
    }
}
