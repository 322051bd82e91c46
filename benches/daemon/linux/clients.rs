//! What a proxy sends.
use super::unchecked::Answer;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::{http1, http2};
use hyper::{Request, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use keybound_benches::setting::Setting;
use keybound_testing::attacks::TokenRecipe;
use keybound_verify::messages::{
    AttributeContext, CheckRequest, CheckResponse, HeaderMap, HeaderValue, HttpRequest,
    HttpResponse, Peer, Request as EnvoyRequest,
};
use prost::Message as _;
use std::path::Path;
use tokio::net::UnixStream;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

/// The request for a valid token.
#[derive(Clone)]
pub struct Requests {
    authorization: String,
    certificate: String,
    message: Bytes,
    is_grpc: bool,
}

impl Requests {
    pub fn new(setting: &Setting, engine: &str) -> Self {
        let recipe: TokenRecipe = serde_json::from_str("{}").unwrap();
        let authorization = format!("mtls_pop {}", recipe.make(&setting.issuer));
        let certificates = &setting.issuer.certificates;
        let certificate = certificates.url_encoded_pem(&certificates.der("client").unwrap());
        let message = message(&authorization, &certificate).encode_to_vec();
        let length = u32::try_from(message.len()).unwrap().to_be_bytes();
        Self {
            message: [&[0][..], &length, &message].concat().into(),
            authorization,
            certificate,
            is_grpc: engine == "envoy",
        }
    }

    pub fn engine(&self) -> &'static str {
        if self.is_grpc { "envoy" } else { "nginx" }
    }

    fn next(&self) -> Request<Full<Bytes>> {
        if self.is_grpc {
            return Request::post("http://keybound/envoy.service.auth.v3.Authorization/Check")
                .header("content-type", "application/grpc")
                .header("te", "trailers")
                .body(Full::from(self.message.clone()))
                .unwrap();
        }
        Request::get("/_keybound_verify")
            .header("host", "keybound")
            .header("authorization", &self.authorization)
            .header("x-ssl-client-cert", &self.certificate)
            .header("x-forwarded-host", "orders.contoso.com")
            .header("x-forwarded-method", "GET")
            .header("x-forwarded-uri", "/orders")
            .body(Full::default())
            .unwrap()
    }
}

fn message(authorization: &str, certificate: &str) -> CheckRequest {
    let header = HeaderValue {
        key: "authorization".into(),
        value: Bytes::new(),
        raw_value: authorization.to_owned().into(),
    };
    let http = HttpRequest {
        method: "GET".into(),
        path: "/orders".into(),
        host: "orders.contoso.com".into(),
        header_map: Some(HeaderMap {
            headers: vec![header],
        }),
        ..HttpRequest::default()
    };
    CheckRequest {
        attributes: Some(AttributeContext {
            source: Some(Peer {
                certificate: certificate.to_owned().into(),
            }),
            request: Some(EnvoyRequest { http: Some(http) }),
        }),
    }
}

/// Connections to a server, on which requests are sent at the same time.
pub struct Client {
    runtime: Runtime,
    requests: Requests,
    connections: Vec<Connection>,
}

enum Connection {
    Http1(http1::SendRequest<Full<Bytes>>),
    Http2(http2::SendRequest<Full<Bytes>>),
}

impl Client {
    pub fn new(socket: &Path, requests: &Requests, connections: usize) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let connections = runtime.block_on(async {
            let mut opened = Vec::new();
            for _ in 0..connections {
                let stream = UnixStream::connect(socket).await.unwrap();
                let stream = TokioIo::new(stream);
                opened.push(if requests.is_grpc {
                    let executor = TokioExecutor::new();
                    let (sender, connection) = http2::handshake(executor, stream).await.unwrap();
                    tokio::spawn(connection);
                    Connection::Http2(sender)
                } else {
                    let (sender, connection) = http1::handshake(stream).await.unwrap();
                    tokio::spawn(connection);
                    Connection::Http1(sender)
                });
            }
            opened
        });
        Self {
            runtime,
            requests: requests.clone(),
            connections,
        }
    }

    /// The answer to one request.
    pub fn answer(&mut self) -> Answer {
        let request = self.requests.next();
        self.runtime.block_on(self.connections[0].send(request))
    }

    /// Sends requests, and waits for all answers.
    pub fn send(&mut self, count: usize) {
        let each = count / self.connections.len();
        let mut sending = JoinSet::new();
        let guard = self.runtime.enter();
        for mut connection in self.connections.drain(..) {
            let requests = self.requests.clone();
            sending.spawn(async move {
                for _ in 0..each {
                    connection.send(requests.next()).await;
                }
                connection
            });
        }
        drop(guard);
        self.connections = self.runtime.block_on(sending.join_all());
    }
}

impl Connection {
    /// The answer, which allows the request.
    async fn send(&mut self, request: Request<Full<Bytes>>) -> Answer {
        let response = match self {
            Self::Http1(sender) => {
                sender.ready().await.unwrap();
                sender.send_request(request).await
            }
            Self::Http2(sender) => {
                sender.ready().await.unwrap();
                sender.send_request(request).await
            }
        };
        let response = response.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        if !body.is_empty() {
            let answer = CheckResponse::decode(&body[5..]).unwrap();
            assert!(matches!(answer.http_response, Some(HttpResponse::Ok(_))));
        }
        Answer::new(parts.headers, body)
    }
}
