use std::fmt;
use std::net::{Ipv6Addr, SocketAddr};
use std::str::FromStr;

/// Where something listens: the name of a host or an address, and a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPort {
    host: String,
    port: u16,
}

impl HostPort {
    /// The name, or the address without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Not 0.
    pub fn port(&self) -> u16 {
        self.port
    }
}

/// The text is not `HOST:PORT`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected HOST:PORT without a scheme or path, such as 127.0.0.1:8080, [::1]:8080 or orders.internal:8080"
)]
#[non_exhaustive]
pub struct HostPortError;

impl FromStr for HostPort {
    type Err = HostPortError;

    fn from_str(text: &str) -> Result<Self, HostPortError> {
        let (host, port) = text.rsplit_once(':').ok_or(HostPortError)?;
        let port = port.parse().ok().filter(|port| *port != 0);
        let host = match host.strip_prefix('[').map(|rest| rest.strip_suffix(']')) {
            Some(address) => address.filter(|text| text.parse::<Ipv6Addr>().is_ok()),
            None => Some(host).filter(|name| is_name(name)),
        };
        match (host, port) {
            (Some(host), Some(port)) => Ok(Self {
                host: host.to_owned(),
                port,
            }),
            _ => Err(HostPortError),
        }
    }
}

/// Names of containers have underscores.
fn is_name(name: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    !name.is_empty() && name.len() <= MAX_NAME && name.bytes().all(is_plain)
}

impl From<SocketAddr> for HostPort {
    fn from(address: SocketAddr) -> Self {
        Self {
            host: address.ip().to_string(),
            port: address.port(),
        }
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        match host.contains(':') {
            true => write!(f, "[{host}]:{port}"),
            false => write!(f, "{host}:{port}"),
        }
    }
}

const MAX_NAME: usize = 253;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_and_a_port_are_required() {
        for text in [
            "127.0.0.1:8080",
            "[::1]:8080",
            "api_1:80",
            "Orders.internal:65535",
        ] {
            let parsed = text.parse::<HostPort>().unwrap();
            assert_eq!(parsed.to_string(), text);
        }
        let address: SocketAddr = "[::1]:2".parse().unwrap();
        assert_eq!(HostPort::from(address).to_string(), "[::1]:2");
        for text in [
            "",
            "localhost",
            "localhost:",
            "localhost:0",
            "localhost:65536",
            "localhost:x",
            ":8080",
            "::1",
            "::1:8080",
            "[::1]",
            "[localhost]:1",
            "[::1:8080",
            "http://localhost:8080",
            "localhost:8080/",
            "a b:1",
            "user@host:1",
            "unix:/run/api.sock",
        ] {
            assert_eq!(text.parse::<HostPort>(), Err(HostPortError), "{text}");
        }
    }
}
