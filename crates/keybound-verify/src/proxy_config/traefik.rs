use super::forged_headers::regex_of_all;
use super::{FrontEnd, Server, Template};
use crate::{Config, ConfigError};

/// The dynamic configuration.
pub(super) fn traefik(
    config: &Config,
    front: &FrontEnd,
    server: &Server<'_>,
) -> Result<Template, ConfigError> {
    let Server::Tcp(server) = server else {
        return Err(ConfigError::new(
            "Traefik cannot ask on a Unix socket, and for it TLS is not printed: use tcp on loopback",
        ));
    };
    let hosts = config.apis.iter().flat_map(|api| &api.hosts);
    let hosts: Vec<_> = hosts.enumerate().collect();
    let each = |template: &str| {
        let hosts = hosts.iter().map(|(index, host)| {
            Template::new(template)
                .value("HOST", host)
                .value("INDEX", &index.to_string())
        });
        Template::concat(hosts)
    };
    Ok(Template::new(include_str!("traefik.yaml"))
        .part("ROUTERS", each(include_str!("traefik_router.yaml")))
        .part("HOSTS", each(include_str!("traefik_host.yaml")))
        .part("FORGED", Template::new(&regex_of_all()))
        .value("SERVER", &format!("http://{server}/"))
        .value("CERTIFICATE", &front.certificate.to_string_lossy())
        .value("KEY", &front.key.to_string_lossy())
        .value("UPSTREAM", &front.upstream.to_string()))
}
