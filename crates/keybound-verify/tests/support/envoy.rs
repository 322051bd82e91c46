//! Envoy as a client of the daemon.
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body::Body;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use keybound_verify::messages::{CheckRequest, CheckResponse};
use prost::Message as _;
use std::convert::Infallible;
use std::path::Path;
use tokio::net::UnixStream;
use tokio::task::JoinHandle;

/// A client of gRPC, and the result of its connection.
pub async fn connect_http2<B>(socket: &Path) -> (SendRequest<B>, JoinHandle<hyper::Result<()>>)
where
    B: Body<Data = Bytes, Error = Infallible> + Send + Unpin + 'static,
{
    let stream = TokioIo::new(UnixStream::connect(socket).await.unwrap());
    let connected = http2::handshake(TokioExecutor::new(), stream).await;
    let (sender, connection) = connected.unwrap();
    (sender, tokio::spawn(connection))
}

/// A call with one message.
pub fn check(message: &CheckRequest) -> Request<Full<Bytes>> {
    let message = message.encode_to_vec();
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    // Not compressed.
    call(Full::from([&[0][..], &length, &message].concat()))
}

/// A call with any body.
pub fn call<B>(body: B) -> Request<B> {
    Request::post("http://keybound/envoy.service.auth.v3.Authorization/Check")
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(body)
        .unwrap()
}

pub async fn answer(response: Response<Incoming>) -> CheckResponse {
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["content-type"], "application/grpc");
    let collected = response.into_body().collect().await.unwrap();
    let trailers = collected.trailers().unwrap();
    assert_eq!(trailers["grpc-status"], "0");
    let body = collected.to_bytes();
    assert_eq!(body[0], 0, "not compressed");
    CheckResponse::decode(&body[5..]).unwrap()
}
