//! Uploads of bodies that the calling thread reads.
use super::worker::Worker;
use crate::http::{RequestBuilder, Response};
use bytes::Bytes;
use http_body::{Body, Frame};
use keybound_core::{Result, Stage};
use std::io::{self, Read};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::sync::mpsc;

/// Sends a request whose body this thread reads, one chunk ahead of the connection. Reading stops early when the connection does
/// not accept more.
pub(super) fn upload(
    worker: &Worker,
    request: RequestBuilder,
    mut reader: Box<dyn Read>,
) -> Result<Response> {
    let (sender, receiver) = mpsc::channel(1);
    let wait_for_response =
        worker.start(Stage::Resource, request.stream(UploadBody(receiver)).send())?;
    loop {
        let mut chunk = vec![0; CHUNK];
        let next = match reader.read(&mut chunk) {
            Ok(length) => {
                chunk.truncate(length);
                Ok(Bytes::from(chunk))
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => Err(error),
        };
        let is_last = next.as_ref().map_or(true, Bytes::is_empty);
        let sender = sender.clone();
        let sent = worker.run(Stage::Resource, async move {
            Ok(sender.send(next).await.is_ok())
        });
        if is_last || !matches!(sent, Ok(true)) {
            break;
        }
    }
    drop(sender);
    wait_for_response()
}

/// A body whose chunks arrive through a channel. Only an empty chunk is its end: if the sender is dropped before, the body is
/// incomplete and fails.
struct UploadBody(mpsc::Receiver<io::Result<Bytes>>);

impl Body for UploadBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        Poll::Ready(match ready!(self.0.poll_recv(cx)) {
            Some(Ok(chunk)) if chunk.is_empty() => None,
            Some(chunk) => Some(chunk.map(Frame::data)),
            None => Some(Err(io::Error::other("the body was not read to its end"))),
        })
    }
}

/// In bytes.
const CHUNK: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt as _;

    #[tokio::test]
    async fn fails_if_the_body_has_no_end() {
        for has_end in [true, false] {
            let (sender, receiver) = mpsc::channel(1);
            let reader = async move {
                let half = Bytes::from_static(b"half");
                assert!(sender.send(Ok(half)).await.is_ok());
                if has_end {
                    assert!(sender.send(Ok(Bytes::new())).await.is_ok());
                }
            };
            let (body, ()) = tokio::join!(UploadBody(receiver).collect(), reader);
            assert_eq!(body.is_ok(), has_end);
        }
    }
}
