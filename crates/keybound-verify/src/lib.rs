//! A daemon that verifies access tokens of Microsoft Entra ID that are bound to a client certificate, for APIs behind a proxy.
//!
//! A proxy that ends TLS asks for each request, with the `Authorization` header and the client certificate of the connection. One listener
//! answers Envoy's external authorization over gRPC, and the subrequests of the others over HTTP. The policy is chosen by the host of the
//! request. What is verified is in [`keybound_resource`].
#![forbid(unsafe_code)]

mod admin;
mod apis;
mod body;
mod check;
mod config;
mod daemon;
mod decision_log;
mod engine;
mod explain;
mod ext_authz;
pub mod fuzz;
mod host;
mod http_check;
mod listener;
mod metrics;
mod open_files;
mod proxy_config;
mod published_keys;
mod reload_limit;
mod reload_request;
mod server;

pub(crate) use apis::Apis;
pub use apis::ExtendVerifier;
pub(crate) use check::CheckService;
pub use check::IDENTITY_HEADERS;
pub use config::{
    AdminConfig, ApiConfig, CloudName, Config, ConfigError, IssuerConfig, KeysConfig, LimitsConfig,
    ListenConfig, LogConfig, LoggedDecisions, ProxyConfig, TenantsConfig, TlsConfig,
};
pub use daemon::{Daemon, LoadError, StartError};
pub use decision_log::DecisionLog;
pub use engine::Engine;
pub use explain::{Explanation, Outcome, Step, explain};
pub use ext_authz::messages;
pub use keybound_resource::{KeyFile, PublishedKeys, regular_file};
pub use proxy_config::{
    ADDRESS_HEADERS, CERTIFICATE_HEADERS, DaemonConnection, FrontEnd, HostPort, HostPortError,
    proxy_config, proxy_script,
};
pub use published_keys::FetchedKeys;
pub use reload_request::request_reload;
