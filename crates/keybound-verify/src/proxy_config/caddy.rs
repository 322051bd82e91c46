use super::{FrontEnd, Server, Template, names};
use crate::check::IDENTITY_HEADERS;
use crate::{Config, ConfigError};

/// A whole file.
pub(super) fn caddy(
    config: &Config,
    front: &FrontEnd,
    server: &Server<'_>,
) -> Result<Template, ConfigError> {
    let server = match server {
        Server::Unix(path) => format!("unix/{path}"),
        Server::Tcp(address) => address.to_string(),
        Server::Tls(_) => return Err(ConfigError::new("for Caddy TLS is not printed")),
    };
    let apis = config.apis.iter().map(|api| {
        Template::new(include_str!("caddy_api.caddyfile"))
            .part("NAMES", names(api, ", "))
            .part("HEADERS", Template::new(&IDENTITY_HEADERS.join(" ")))
            .value("NAME", api.name())
            .value("SERVER", &server)
            .value("CERTIFICATE", &front.certificate.to_string_lossy())
            .value("KEY", &front.key.to_string_lossy())
            .value("UPSTREAM", &front.upstream)
    });
    Ok(Template::new(include_str!("caddy.caddyfile")).part("APIS", Template::concat(apis)))
}
