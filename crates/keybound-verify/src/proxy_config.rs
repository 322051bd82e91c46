//! Configurations of proxies with which they ask the daemon soundly.
mod template;

use crate::check::IDENTITY_HEADERS;
use crate::{ApiConfig, Config, ConfigError, Engine};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use template::Template;

/// What a proxy needs besides the configuration of the daemon.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct FrontEnd {
    /// The address on which the proxy accepts clients.
    pub listen: SocketAddr,
    /// The certificate chain of the API, a PEM file.
    pub certificate: PathBuf,
    /// Its key, a PEM file.
    pub key: PathBuf,
    /// Where the API listens, `host:port`.
    pub upstream: String,
    /// Where the [script](proxy_script) of Apache or HAProxy is.
    pub script: PathBuf,
}

impl FrontEnd {
    /// A proxy on port 443 of all addresses.
    pub fn new(certificate: &Path, key: &Path, upstream: &str) -> Self {
        Self {
            listen: SocketAddr::from(([0, 0, 0, 0], 443)),
            certificate: certificate.to_owned(),
            key: key.to_owned(),
            upstream: upstream.to_owned(),
            script: PathBuf::from("/etc/keybound/verify.lua"),
        }
    }
}

/// The configuration of the proxy that the daemon's configuration names.
///
/// # Errors
/// If a value has characters that such a configuration cannot have, or the proxy is to connect by TLS, which is not printed.
pub fn proxy_config(config: &Config, front: &FrontEnd) -> Result<String, ConfigError> {
    let socket = Socket::new(config)?;
    let text = match config.proxy.engine {
        Engine::Envoy | Engine::EnvoyHttp => envoy(config, front, &socket),
        Engine::Nginx => nginx(config, front, &socket),
        Engine::Apache => apache(config, front),
        Engine::Haproxy => haproxy(config, front, &socket),
        Engine::Traefik => traefik(config, front, &socket)?,
        Engine::Caddy => caddy(config, front, &socket),
    };
    text.finish()
}

/// The script of Apache or HAProxy by which it asks the daemon.
///
/// # Errors
/// If the proxy needs none, or as [`proxy_config`].
pub fn proxy_script(config: &Config) -> Result<String, ConfigError> {
    let socket = Socket::new(config)?;
    match config.proxy.engine {
        Engine::Haproxy => Template::new(include_str!("proxy_config/haproxy.lua")),
        Engine::Apache => Template::new(include_str!("proxy_config/apache.lua"))
            .part("CONNECT", apache_connect(&socket)),
        other => return Err(ConfigError::new(format!("{other} needs no script"))),
    }
    .finish()
}

/// Where the daemon listens.
enum Socket {
    Unix(String),
    Tcp(SocketAddr),
}

impl Socket {
    fn new(config: &Config) -> Result<Self, ConfigError> {
        match (&config.listen.unix, config.listen.tcp, &config.listen.tls) {
            (_, _, Some(_)) => Err(ConfigError::new(
                "a configuration for a daemon with TLS is not printed: print that for a socket, and add TLS to it",
            )),
            (Some(path), ..) => Ok(Self::Unix(path.display().to_string())),
            (_, Some(address), _) => Ok(Self::Tcp(address)),
            (None, None, None) => Err(ConfigError::new("[listen]: expected either unix or tcp")),
        }
    }
}

