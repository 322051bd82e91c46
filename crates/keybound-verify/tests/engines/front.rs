use crate::api::Api;
use crate::client::{HTTP_1, HTTP_2, handshake};
use crate::engine::{Engine, EngineKind};
use crate::support::lines::Lines;
use crate::support::{Table, host_of};
use crate::table::{shared_table, start_daemon};
use bytes::Bytes;
use http::{HeaderMap, Request};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use keybound_testing::Leaf;
use keybound_testing::attacks::{TokenRecipe, cases};
use keybound_verify::{Daemon, DecisionLog, LoggedDecisions};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// A proxy with the daemon and an API, and a client that may call the API.
pub struct Front {
    pub kind: &'static EngineKind,
    /// The host of the API.
    pub host: String,
    /// The host of an API that refuses the client.
    pub other: String,
    /// The decisions of the daemon.
    pub log: Receiver<String>,
    pub engine: Engine,
    pub api: Api,
    table: Table,
    authorization: String,
    daemon: Option<Daemon>,
}

impl Front {
    pub async fn start(kind: &'static EngineKind) -> Self {
        let table = shared_table();
        let (lines, log) = channel();
        let log_of_all = DecisionLog::new(LoggedDecisions::All, Lines(lines)).unwrap();
        let (daemon, config) = start_daemon(kind, &table, log_of_all).await;
        let api = Api::start().await;
        let engine = Engine::start(kind, table.folder(), &config, api.address);
        let token = TokenRecipe::default().make(&table.issuer);
        let host = |case: &str| {
            let case = cases().into_iter().find(|found| found.name == case);
            host_of(&case.unwrap())
        };
        Self {
            kind,
            host: host("version-2"),
            other: host("client-not-allowed"),
            log,
            engine,
            api,
            table,
            authorization: format!("mtls_pop {token}"),
            daemon: Some(daemon),
        }
    }

    /// The certificate of the client, or another one.
    pub fn leaf(&self, name: &str) -> &Leaf {
        self.table.issuer.certificates.leaf(name)
    }

    /// Replaces the names of hosts, and the token.
    pub fn fill(&self, text: &str) -> String {
        text.replace("@AUTHORIZATION@", &self.authorization)
            .replace("@HOST@", &self.host)
            .replace("@OTHER@", &self.other)
    }

    /// Sends a request as it is on a new connection; all that the proxy answers.
    pub async fn send(&self, leaf: &str, request: &str) -> String {
        let leaf = Some(self.leaf(leaf));
        let connected = handshake(self.engine.address, &self.host, leaf, HTTP_1).await;
        let mut stream = connected.unwrap();
        // A proxy may refuse what it has read so far, and end the connection.
        let _ = stream.write_all(self.fill(request).as_bytes()).await;
        let mut answer = Vec::new();
        while !is_complete(&answer)
            && stream
                .read_buf(&mut answer)
                .await
                .is_ok_and(|read| read > 0)
        {}
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// Sends a request over HTTP/2; the body of the response, or why there is none.
    pub async fn send_http2(
        &self,
        url: &str,
        mut headers: HeaderMap,
        trailers: HeaderMap,
    ) -> String {
        let leaf = Some(self.leaf("client"));
        let connected = handshake(self.engine.address, &self.host, leaf, HTTP_2).await;
        let io = TokioIo::new(connected.unwrap());
        let (mut sender, connection) = http2::handshake(TokioExecutor::new(), io).await.unwrap();
        tokio::spawn(connection);
        let body = Full::new(Bytes::from_static(b"body"));
        let body = body.with_trailers(std::future::ready(Some(Ok(trailers))));
        headers.insert("authorization", self.authorization.parse().unwrap());
        let mut request = Request::post(self.fill(url)).body(body).unwrap();
        *request.headers_mut() = headers;
        let response = match sender.send_request(request).await {
            Ok(response) => response.into_body().collect().await,
            Err(error) => Err(error),
        };
        response.map_or_else(
            |error| error.to_string(),
            |body| String::from_utf8_lossy(&body.to_bytes()).into_owned(),
        )
    }

    pub async fn stop_daemon(&mut self) {
        if let Some(daemon) = self.daemon.take() {
            daemon.stop(Duration::ZERO).await;
        }
    }
}

/// Whether a response was read, without those of status 1xx before it.
fn is_complete(answer: &[u8]) -> bool {
    let text = String::from_utf8_lossy(answer);
    let Some((head, body)) = text.split_once("\r\n\r\n") else {
        return false;
    };
    if head.starts_with("HTTP/1.1 1") {
        return is_complete(body.as_bytes());
    }
    let head = head.to_ascii_lowercase();
    if let Some((_, rest)) = head.split_once("\r\ncontent-length:") {
        let length = rest.lines().next().unwrap().trim();
        return body.len() >= length.parse().unwrap();
    }
    head.contains("transfer-encoding: chunked") && body.ends_with("0\r\n\r\n")
}
