//! Loads a server of HTTPS that requests client certificates, with one token, and prints the rate and the latencies. docs/benchmarks.md has the
//! commands for a proxy, the daemon and an API on loopback.
#![expect(clippy::print_stdout, reason = "the figures are the result")]
#![expect(clippy::print_stderr, reason = "errors of the command line")]

use clap::{Args, Parser};
use hyper::Uri;
use hyper::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use keybound_benches::load::{Extent, Load, LoadError, Target};
use keybound_benches::setting::write_files;
use openssl::ssl::{SslConnector, SslFiletype, SslMethod};
use std::fs;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Loads APIs that require a client certificate and a token bound to it.
#[derive(Parser)]
#[command(after_help = EXAMPLES)]
enum Arguments {
    Prepare(Prepare),
    // Larger than the other.
    Send(Box<Send>),
}

/// Writes the files for a daemon, a proxy and a client on this host into a folder.
///
/// The issuer is a new one: no other daemon accepts the token, which is valid for an hour. The files are keys.json and verify.toml for the
/// daemon, server.pem and server.key for the proxy, ca.pem, client.pem, client.key and token for `send`.
#[derive(Args)]
struct Prepare {
    /// The folder, which is created.
    folder: PathBuf,
    /// The proxy in the configuration of the daemon: nginx, envoy (gRPC), envoy-http, haproxy, apache, traefik or caddy.
    #[arg(long, default_value = "nginx")]
    proxy: String,
}

/// Sends requests with a client certificate and a token, as fast as they are answered.
///
/// Prints the rate, the latencies and the number of responses with each status. The exit status is 0 if all are 200.
#[derive(Args)]
struct Send {
    /// What is requested: a URL with https.
    url: Uri,
    /// Where to connect, if it is not the host of the URL.
    #[arg(long)]
    address: Option<SocketAddr>,
    /// The client certificate, PEM.
    #[arg(long)]
    certificate: PathBuf,
    /// Its key, PEM.
    #[arg(long)]
    key: PathBuf,
    /// The authorities of servers, PEM. Default: those of the host.
    #[arg(long)]
    ca: Option<PathBuf>,
    /// The file with the token, which is sent with the scheme mtls_pop. Default: none is sent.
    #[arg(long)]
    token_file: Option<PathBuf>,
    /// How many connections are open. Each has one request at a time.
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..))]
    connections: u16,
    /// How long requests are sent, in seconds.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3600))]
    seconds: u64,
}

const EXAMPLES: &str = "\
Examples:
  load prepare /tmp/load --proxy envoy
  load send https://orders.contoso.com/orders --address 127.0.0.1:8443 --certificate /tmp/load/client.pem \\
      --key /tmp/load/client.key --ca /tmp/load/ca.pem --token-file /tmp/load/token --seconds 5";

fn main() -> ExitCode {
    run(Arguments::parse()).unwrap_or_else(|error| {
        eprintln!("load: {error}");
        ExitCode::FAILURE
    })
}

fn run(arguments: Arguments) -> Result<ExitCode, LoadError> {
    match arguments {
        Arguments::Prepare(Prepare { folder, proxy }) => {
            // It is in the configuration, which other programs read.
            write_files(&std::path::absolute(folder)?, &proxy)?;
            Ok(ExitCode::SUCCESS)
        }
        Arguments::Send(arguments) => arguments.run(),
    }
}

impl Send {
    fn run(&self) -> Result<ExitCode, LoadError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        runtime.block_on(async {
            let mut load = Load::connect(self.target()?, self.connections.into()).await?;
            let end = Instant::now() + Duration::from_secs(self.seconds);
            let report = load.send(Extent::Until(end)).await?;
            println!("{report}");
            Ok(match report.all_are(200) {
                true => ExitCode::SUCCESS,
                false => ExitCode::FAILURE,
            })
        })
    }

    fn target(&self) -> Result<Target, LoadError> {
        if self.url.scheme_str() != Some("https") {
            return Err("the URL has no https".into());
        }
        let mut headers = HeaderMap::new();
        if let Some(path) = &self.token_file {
            let token = fs::read_to_string(path);
            let token = token.map_err(|error| format!("{}: {error}", path.display()))?;
            let mut value = HeaderValue::from_str(&format!("mtls_pop {}", token.trim()))?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        Ok(Target {
            address: self.address()?,
            url: self.url.clone(),
            headers,
            connector: self.connector()?,
        })
    }

    fn address(&self) -> Result<SocketAddr, LoadError> {
        if let Some(address) = self.address {
            return Ok(address);
        }
        let host = self.url.host().ok_or("the URL has no host")?;
        let mut found = (host, self.url.port_u16().unwrap_or(443)).to_socket_addrs()?;
        Ok(found.next().ok_or("the host has no address")?)
    }

    fn connector(&self) -> Result<SslConnector, LoadError> {
        let mut connector = SslConnector::builder(SslMethod::tls_client())?;
        connector.set_certificate_chain_file(&self.certificate)?;
        connector.set_private_key_file(&self.key, SslFiletype::PEM)?;
        if let Some(ca) = &self.ca {
            connector.set_ca_file(ca)?;
        }
        Ok(connector.build())
    }
}
