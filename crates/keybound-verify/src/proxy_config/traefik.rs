use super::{FrontEnd, Server, Template};
use crate::check::IDENTITY_HEADERS;
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
    let apis = config.apis.iter().enumerate().map(|(index, api)| {
        let rules = api.hosts.iter().enumerate().map(|(index, host)| {
            let or = if index == 0 { "" } else { " || " };
            Template::new(&format!("{or}Host(`@HOST@`)")).value("HOST", host)
        });
        Template::new(include_str!("traefik_api.yaml"))
            .part("RULE", Template::concat(rules))
            .value("INDEX", &index.to_string())
    });
    Ok(Template::new(include_str!("traefik.yaml"))
        .part("APIS", Template::concat(apis))
        .part("HEADERS", Template::new(&IDENTITY_HEADERS.join(", ")))
        .part("STRIPPED", Template::new(&spellings()))
        .value("SERVER", &format!("http://{server}/"))
        .value("CERTIFICATE", &front.certificate.to_string_lossy())
        .value("KEY", &front.key.to_string_lossy())
        .value("UPSTREAM", &front.upstream))
}

/// The identity headers with each hyphen as a hyphen or an underscore: Traefik removes headers by their whole names.
fn spellings() -> String {
    let mut all = Vec::new();
    for &header in IDENTITY_HEADERS {
        let hyphens: Vec<usize> = header.match_indices('-').map(|(at, _)| at).collect();
        for choice in 0..1 << hyphens.len() {
            let mut name = header.to_owned();
            for (bit, at) in hyphens.iter().enumerate() {
                if choice >> bit & 1 == 1 {
                    name.replace_range(at..&(at + 1), "_");
                }
            }
            all.push(format!("{name}: \"\""));
        }
    }
    all.join(", ")
}
