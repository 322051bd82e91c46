use super::{FrontEnd, Server, Template, lua};
use crate::{Config, ConfigError};

/// Virtual hosts.
pub(super) fn apache(config: &Config, front: &FrontEnd) -> Template {
    let apis = config.apis.iter().map(|api| {
        let aliases = api
            .hosts
            .iter()
            .skip(1)
            .map(|host| Template::new("    ServerAlias @HOST@\n").value("HOST", host));
        Template::new(include_str!("apache_api.conf"))
            .part("ALIASES", Template::concat(aliases))
            .value("NAME", api.name())
    });
    Template::new(include_str!("apache.conf"))
        .part("APIS", Template::concat(apis))
        .value("LISTEN", &front.listen.to_string())
        .value("CERTIFICATE", &front.certificate.to_string_lossy())
        .value("KEY", &front.key.to_string_lossy())
        .value("SCRIPT", &front.script.to_string_lossy())
        .value("UPSTREAM", &front.upstream.to_string())
}

/// The script.
pub(super) fn apache_script(server: &Server<'_>) -> Result<Template, ConfigError> {
    let (socket, address) = match server {
        Server::Unix(path) => (
            "require(\"socket.unix\")()",
            Template::new("\"@PATH@\"").value("PATH", path),
        ),
        Server::Tcp(address) => (
            "require(\"socket\").tcp()",
            Template::new("\"@IP@\", @PORT@")
                .value("IP", &address.ip().to_string())
                .value("PORT", &address.port().to_string()),
        ),
        Server::Tls(_) => {
            return Err(ConfigError::new(
                "LuaSocket, by which Apache asks, has no TLS: run a daemon on the host of Apache",
            ));
        }
    };
    Ok(lua(include_str!("apache.lua"))
        .part("SOCKET", Template::new(socket))
        .part("ADDRESS", address))
}
