use clap::{ArgAction, Args, Subcommand, ValueEnum};
use keybound_verify::HostPort;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Verify bound tokens for APIs behind Envoy, nginx and other proxies
///
/// The proxy ends TLS, and asks the daemon about each request. The daemon verifies the token of Entra and compares it with the client
/// certificate of the connection: a stolen token is refused. The API gets headers that name the caller.
#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    #[command(subcommand)]
    pub(crate) command: VerifyCommand,
}

/// The subcommand of `verify`.
#[derive(Debug, Subcommand)]
pub(crate) enum VerifyCommand {
    Serve(ServeArgs),
    Reload(ReloadArgs),
    Config(Box<ProxyConfigArgs>),
    Check(CheckArgs),
    Keys(KeysArgs),
}

/// Run the daemon that answers a proxy
///
/// Writes the decision log to standard output, one JSON object a line, and everything else to standard error. SIGHUP loads the
/// configuration again: the current one remains in use until the new one has its keys, and if the new one is not usable. SIGTERM and
/// SIGINT stop it after the requests that it has received are answered.
#[derive(Debug, Args)]
#[command(after_long_help = SERVE_HELP)]
pub(crate) struct ServeArgs {
    /// The configuration, a TOML file; unknown keys are errors
    #[arg(long, value_name = "FILE")]
    pub(crate) config: PathBuf,

    /// Log more than warnings to standard error; -vv logs everything
    #[arg(short, long, action = ArgAction::Count)]
    pub(crate) verbose: u8,
}

/// Have the running daemon load its configuration again, and print why if it does not
///
/// The daemon needs the section [admin] in its configuration, with a Unix socket or an address on loopback. Without it, send SIGHUP: the
/// reason is then in its log. Within five seconds of the last reload, it waits before it requests this one.
#[derive(Debug, Args)]
#[command(
    after_long_help = "Example:\n  keybound verify reload --config /etc/keybound/verify.toml\n\nExit codes: 0 it was loaded, 1 the current one remains in use, 2 wrong usage."
)]
pub(crate) struct ReloadArgs {
    /// The configuration of the daemon, which names the address for operators
    #[arg(long, value_name = "FILE")]
    pub(crate) config: PathBuf,
}

/// Print a configuration with which a proxy has each request authorized by the daemon
///
/// The proxy requests a client certificate of any issuer, replaces headers by which clients could forge a certificate or a caller, sends the
/// daemon nothing but what it needs, and denies a request if the daemon does not answer. Envoy, HAProxy, Caddy: a whole file. nginx: a part
/// for the context http. Apache: virtual hosts. Traefik: the dynamic configuration.
#[derive(Debug, Args)]
#[command(after_long_help = PROXY_CONFIG_HELP)]
pub(crate) struct ProxyConfigArgs {
    /// The proxy; the same as in the configuration of the daemon
    #[arg(value_name = "PROXY")]
    pub(crate) engine: String,

    /// The configuration of the daemon
    #[arg(long, value_name = "FILE")]
    pub(crate) config: PathBuf,

    /// Where the proxy accepts clients
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "0.0.0.0:443")]
    pub(crate) listen: SocketAddr,

    /// The certificate chain of the API, a PEM file
    #[arg(long, value_name = "PEM", default_value = "/etc/keybound/server.pem")]
    pub(crate) certificate: PathBuf,

    /// Its key, a PEM file
    #[arg(long, value_name = "PEM", default_value = "/etc/keybound/server.key")]
    pub(crate) key: PathBuf,

    /// Where the API listens
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:8080")]
    pub(crate) upstream: HostPort,

    /// Print the script by which Apache or HAProxy asks, in place of the configuration
    #[arg(long)]
    pub(crate) script: bool,

    /// Where this script is, for the configuration
    #[arg(long, value_name = "FILE", default_value = "/etc/keybound/verify.lua")]
    pub(crate) script_file: PathBuf,

    /// Where the proxy reaches a daemon with [listen.tls]: the host of the daemon's certificate
    #[arg(long, value_name = "HOST:PORT", requires_all = ["daemon_ca", "proxy_certificate", "proxy_key"])]
    pub(crate) daemon: Option<HostPort>,

    /// The CA of the daemon's certificate, or that certificate if it is self-signed, a PEM file
    #[arg(long, value_name = "PEM", requires = "daemon")]
    pub(crate) daemon_ca: Option<PathBuf>,

    /// The certificate of the proxy, one of `clients` in the configuration of the daemon, a PEM file; for HAProxy with its key
    #[arg(long, value_name = "PEM", requires = "daemon")]
    pub(crate) proxy_certificate: Option<PathBuf>,

    /// Its key, a PEM file
    #[arg(long, value_name = "PEM", requires = "daemon")]
    pub(crate) proxy_key: Option<PathBuf>,
}