fn nginx(config: &Config, front: &FrontEnd, socket: &Socket) -> Template {
    let listen = front.listen.to_string();
    let server = match socket {
        Socket::Unix(path) => format!("unix:{path}"),
        Socket::Tcp(address) => address.to_string(),
    };
    let variable = |header: &str| header.replace('-', "_");
    let read = IDENTITY_HEADERS.map(|header| {
        let name = variable(header);
        let name = name.trim_start_matches("x_");
        format!("        auth_request_set ${name} $upstream_http_x_{name};\n")
    });
    let send = IDENTITY_HEADERS.map(|header| {
        let name = variable(header);
        let name = name.trim_start_matches("x_");
        format!("        proxy_set_header {header} ${name};\n")
    });
    let (read, send) = (read.concat(), send.concat());
    let apis = config.apis.iter().map(|api| {
        Template::new(include_str!("proxy_config/nginx_api.conf"))
            .part("READ", Template::new(&read))
            .part("SEND", Template::new(&send))
            .part("HEADERS", Template::new(NGINX_HEADERS))
            .part("NAMES", names(api, " "))
            .value("NAME", api.name())
            .value("LISTEN", &listen)
            .value("CERTIFICATE", &front.certificate.to_string_lossy())
            .value("KEY", &front.key.to_string_lossy())
    });
    Template::new(include_str!("proxy_config/nginx.conf"))
        .part("HEADERS", Template::new(NGINX_HEADERS))
        .part("APIS", Template::concat(apis))
        .value("SERVER", &server)
        .value("UPSTREAM", &front.upstream)
        .value("LISTEN", &listen)
}

/// nginx then drops headers whose names have other characters than letters, digits and hyphens.
const NGINX_HEADERS: &str = "    ignore_invalid_headers on;\n    underscores_in_headers off;\n";

fn envoy(config: &Config, front: &FrontEnd, socket: &Socket) -> Template {
    let is_grpc = config.proxy.engine == Engine::Envoy;
    let (service, protocol, forward) = match is_grpc {
        true => (
            include_str!("proxy_config/envoy_grpc.yaml"),
            include_str!("proxy_config/envoy_http2.yaml"),
            "",
        ),
        false => (
            include_str!("proxy_config/envoy_http.yaml"),
            "",
            include_str!("proxy_config/envoy_forward.yaml"),
        ),
    };
    let server = match socket {
        Socket::Unix(path) => Template::new("{ pipe: { path: \"@PATH@\" } }").value("PATH", path),
        Socket::Tcp(address) => socket_address(&address.ip().to_string(), address.port()),
    };
    let (host, port) = front.upstream.rsplit_once(':').unwrap_or_default();
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let apis = config.apis.iter().map(|api| {
        Template::new(include_str!("proxy_config/envoy_api.yaml"))
            .part("NAMES", names(api, ", "))
            .value("NAME", api.name())
    });
    Template::new(include_str!("proxy_config/envoy.yaml"))
        .part("APIS", Template::concat(apis))
        .part("SERVICE", Template::new(service))
        .part("PROTOCOL", Template::new(protocol))
        .part("FORWARD", Template::new(forward))
        .part("SERVER", server)
        .value("ADDRESS", &front.listen.ip().to_string())
        .value("PORT", &front.listen.port().to_string())
        .value("CERTIFICATE", &front.certificate.to_string_lossy())
        .value("KEY", &front.key.to_string_lossy())
        .value("UPSTREAM_HOST", host)
        .value("UPSTREAM_PORT", port)
}

fn socket_address(address: &str, port: u16) -> Template {
    Template::new("{ socket_address: { address: \"@ADDRESS@\", port_value: @PORT@ } }")
        .value("ADDRESS", address)
        .value("PORT", &port.to_string())
}

/// The hosts of an API.
fn names(api: &ApiConfig, separator: &str) -> Template {
    let quote = if separator.contains(',') { "\"" } else { "" };
    let names = api.hosts.iter().enumerate().map(|(index, host)| {
        let before = if index == 0 { "" } else { separator };
        Template::new(&format!("{before}{quote}@HOST@{quote}")).value("HOST", host)
    });
    Template::concat(names)
}

fn haproxy(config: &Config, front: &FrontEnd, socket: &Socket) -> Template {
    let server = match socket {
        Socket::Unix(path) => Template::new("unix@@SOCKET@").value("SOCKET", path),
        Socket::Tcp(address) => {
            let family = if address.is_ipv4() { "ipv4" } else { "ipv6" };
            Template::new(&format!("{family}@@SOCKET@")).value("SOCKET", &address.to_string())
        }
    };
    let send = IDENTITY_HEADERS.map(|header| {
        let name = header.replace('-', "_");
        let variable = format!("txn.{}", name.trim_start_matches("x_"));
        format!(
            "    http-request set-header {header} %[var({variable})] if {{ var({variable}) -m found }}\n"
        )
    });
    let apis = config.apis.iter().map(|api| {
        Template::new(include_str!("proxy_config/haproxy_api.cfg"))
            .part("NAMES", names(api, " "))
            .value("NAME", api.name())
    });
    Template::new(include_str!("proxy_config/haproxy.cfg"))
        .part("APIS", Template::concat(apis))
        .part("SEND", Template::new(&send.concat()))
        .value("SCRIPT", &front.script.to_string_lossy())
        .value("LISTEN", &front.listen.to_string())
        .value("CERTIFICATE", &front.certificate.to_string_lossy())
        .part("SERVER", server)
        .value("UPSTREAM", &front.upstream)
}

