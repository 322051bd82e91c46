//! gRPC with a bound token: tonic over rustls and HTTP/2, with a service that requires the certificate and checks that the token
//! is bound to it. The service runs in this process (`greeter` in this package's library) and rejects the token on a connection
//! with another key. That key is a software key, which the emulator accepts; as of 2026, a real IMDS issues certificates for
//! attested KeyGuard keys only.
//!
//! `cargo run --package keybound-examples --bin tonic_greeter`
#![expect(clippy::print_stdout, reason = "an example prints its results")]
use hyper_rustls::HttpsConnectorBuilder;
use keybound::tls::rustls::ClientConfig;
use keybound::{AccessToken, KeyRequirements, KeyStrength, ManagedIdentityClient};
use keybound_emulator::{AttestationRule, Config, Emulator};
use keybound_examples::Platform;
use keybound_examples::greeter::{GREET, Greeter, Text};
use rustls::crypto::ring;
use std::error::Error;
use tonic::client::Grpc;
use tonic::metadata::MetadataValue;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut config = Config::default();
    config.imds.attestation = AttestationRule::Optional;
    let tenant = config.tenant_id.clone();
    let platform = Platform::Emulator(Emulator::start(config)?);
    let greeter = Greeter::start(&platform, &tenant).await?;
    let trust = platform.trust()?.with_pem(&greeter.ca_pem)?;

    let client = platform.client()?.trust(trust.clone()).build()?;
    let token = token(&client, KeyRequirements::attested()).await?;
    let mut channel = connect(&greeter.url, tls_config(&token)?).await?;
    let greeting = greet(&mut channel, &token).await?;
    println!("the greeter returned: {}", greeting.0);

    // With another certificate of the same identity the token is rejected.
    let other = platform.client()?.trust(trust).build()?;
    let software = KeyRequirements::unattested().min_strength(KeyStrength::Software);
    let other = self::token(&other, software).await?;
    let mut channel = connect(&greeter.url, tls_config(&other)?).await?;
    match greet(&mut channel, &token).await {
        Err(status) if status.code() == Code::Unauthenticated => {
            println!("with another certificate: {}", status.message());
            Ok(())
        }
        _ => Err("the token should have been rejected".into()),
    }
}

async fn token(
    client: &ManagedIdentityClient,
    requirements: KeyRequirements,
) -> keybound::Result<AccessToken> {
    client
        .pop_token(keybound_examples::greeter::RESOURCE, requirements)
        .await
}

/// TLS settings that present the certificate of this token.
fn tls_config(token: &AccessToken) -> Result<ClientConfig, Box<dyn Error>> {
    let binding = token.binding().ok_or("a bound token has a binding")?;
    Ok(binding.rustls().client_config(ring::default_provider())?)
}

async fn connect(url: &str, tls: ClientConfig) -> Result<Grpc<Channel>, Box<dyn Error>> {
    // tonic's TLS settings require the key in PEM; this connector takes a rustls configuration.
    let connector = HttpsConnectorBuilder::new()
        .with_tls_config(tls)
        .https_only()
        .enable_http2()
        .build();
    let channel = Endpoint::from_shared(url.to_owned())?
        .connect_with_connector(connector)
        .await?;
    Ok(Grpc::new(channel))
}

async fn greet(channel: &mut Grpc<Channel>, token: &AccessToken) -> Result<Text, Status> {
    let mut request = Request::new(Text("world".into()));
    let mut authorization = MetadataValue::try_from(token.authorization().expose())
        .map_err(|_| Status::internal("the token cannot be a header value"))?;
    authorization.set_sensitive(true);
    request
        .metadata_mut()
        .insert("authorization", authorization);
    channel
        .ready()
        .await
        .map_err(|_| Status::unavailable("the connection is closed"))?;
    let path = GREET
        .parse()
        .map_err(|_| Status::internal("invalid path"))?;
    let response = channel.unary(request, path, Text::codec()).await?;
    Ok(response.into_inner())
}
