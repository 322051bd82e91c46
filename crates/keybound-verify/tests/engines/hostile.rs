//! Requests by which a client that may call an API tries to change who it is, or which policy counts. A proxy either refuses one, or
//! passes it on with the identity, the host, the method and the path that the daemon decided about.
mod requests;

use crate::api::REACHED;
use crate::engine::EngineKind;
use crate::front::Front;
use crate::stall::Stalls;
use crate::support::lines::next;
use crate::support::runtime;
use crate::tls::check_tls;
use http::{HeaderMap, HeaderName, HeaderValue};
use keybound_verify::{ADDRESS_HEADERS, CERTIFICATE_HEADERS, IDENTITY_HEADERS};
use requests::{HTTP_2_REQUESTS, PLAIN, REFUSED, REFUSED_OR_SERVED, SERVED};
use std::net::IpAddr;

/// Sends all of them.
///
/// # Panics
/// With every request that has another effect, if there is one.
pub fn hostile_requests(kind: &'static EngineKind) {
    runtime().block_on(async {
        let mut front = Front::start(kind).await;
        check_tls(&front);
        let stalls = Stalls::default();
        let plain = async || front.send("client", PLAIN).await;
        let plain = stalls.decided(plain, |answer| is_undecided(answer)).await;
        let identity = identity_of(kind, &plain);
        // An application has no scopes.
        let values = identity.iter().filter(|header| !header.ends_with(": "));
        assert_eq!(values.count(), IDENTITY_HEADERS.len() - 1, "{plain}");
        let mut requests = Requests {
            front: &front,
            stalls: &stalls,
            identity,
            sent: 0,
            wrong: Vec::new(),
        };
        requests.send_all().await;
        let wrong = requests.wrong;
        assert!(
            wrong.is_empty(),
            "{}: {} requests are wrong:\n{}",
            kind.name,
            wrong.len(),
            wrong.join("\n")
        );

        assert_eq!(front.api.without_caller(), [""; 0], "{}", kind.name);

        // What the owner of the token got is for no one else, and without a daemon there is no access.
        let stolen = async || front.send("other", PLAIN).await;
        let stolen = stalls.decided(stolen, |answer| is_undecided(answer)).await;
        assert!(stolen.starts_with("HTTP/1.1 401 "), "{stolen}");
        front.stop_daemon().await;
        let undecided = front.send("client", PLAIN).await;
        assert!(undecided.starts_with("HTTP/1.1 50"), "{undecided}");
        assert!(!undecided.contains(REACHED), "{undecided}");
    });
}

struct Requests<'a> {
    front: &'a Front,
    stalls: &'a Stalls,
    /// What the API gets from a client that tries nothing.
    identity: Vec<String>,
    sent: usize,
    wrong: Vec<String>,
}

