//! Loads a server of HTTPS that requests client certificates, with one token, and prints the rate and the latencies:
//!
//! `cargo run --release --package keybound-benches --bin load -- https://orders.contoso.com:8443/ --address 127.0.0.1:8443 --certificate
//! client.pem --key client.key --token-file token`
#![expect(clippy::print_stdout, reason = "the figures are the result")]

use clap::Parser;
use hyper::Uri;
use hyper::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use keybound_benches::load::{Extent, Load, Target};
use openssl::ssl::{SslConnector, SslFiletype, SslMethod};
use std::error::Error;
use std::fs;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Sends requests with a client certificate and a token, as fast as they are answered.
#[derive(Parser)]
struct Arguments {
    /// What is requested.
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
    /// The file with the token.
    #[arg(long)]
    token_file: Option<PathBuf>,
    /// How many connections there are.
    #[arg(long, default_value_t = 16)]
    connections: usize,
    /// How long requests are sent, in seconds.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3600))]
    seconds: u64,
}

fn main() -> Result<ExitCode, Box<dyn Error + Send + Sync>> {
    let arguments = Arguments::parse();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let mut load = Load::connect(arguments.target()?, arguments.connections).await?;
        let end = Instant::now() + Duration::from_secs(arguments.seconds);
        let report = load.send(Extent::Until(end)).await?;
        println!("{report}");
        Ok(match report.all_are(200) {
            true => ExitCode::SUCCESS,
            false => ExitCode::FAILURE,
        })
    })
}

impl Arguments {
    fn target(&self) -> Result<Target, Box<dyn Error + Send + Sync>> {
        let mut headers = HeaderMap::new();
        if let Some(path) = &self.token_file {
            let token = fs::read_to_string(path)?;
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

    fn address(&self) -> Result<SocketAddr, Box<dyn Error + Send + Sync>> {
        if let Some(address) = self.address {
            return Ok(address);
        }
        let host = self.url.host().ok_or("the URL has no host")?;
        let mut found = (host, self.url.port_u16().unwrap_or(443)).to_socket_addrs()?;
        Ok(found.next().ok_or("the host has no address")?)
    }

    fn connector(&self) -> Result<SslConnector, Box<dyn Error + Send + Sync>> {
        let mut connector = SslConnector::builder(SslMethod::tls_client())?;
        connector.set_certificate_chain_file(&self.certificate)?;
        connector.set_private_key_file(&self.key, SslFiletype::PEM)?;
        if let Some(ca) = &self.ca {
            connector.set_ca_file(ca)?;
        }
        Ok(connector.build())
    }
}
