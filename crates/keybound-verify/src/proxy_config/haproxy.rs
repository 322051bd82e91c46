use super::forged_headers::regex_of_all;
use super::{FrontEnd, Server, Template, identity_lines, lua, names_of};
use crate::{Config, ConfigError};

/// A whole file.
pub(super) fn haproxy(
    config: &Config,
    front: &FrontEnd,
    server: &Server<'_>,
) -> Result<Template, ConfigError> {
    let address = match server {
        Server::Unix(path) => Template::new("unix@@SOCKET@").value("SOCKET", path),
        Server::Tcp(address) => {
            let family = if address.is_ipv4() { "ipv4" } else { "ipv6" };
            Template::new(&format!("{family}@@SOCKET@")).value("SOCKET", &address.to_string())
        }
        Server::Tls(_) => Template::new("unix@@SCRIPT@.sock"),
    };
    let tls = match server {
        Server::Tls(daemon) => daemon.fill_named(Template::new(include_str!("haproxy_tls.cfg")))?,
        _ => Template::new(""),
    };
    let send = identity_lines(|header, name| {
        format!(
            "    http-request set-header {header} %[var(txn.{name})] if {{ var(txn.{name}) -m found }}\n"
        )
    });
    let apis = config.apis.iter().flat_map(|api| {
        api.hosts.chunks(MAX_NAMES).map(|hosts| {
            Template::new(include_str!("haproxy_api.cfg"))
                .part("NAMES", names_of(hosts, " "))
                .value("NAME", api.name())
        })
    });
    Ok(Template::new(include_str!("haproxy.cfg"))
        .part("APIS", Template::concat(apis))
        .part("FORGED", Template::new(&regex_of_all()))
        .part("SEND", Template::new(&send))
        .part("SERVER", address)
        .part("TLS", tls)
        .value("SCRIPT", &front.script.to_string_lossy())
        .value("LISTEN", &front.listen.to_string())
        .value("CERTIFICATE", &front.certificate.to_string_lossy())
        .value("UPSTREAM", &front.upstream.to_string()))
}

/// The script.
pub(super) fn haproxy_script() -> Template {
    lua(include_str!("haproxy.lua"))
}

/// The hosts in a line, of at most 2,048 characters and 64 words. A host has up to 253.
const MAX_NAMES: usize = 6;