fn apache(config: &Config, front: &FrontEnd) -> Template {
    let apis = config.apis.iter().map(|api| {
        let aliases = api
            .hosts
            .iter()
            .skip(1)
            .map(|host| Template::new("    ServerAlias @HOST@\n").value("HOST", host));
        Template::new(include_str!("proxy_config/apache_api.conf"))
            .part("ALIASES", Template::concat(aliases))
            .value("NAME", api.name())
    });
    Template::new(include_str!("proxy_config/apache.conf"))
        .part("APIS", Template::concat(apis))
        .value("LISTEN", &front.listen.to_string())
        .value("CERTIFICATE", &front.certificate.to_string_lossy())
        .value("KEY", &front.key.to_string_lossy())
        .value("SCRIPT", &front.script.to_string_lossy())
        .value("UPSTREAM", &front.upstream)
}

fn apache_connect(socket: &Socket) -> Template {
    match socket {
        Socket::Unix(path) => Template::new(
            "    local socket = require(\"socket.unix\")()\n    return socket:connect(\"@PATH@\") and socket",
        )
        .value("PATH", path),
        Socket::Tcp(address) => Template::new(
            "    local socket = require(\"socket\").tcp()\n    return socket:connect(\"@ADDRESS@\", @PORT@) and socket",
        )
        .value("ADDRESS", &address.ip().to_string())
        .value("PORT", &address.port().to_string()),
    }
}

fn traefik(config: &Config, front: &FrontEnd, socket: &Socket) -> Result<Template, ConfigError> {
    let Socket::Tcp(server) = socket else {
        return Err(ConfigError::new(
            "Traefik cannot ask on a Unix socket: use tcp on loopback",
        ));
    };
    let apis = config.apis.iter().enumerate().map(|(index, api)| {
        let rules = api.hosts.iter().enumerate().map(|(index, host)| {
            let or = if index == 0 { "" } else { " || " };
            Template::new(&format!("{or}Host(`@HOST@`)")).value("HOST", host)
        });
        Template::new(include_str!("proxy_config/traefik_api.yaml"))
            .part("RULE", Template::concat(rules))
            .value("INDEX", &index.to_string())
    });
    Ok(Template::new(include_str!("proxy_config/traefik.yaml"))
        .part("APIS", Template::concat(apis))
        .part("HEADERS", Template::new(&IDENTITY_HEADERS.join(", ")))
        .value("SERVER", &format!("http://{server}/"))
        .value("CERTIFICATE", &front.certificate.to_string_lossy())
        .value("KEY", &front.key.to_string_lossy())
        .value("UPSTREAM", &front.upstream))
}

fn caddy(config: &Config, front: &FrontEnd, socket: &Socket) -> Template {
    let server = match socket {
        Socket::Unix(path) => format!("unix/{path}"),
        Socket::Tcp(address) => address.to_string(),
    };
    let apis = config.apis.iter().map(|api| {
        Template::new(include_str!("proxy_config/caddy_api.caddyfile"))
            .part("NAMES", names(api, ", "))
            .part("HEADERS", Template::new(&IDENTITY_HEADERS.join(" ")))
            .value("NAME", api.name())
            .value("SERVER", &server)
            .value("CERTIFICATE", &front.certificate.to_string_lossy())
            .value("KEY", &front.key.to_string_lossy())
            .value("UPSTREAM", &front.upstream)
    });
    Template::new(include_str!("proxy_config/caddy.caddyfile")).part("APIS", Template::concat(apis))
}