/// Verify one token, and explain each step
///
/// Reads the token from a file, never from the command line, where other users of the host could read it. Uses the policy of one host
/// in the configuration of the daemon, and fetches the issuers' keys as the daemon does. Nothing is sent to a proxy or an API.
#[derive(Debug, Args)]
#[command(after_long_help = CHECK_HELP)]
pub(crate) struct CheckArgs {
    /// The configuration of the daemon
    #[arg(long, value_name = "FILE")]
    pub(crate) config: PathBuf,

    /// The host whose policy is used [default: the first one in the configuration]
    #[arg(long, value_name = "HOST")]
    pub(crate) host: Option<String>,

    /// A file with the token, with or without its scheme and the name of the header; - is standard input
    #[arg(long, value_name = "FILE")]
    pub(crate) token_file: PathBuf,

    /// The client certificate of the connection, the first one in a PEM file; without it, none was presented
    #[arg(long, value_name = "PEM")]
    pub(crate) certificate: Option<PathBuf>,

    /// Print one JSON object instead of the text
    #[arg(long)]
    pub(crate) json: bool,
}

/// Fetch the issuers' keys, for other daemons and for proxies that verify signatures themselves
///
/// Prints the keys that the daemon would use for all issuers in its configuration, or writes them to a file, which is replaced at once. Other
/// daemons with the same APIs read such a key file with `[keys] file`, so that one host fetches the keys for all: it keeps the issuers
/// apart, and says when their keys were fetched. Proxies that verify signatures themselves need the keys of one issuer, as a JSON Web Key
/// set or in PEM, and know nothing of their age.
#[derive(Debug, Args)]
#[command(after_long_help = KEYS_HELP)]
pub(crate) struct KeysArgs {
    /// The configuration of the daemon, without `[keys] file`
    #[arg(long, value_name = "FILE")]
    pub(crate) config: PathBuf,

    /// The format
    #[arg(long, value_name = "FORMAT", default_value = "key-file")]
    pub(crate) format: KeyFormat,

    /// jwks, pem: the issuer [default: the only one in the configuration]
    #[arg(long, value_name = "NAME")]
    pub(crate) issuer: Option<String>,

    /// Write the keys to this file; pem: to files of this directory, which are named after the ids of the keys
    #[arg(long, value_name = "PATH", required_if_eq("format", "pem"))]
    pub(crate) output: Option<PathBuf>,

    /// Fetch them every hour, and a minute after a failure, until a signal stops it; meanwhile the last ones remain
    #[arg(long, requires = "output")]
    pub(crate) watch: bool,
}

/// A format of keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum KeyFormat {
    /// The keys of all issuers, for `[keys] file` of other daemons
    KeyFile,
    /// The JSON Web Key set of one issuer
    Jwks,
    /// The public keys of one issuer, each in a file
    Pem,
}

const SERVE_HELP: &str = "\
Example of a configuration:
  [listen]
  unix = \"/run/keybound/verify.sock\"
  [proxy]
  engine = \"nginx\"                  # envoy, envoy-http, nginx, apache, haproxy, traefik, caddy
  [admin]
  tcp = \"127.0.0.1:9444\"            # /healthz, /readyz, /metrics
  [[api]]
  hosts = [\"orders.contoso.com\"]
  audiences = [\"api://orders.contoso.com\"]
  tenants = [\"72f988bf-86f1-41af-91ab-2d7cd011db47\"]

Examples:
  keybound verify serve --config verify.toml
  keybound verify config nginx --config verify.toml > /etc/nginx/conf.d/keybound.conf

Exit codes: 0 SIGTERM or SIGINT stopped it, 1 it could not listen, 2 the configuration is not usable,
128 + N another signal N ended it.";
const PROXY_CONFIG_HELP: &str = "\
Examples:
  keybound verify config envoy --config verify.toml > envoy.yaml
  keybound verify config nginx --config verify.toml --upstream 127.0.0.1:3000 > keybound.conf
  keybound verify config haproxy --config verify.toml --script > /etc/keybound/verify.lua

Exit codes: 0 success, 2 wrong usage, such as a value that such a configuration cannot have.";
const CHECK_HELP: &str = "\
Examples:
  keybound verify check --config verify.toml --token-file token --certificate client.pem
  keybound get-token --resource api://orders.contoso.com --output token | \\
    keybound verify check --config verify.toml --token-file - --certificate client.pem --json

JSON:
  accepted, status, reason (null if accepted), challenge, host,
  steps [{name, outcome, text}]: outcome is passed, failed or not_checked

Exit codes: 0 the token is accepted, 1 it is refused, 2 wrong usage.";
const KEYS_HELP: &str = "\
Examples:
  keybound verify keys --config verify.toml
  keybound verify keys --config verify.toml --watch --output /srv/keys.json
  keybound verify keys --config verify.toml --format pem --output /etc/haproxy/keys \\
    --issuer https://sts.windows.net/72f988bf-86f1-41af-91ab-2d7cd011db47/

Exit codes: 0 success, or SIGTERM or SIGINT stopped it, 1 the keys could not be fetched or
written, 2 wrong usage, 128 + N another signal N ended it.";
