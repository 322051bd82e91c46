use super::{
    ADDRESS_HEADERS, CERTIFICATE_HEADERS, FrontEnd, Server, Template, identity_lines, names,
};
use crate::{Config, ConfigError};

/// A part for the context `http`.
pub(super) fn nginx(
    config: &Config,
    front: &FrontEnd,
    server: &Server<'_>,
) -> Result<Template, ConfigError> {
    let listen = front.listen.to_string();
    let address = match server {
        Server::Unix(path) => format!("unix:{path}"),
        Server::Tcp(address) => address.to_string(),
        Server::Tls(daemon) => daemon.address.clone(),
    };
    let tls = match server {
        Server::Tls(daemon) => daemon.fill_named(Template::new(include_str!("nginx_tls.conf")))?,
        _ => Template::new(""),
    };
    let scheme = if tls.is_empty() { "http" } else { "https" };
    let read = identity_lines(|_, name| {
        format!("        auth_request_set ${name} $upstream_http_x_{name};\n")
    });
    let send =
        identity_lines(|header, name| format!("        proxy_set_header {header} ${name};\n"));
    let addresses = ADDRESS_HEADERS.iter().filter(|name| !SET.contains(name));
    let forged = CERTIFICATE_HEADERS.iter().chain(addresses);
    let forged = forged.map(|header| format!("        proxy_set_header {header} \"\";\n"));
    let forged = Template::new(&forged.collect::<String>());
    let apis = config.apis.iter().map(|api| {
        Template::new(include_str!("nginx_api.conf"))
            .part("READ", Template::new(&read))
            .part("SEND", Template::new(&send))
            .part("FORGED", forged.clone())
            .part("HEADERS", Template::new(HEADERS))
            .part("TLS", tls.clone())
            .value("SCHEME", scheme)
            .part("NAMES", names(api, " "))
            .value("NAME", api.name())
            .value("LISTEN", &listen)
            .value("CERTIFICATE", &front.certificate.to_string_lossy())
            .value("KEY", &front.key.to_string_lossy())
    });
    Ok(Template::new(include_str!("nginx.conf"))
        .part("HEADERS", Template::new(HEADERS))
        .part("APIS", Template::concat(apis))
        .value("SERVER", &address)
        .value("UPSTREAM", &front.upstream)
        .value("LISTEN", &listen))
}

/// The headers that nginx sets itself.
const SET: [&str; 3] = ["x-forwarded-for", "x-forwarded-host", "x-forwarded-proto"];
/// nginx then drops headers whose names have other characters than letters, digits and hyphens.
const HEADERS: &str = "    ignore_invalid_headers on;\n    underscores_in_headers off;\n";
