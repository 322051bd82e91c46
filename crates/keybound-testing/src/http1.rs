//! The HTTP/1.1 of test servers.
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

/// A received request.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ReceivedRequest {
    /// The request line and the header fields, with the empty line after them.
    pub head: String,
    /// The length of the body.
    pub body: usize,
}

impl ReceivedRequest {
    /// The method.
    pub fn method(&self) -> &str {
        self.head.split(' ').next().unwrap()
    }

    /// The path, or what else the request line contains as the target.
    pub fn path(&self) -> &str {
        self.head.split(' ').nth(1).unwrap()
    }

    /// The value of a header field.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

/// Reads one request and its body; `None` where the connection is closed.
pub async fn read_request<S: AsyncRead + Unpin>(stream: &mut S) -> Option<ReceivedRequest> {
    let mut received = ReceivedRequest {
        head: read_head(stream).await?,
        body: 0,
    };
    if let Some(length) = received.header("content-length") {
        let mut body = vec![0; length.parse().unwrap()];
        stream.read_exact(&mut body).await.ok()?;
        received.body = body.len();
    } else if received.header("transfer-encoding") == Some("chunked") {
        received.body = receive_chunks(stream).await?;
    }
    Some(received)
}

/// Reads the head of a request, with the empty line at its end, and nothing after it; `None` where the connection is closed.
pub async fn read_head<S: AsyncRead + Unpin>(stream: &mut S) -> Option<String> {
    let mut head = vec![];
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    Some(String::from_utf8(head).unwrap())
}

async fn receive_chunks<S: AsyncRead + Unpin>(stream: &mut S) -> Option<usize> {
    let mut total = 0;
    loop {
        let mut line = vec![];
        while !line.ends_with(b"\r\n") {
            line.push(stream.read_u8().await.ok()?);
        }
        let line = String::from_utf8(line).unwrap();
        let length = usize::from_str_radix(line.trim_end(), 16).unwrap();
        stream.read_exact(&mut vec![0; length + 2]).await.ok()?;
        total += length;
        if length == 0 {
            return Some(total);
        }
    }
}

/// Writes a response with `Content-Length`; `None` where the connection is closed.
pub async fn write_response<S: AsyncWrite + Unpin>(
    stream: &mut S,
    status: &str,
    body: &str,
) -> Option<()> {
    let length = body.len();
    let response = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n\r\n{body}");
    stream.write_all(response.as_bytes()).await.ok()?;
    stream.flush().await.ok()
}
