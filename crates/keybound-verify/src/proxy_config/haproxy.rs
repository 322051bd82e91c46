use super::{FrontEnd, Server, Template, names};
use crate::check::IDENTITY_HEADERS;
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
    let send = IDENTITY_HEADERS.map(|header| {
        let name = header.replace('-', "_");
        let variable = format!("txn.{}", name.trim_start_matches("x_"));
        format!(
            "    http-request set-header {header} %[var({variable})] if {{ var({variable}) -m found }}\n"
        )
    });
    let apis = config.apis.iter().map(|api| {
        Template::new(include_str!("haproxy_api.cfg"))
            .part("NAMES", names(api, " "))
            .value("NAME", api.name())
    });
    Ok(Template::new(include_str!("haproxy.cfg"))
        .part("APIS", Template::concat(apis))
        .part("SEND", Template::new(&send.concat()))
        .part("SERVER", address)
        .part("TLS", tls)
        .value("SCRIPT", &front.script.to_string_lossy())
        .value("LISTEN", &front.listen.to_string())
        .value("CERTIFICATE", &front.certificate.to_string_lossy())
        .value("UPSTREAM", &front.upstream))
}
