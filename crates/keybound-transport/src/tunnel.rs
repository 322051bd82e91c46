//! A tunnel through an HTTP proxy (RFC 9110, section 9.3.6).
use crate::proxy::Proxy;
use crate::target::Target;
use crate::{TransportError, TransportErrorKind};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

/// Asks the proxy on this stream for a tunnel to the target.
///
/// # Errors
/// [`Proxy`](TransportErrorKind::Proxy) names the proxy and what it did.
pub(crate) async fn open(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    proxy: &Proxy,
    target: &Target,
) -> Result<(), TransportError> {
    let name = proxy.name();
    let fail =
        |what: &str| TransportError::new(TransportErrorKind::Proxy, format!("{name} {what}"));
    let Target { host, port } = target;
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
    let mut answer = Vec::with_capacity(1024);
    loop {
        match read(&answer) {
            Read::More if answer.len() > MAX_ANSWER => {
                return Err(fail("answered with a longer head than allowed"));
            }
            Read::More => {}
            // The server's side of the tunnel does not speak first. Every other answer may have content.
            Read::Status(200..300, rest) if rest > 0 => {
                return Err(fail("sent more than its answer"));
            }
            Read::Status(200..300, _) => return Ok(()),
            Read::Status(407, _) if proxy.authorization.is_none() => {
                return Err(fail("wants credentials, and its URL holds none"));
            }
            Read::Status(407, _) => {
                return Err(fail("wants other credentials than it was given"));
            }
            Read::Status(status, _) => {
                return Err(fail(&format!("refused the tunnel with status {status}")));
            }
            Read::NoHttp => return Err(fail("did not answer in the way of http/1.1")),
        }
        let read = stream
            .read_buf(&mut answer)
            .await
            .map_err(|error| fail("closed the connection").with_source(error))?;
        if read == 0 {
            return Err(fail("closed the connection"));
        }
    }
}

/// The state of a response.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Read {
    /// Its head is incomplete.
    More,
    /// The final status, and how many bytes follow its head.
    Status(u16, usize),
    NoHttp,
}

/// Reads the heads of an answer. Interim ones are passed over (RFC 9110, section 15.2); a line may end with LF alone (RFC
/// 9112, section 2.2).
pub(crate) fn read(mut answer: &[u8]) -> Read {
    loop {
        let known = answer.len().min(VERSION.len());
        if answer[..known] != VERSION[..known] {
            return Read::NoHttp;
        }
        let Some(end) = head_length(answer) else {
            return Read::More;
        };
        match status(answer) {
            None => return Read::NoHttp,
            // 101 is final: it changes the protocol, which was not requested.
            Some(100 | 102..200) => answer = &answer[end..],
            Some(status) => return Read::Status(status, answer.len() - end),
        }
    }
}

/// The length of a head with the empty line that ends it.
fn head_length(answer: &[u8]) -> Option<usize> {
    let mut start = 0;
    loop {
        let length = answer[start..].iter().position(|byte| *byte == b'\n')?;
        let line = &answer[start..start + length];
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
    let ended = matches!(rest.get(4), Some(b' ' | b'\r' | b'\n'));
    let fits = minor.is_ascii_digit() && digits.iter().all(u8::is_ascii_digit) && ended;
    fits.then(|| {
        digits
            .iter()
            .fold(0, |status, digit| status * 10 + u16::from(digit - b'0'))
    })
    .filter(|status| *status >= 100)
}

const VERSION: &[u8] = b"HTTP/1.";
/// Of all heads together, in bytes.
const MAX_ANSWER: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers() {
        use Read::{More, NoHttp, Status};
        for (answer, expected) in [
            ("HTTP/1.1 200 OK\r\n\r\n", Status(200, 0)),
            ("HTTP/1.1 200 OK\n\n", Status(200, 0)),
            ("HTTP/1.1 200\nA: b\n\r\nxy", Status(200, 2)),
            ("HTTP/1.0 407\r\n\r\n", Status(407, 0)),
            (
                "HTTP/1.1 403 Forbidden\r\nA: b\r\n\r\n<html>",
                Status(403, 6),
            ),
            ("HTTP/1.1 403 Verboten: \u{fc}\r\n\r\n", Status(403, 0)),
            ("HTTP/1.1 100 Continue\r\n\r\n", More),
            (
                "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
                Status(200, 0),
            ),
            (
                "HTTP/1.1 103 A\r\nLink: b\r\n\r\nHTTP/1.1 100 B\n\nHTTP/1.1 302 C\r\n\r\n",
                Status(302, 0),
            ),
            ("HTTP/1.1 101 Switching\r\n\r\n", Status(101, 0)),
            ("HTTP/1.1 100 Continue\r\n\r\nSSH", NoHttp),
            ("HTTP/1.1 200 OK\r\n", More),
            ("HTTP/1.1 200 OK\r\nA: b\r\n", More),
            ("HTTP/1.", More),
            ("HT", More),
            ("", More),
            ("HTTP/1.1 2000 OK\r\n\r\n", NoHttp),
            ("HTTP/1.1 20\r\n\r\n", NoHttp),
            ("HTTP/1.1 099 x\r\n\r\n", NoHttp),
            ("HTTP/2 200\r\n\r\n", NoHttp),
            ("SSH-2.0-x", NoHttp),
            ("\u{15}\u{3}\u{3}", NoHttp),
            ("\r\nHTTP/1.1 200 OK\r\n\r\n", NoHttp),
        ] {
            assert_eq!(read(answer.as_bytes()), expected, "{answer:?}");
        }
    }
}
