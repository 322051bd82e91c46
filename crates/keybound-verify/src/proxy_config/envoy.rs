use super::forged_headers::regex_without_callers;
use super::{DaemonConnection, FrontEnd, HostPort, Server, Template, names};
use crate::{Config, Engine};

/// A whole file.
pub(super) fn envoy(config: &Config, front: &FrontEnd, server: &Server<'_>) -> Template {
    let is_grpc = config.proxy.engine == Engine::Envoy;
    let (service, protocol, forward) = match is_grpc {
        true => (
            include_str!("envoy_grpc.yaml"),
            include_str!("envoy_http2.yaml"),
            "",
        ),
        false => (
            include_str!("envoy_http.yaml"),
            "",
            include_str!("envoy_forward.yaml"),
        ),
    };
    let (server_type, address, tls) = match server {
        Server::Unix(path) => (
            "STATIC",
            Template::new("{ pipe: { path: \"@PATH@\" } }").value("PATH", path),
            Template::new(""),
        ),
        Server::Tcp(address) => (
            "STATIC",
            socket_address(&(*address).into()),
            Template::new(""),
        ),
        Server::Tls(daemon) => (
            "LOGICAL_DNS\n    dns_lookup_family: ALL",
            socket_address(&daemon.address),
            tls(daemon),
        ),
    };
    let apis = config.apis.iter().map(|api| {
        Template::new(include_str!("envoy_api.yaml"))
            .part("NAMES", names(api, ", "))
            .value("NAME", api.name())
    });
    Template::new(include_str!("envoy.yaml"))
        .part("APIS", Template::concat(apis))
        .part("FORGED", Template::new(&regex_without_callers()))
        .part("SERVICE", Template::new(service))
        .part("PROTOCOL", Template::new(protocol))
        .part("FORWARD", Template::new(forward))
        .part("TLS", tls)
        .part("SERVER", address)
        .part("SERVER_TYPE", Template::new(server_type))
        .part("UPSTREAM", socket_address(&front.upstream))
        .value("ADDRESS", &front.listen.ip().to_string())
        .value("PORT", &front.listen.port().to_string())
        .value("CERTIFICATE", &front.certificate.to_string_lossy())
        .value("KEY", &front.key.to_string_lossy())
}

fn socket_address(address: &HostPort) -> Template {
    Template::new("{ socket_address: { address: \"@ADDRESS@\", port_value: @PORT@ } }")
        .value("ADDRESS", address.host())
        .value("PORT", &address.port().to_string())
}

fn tls(daemon: &DaemonConnection) -> Template {
    // Clients send no address as the name of a server.
    let (name, sni) = match daemon.is_address() {
        true => ("IP_ADDRESS", ""),
        false => ("DNS", "        sni: \"@DAEMON_HOST@\"\n"),
    };
    let template = Template::new(include_str!("envoy_tls.yaml"))
        .value("NAME_TYPE", name)
        .part("SNI", Template::new(sni));
    daemon.fill(template)
}