impl Requests<'_> {
    async fn send_all(&mut self) {
        for request in SERVED {
            self.send_served(request).await;
        }
        for request in REFUSED {
            let answer = self.send(request).await;
            if answer.contains(REACHED) || !is_refusal(&answer) {
                self.wrong.push(format!("{request:?}: {answer}"));
            }
        }
        for request in REFUSED_OR_SERVED {
            self.send(request).await;
        }
        for &name in IDENTITY_HEADERS {
            let head = |name: &str| {
                format!("GET /end HTTP/1.1\r\nHost: @HOST@\r\n{name}: spoofed\r\n\r\n")
            };
            self.send_served(&head(name)).await;
            self.send_served(&head(&name.to_uppercase())).await;
            self.send(&head(&name.replace('-', "_"))).await;
        }
        self.send_all_of(CERTIFICATE_HEADERS).await;
        self.send_all_of(ADDRESS_HEADERS).await;
        if self.front.kind.has_http_2 {
            for (authority, host, trailer) in HTTP_2_REQUESTS {
                self.send_http2(authority, host, trailer).await;
            }
        }
    }

    /// All of these headers at once, in several spellings.
    async fn send_all_of(&mut self, names: &[&str]) {
        let names = names.iter();
        let names: Vec<String> = names.map(|name| format!("{name}: spoofed\r\n")).collect();
        let names = names.concat();
        let head = |names: &str| format!("GET /end HTTP/1.1\r\nHost: @HOST@\r\n{names}\r\n");
        self.send_served(&head(&names)).await;
        for names in ["_", "."].map(|separator| names.replace('-', separator)) {
            self.send(&head(&names)).await;
        }
        let upper_case = names.to_uppercase().replace("SPOOFED", "spoofed");
        self.send_served(&head(&upper_case)).await;
    }

    /// Sends a request that must reach the API.
    async fn send_served(&mut self, request: &str) {
        let answer = self.send(request).await;
        if !answer.contains(REACHED) {
            self.wrong.push(format!("{request:?}: {answer}"));
        }
    }

    /// Adds the token after the first line, and makes the path unique.
    async fn send(&mut self, request: &str) -> String {
        let (line, rest) = request.split_once("\r\n").unwrap();
        let stalls = self.stalls;
        let send = async || {
            let end = self.next_end();
            let line = line.replace("end", &end);
            let complete = format!("{line}\r\nAuthorization: @AUTHORIZATION@\r\n{rest}");
            (end, self.front.send("client", &complete).await)
        };
        let (end, answer) = stalls
            .decided(send, |(_, answer)| is_undecided(answer))
            .await;
        self.check(&format!("{request:?}"), &answer, &end);
        answer
    }

    async fn send_http2(&mut self, authority: &str, host: &str, trailer: &str) {
        let end = self.next_end();
        let mut headers = HeaderMap::new();
        if !host.is_empty() {
            headers.insert("host", self.front.fill(host).parse().unwrap());
        }
        let mut trailers = HeaderMap::new();
        if !trailer.is_empty() {
            let name = HeaderName::try_from(trailer).unwrap();
            trailers.insert(name, HeaderValue::from_static("spoofed"));
        }
        let url = format!("https://{authority}/{end}");
        let answer = self.front.send_http2(&url, headers, trailers).await;
        let name = format!("HTTP/2 for {authority:?}, {host:?}, trailer {trailer:?}");
        self.check(&name, &answer, &end);
    }

    fn next_end(&mut self) -> String {
        self.sent += 1;
        format!("end{}", self.sent)
    }

    fn check(&mut self, request: &str, answer: &str, end: &str) {
        if let Some(fault) = self.fault(answer, end) {
            self.wrong.push(format!("{request}: {fault}"));
        }
    }

    /// What the API got that the daemon did not decide about.
    fn fault(&self, answer: &str, end: &str) -> Option<String> {
        let mut lines = answer.lines().skip_while(|line| *line != REACHED).skip(1);
        let (method, target) = lines.next()?.split_once(' ').unwrap();
        let identity = identity_of(self.front.kind, answer);
        if identity != self.identity {
            return Some(format!("the identity is {identity:?}"));
        }
        let headers: Vec<(&str, &str)> = lines.filter_map(|line| line.split_once(": ")).collect();
        let host = &*self.front.host;
        for (name, expected) in [
            ("host", host),
            ("x-forwarded-host", host),
            ("x-forwarded-proto", "https"),
        ] {
            let found: Vec<_> = headers.iter().filter(|header| header.0 == name).collect();
            if found != [&(name, expected)] {
                return Some(format!("instead of {expected} the API gets {found:?}"));
            }
        }
        let addresses = headers
            .iter()
            .filter(|(name, _)| *name == "x-forwarded-for");
        let addresses: Vec<_> = addresses.map(|(_, value)| value.parse()).collect();
        if !matches!(addresses[..], [Ok(IpAddr::V4(address))] if address.is_loopback()) {
            return Some(format!("the client's addresses are {addresses:?}"));
        }
        if let Some((name, value)) = headers.iter().find(|header| self.is_forbidden(header)) {
            return Some(format!("the API gets {name}: {value}"));
        }
        let path = target.split('?').next().unwrap();
        let (got, logged) = ([method, path, "allowed"], self.decision(end));
        (logged != got).then(|| format!("the API gets {got:?}, the log says {logged:?}"))
    }

    fn is_forbidden(&self, (name, value): &(&str, &str)) -> bool {
        ["authorization", "upgrade", "forwarded"].contains(name)
            || (*name == "connection" && value.to_ascii_lowercase().contains("keybound"))
            || value.contains(&self.front.other)
            || names_certificate(name)
            || (*value == "spoofed" && !name.starts_with("trailer "))
    }

    /// That about the request with this in its path, or with none. Earlier ones were refused.
    fn decision(&self, end: &str) -> [String; 3] {
        loop {
            let line = next(&self.front.log);
            let path = line["path"].as_str().unwrap();
            if path.contains(end) || path == "*" {
                return ["method", "path", "decision"]
                    .map(|key| line[key].as_str().unwrap().to_owned());
            }
        }
    }
}

/// Whether the proxy answered without the daemon.
fn is_undecided(answer: &str) -> bool {
    answer.starts_with("HTTP/1.1 5")
}

/// Whether the proxy, or the daemon, does not accept the request.
fn is_refusal(answer: &str) -> bool {
    // Of a method that Traefik does not know.
    answer.starts_with("HTTP/1.1 4") || answer.starts_with("HTTP/1.1 501 ")
}

/// Those of the client and those of the proxy.
fn names_certificate(name: &str) -> bool {
    let letters: String = name.chars().filter(char::is_ascii_alphanumeric).collect();
    let parts = ["clientcert", "sslclient", "amznmtls"];
    parts.iter().any(|part| letters.contains(part))
}

/// What the API gets that names the caller, whatever the spelling.
fn identity_of(kind: &EngineKind, answer: &str) -> Vec<String> {
    let names_caller = |line: &&str| {
        let name = line.split(": ").next().unwrap();
        name.contains("keybound") && (kind.drops_trailers || !name.starts_with("trailer "))
    };
    let mut identity: Vec<String> = answer
        .lines()
        .filter(names_caller)
        .map(str::to_owned)
        .collect();
    identity.sort();
    identity
}
