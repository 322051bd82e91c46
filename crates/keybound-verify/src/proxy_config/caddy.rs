use super::{FrontEnd, Server, Template, forged_headers};
use crate::check::IDENTITY_HEADERS;
use crate::{ApiConfig, Config, ConfigError};

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
    let forged = forged_headers::spellings().map(|part| format!("\t\trequest_header -*{part}*\n"));
    let forged = Template::new(&forged.collect::<String>());
    let apis = config.apis.iter().map(|api| {
        Template::new(include_str!("caddy_api.caddyfile"))
            .part("NAMES", sites(api, front))
            .value("ADDRESS", &front.listen.ip().to_string())
            .part("FORGED", forged.clone())
            .part("HEADERS", Template::new(&IDENTITY_HEADERS.join(" ")))
            .value("NAME", api.name())
            .value("SERVER", &server)
            .value("CERTIFICATE", &front.certificate.to_string_lossy())
            .value("KEY", &front.key.to_string_lossy())
            .value("UPSTREAM", &front.upstream.to_string())
    });
    Ok(Template::new(include_str!("caddy.caddyfile")).part("APIS", Template::concat(apis)))
}

/// The hosts of an API with the port.
fn sites(api: &ApiConfig, front: &FrontEnd) -> Template {
    let sites = api.hosts.iter().enumerate().map(|(index, host)| {
        let before = if index == 0 { "" } else { ", " };
        Template::new(&format!("{before}@HOST@:@PORT@"))
            .value("HOST", host)
            .value("PORT", &front.listen.port().to_string())
    });
    Template::concat(sites)
}
