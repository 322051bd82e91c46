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
        Server::Tls(daemon) => daemon.address.to_string(),
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
        .part("HASH", Template::new(hash_of_names(config)))
        .value("SERVER", &address)
        .value("UPSTREAM", &front.upstream.to_string())
        .value("LISTEN", &listen))
}

/// nginx has room for names of 46 characters where nothing else is set.
fn hash_of_names(config: &Config) -> &'static str {
    let mut hosts = config.apis.iter().flat_map(|api| &api.hosts);
    match hosts.any(|host| host.len() > 46) {
        true => {
            "# For long names. If the context http sets it already, remove it in one of these places; 512 are enough for each name.\n\
             server_names_hash_bucket_size 512;\n\n"
        }
        false => "",
    }
}

/// The headers that nginx sets itself.
const SET: [&str; 3] = ["x-forwarded-for", "x-forwarded-host", "x-forwarded-proto"];
/// nginx then drops headers whose names have other characters than letters, digits and hyphens.
const HEADERS: &str = "    ignore_invalid_headers on;\n    underscores_in_headers off;\n";
