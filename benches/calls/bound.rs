//! Keybound: a bound token, and the clients that send it.
use crate::server::Site;
use keybound::http::{BoundClient, Request, RequestBody, ResourceClient, Uri};
use keybound::tls::TrustAnchors;
use keybound::{AccessToken, TokenRequest};
use keybound_benches::test_host::{client, unattested};
use keybound_testing::TestKey;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use tokio::task::JoinSet;

pub struct Bound {
    token: AccessToken,
    client: BoundClient,
    resource: ResourceClient,
    key: Arc<TestKey>,
    /// Signatures before the resource was called.
    signatures: usize,
    /// Parsed once, as bare hyper's host and path are.
    url: Uri,
    /// The same, for the client that takes text.
    text: String,
    callers: usize,
}

impl Bound {
    /// Acquires a bound token with this IMDS.
    pub async fn prepare(site: &Site, imds: &str, trust: &TrustAnchors, callers: usize) -> Self {
        let key = Arc::new(TestKey::new());
        let client = client(imds, trust, Arc::clone(&key) as _);
        let request = TokenRequest::pop(RESOURCE, unattested());
        let token = client.acquire_token(&request).await;
        let token = token.expect("a token");
        Self {
            client: token.bound_client().expect("a bound token"),
            resource: client
                .resource(RESOURCE, unattested())
                .build()
                .expect("a client"),
            token,
            signatures: key.signatures(),
            key,
            text: site.url(),
            url: site.url().parse().expect("a URL"),
            callers,
        }
    }

    /// The value of `Authorization`, which all clients send.
    pub fn authorization(&self) -> String {
        self.token.authorization().expose().to_owned()
    }

    /// Sends this number of GET requests per caller.
    pub async fn get(&self, each: usize) {
        if self.callers == 1 {
            return get(&self.client, &self.token, &self.url, each).await;
        }
        let mut callers = JoinSet::new();
        for _ in 0..self.callers {
            let (client, token, url) = (self.client.clone(), self.token.clone(), self.url.clone());
            callers.spawn(async move { get(&client, &token, &url, each).await });
        }
        callers.join_all().await;
    }

    /// Sends this number of GET requests with the client that takes the token from the cache for each of them.
    pub async fn get_by_resource_client(&self, count: usize) {
        for _ in 0..count {
            let response = self
                .resource
                .get(&self.text)
                .send()
                .await
                .expect("a response");
            assert_eq!(response.status(), 200);
            response.bytes_limited(64 * 1024).await.expect("a body");
        }
    }

    /// Counts the handshakes, after the measurements.
    pub async fn handshakes(&self) -> Handshakes {
        let mut requests = BTreeMap::new();
        // Concurrently, as before: each request is sent on one of the idle connections.
        let mut callers = JoinSet::new();
        for _ in 0..self.callers {
            let (client, token, url) = (self.client.clone(), self.token.clone(), self.url.clone());
            callers.spawn(async move { fetch(&client, &token, &url).await });
        }
        for body in callers.join_all().await {
            let body: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
            let number = |name: &str| body[name].as_u64().expect("a number");
            requests.insert(number("connection"), number("request"));
        }
        Handshakes {
            callers: self.callers,
            signatures: self.key.signatures() - self.signatures,
            requests: requests.into_values().collect(),
        }
    }
}

async fn get(client: &BoundClient, token: &AccessToken, url: &Uri, count: usize) {
    for _ in 0..count {
        fetch(client, token, url).await;
    }
}

async fn fetch(client: &BoundClient, token: &AccessToken, url: &Uri) -> bytes::Bytes {
    let request = Request::get(url.clone())
        .body(RequestBody::empty())
        .expect("a request");
    let response = client.send(token, request).await.expect("a response");
    assert_eq!(response.status(), 200);
    response.bytes_limited(64 * 1024).await.expect("a body")
}

/// The number of signatures for the resource, and the numbers of requests on its connections.
pub struct Handshakes {
    callers: usize,
    signatures: usize,
    requests: Vec<u64>,
}

impl Handshakes {
    /// Whether there was one handshake per connection, and no more connections than callers.
    pub fn holds(&self) -> bool {
        self.requests.len() <= self.signatures && self.signatures <= self.callers
    }
}

impl fmt::Display for Handshakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:34} {}, bound {}: {}; {} requests on the last connections",
            "(handshakes with the resource)",
            self.signatures,
            self.callers,
            if self.holds() { "within" } else { "EXCEEDED" },
            self.requests.iter().sum::<u64>(),
        )
    }
}

const RESOURCE: &str = "https://vault.azure.net";
