//! gRPC with a bound token: tonic over rustls, HTTP/2, to a service that demands the certificate and checks that the
//! token is bound to it. The service runs in this process (`greeter` in this package's library); the token is refused on
//! a connection without its key. Its software key is for the emulator: a real IMDS certifies attested KeyGuard keys only, as of
//! 2026.
//!
//! `cargo run --package keybound-examples --bin tonic_greeter`
#![expect(clippy::print_stdout, reason = "an example shows what it got")]
use hyper_rustls::HttpsConnectorBuilder;
use keybound::tls::rustls::ClientConfig;
use keybound::{AccessToken, KeyRequirements, KeyStrength, ManagedIdentityClient};
use keybound_emulator::{AttestationRule, Config, Emulator};
use keybound_examples::World;
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
    let world = World::Emulator(Emulator::start(config)?);
    let greeter = Greeter::start(&world, &tenant).await?;
    let trust = world.trust()?.with_pem(&greeter.ca_pem)?;

    let client = world.client()?.trust(trust.clone()).build()?;
    let token = token(&client, KeyRequirements::attested()).await?;
    let mut channel = connect(&greeter.url, tls_of(&token)?).await?;
    let answer = greet(&mut channel, &token).await?;
    println!("the greeter answered: {}", answer.0);

    // Another certificate of the same identity: the token is worth nothing there.
    let other = world.client()?.trust(trust).build()?;
    let software = KeyRequirements::unattested().min_strength(KeyStrength::Software);
    let other = self::token(&other, software).await?;
    let mut channel = connect(&greeter.url, tls_of(&other)?).await?;
    match greet(&mut channel, &token).await {
        Err(status) if status.code() == Code::Unauthenticated => {
            println!("on another's connection: {}", status.message());
            Ok(())
        }
        _ => Err("the token should have been refused".into()),
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

/// TLS that presents the certificate of this token.
fn tls_of(token: &AccessToken) -> Result<ClientConfig, Box<dyn Error>> {
    let binding = token.binding().ok_or("a bound token has a binding")?;
    Ok(binding.rustls().client_config(ring::default_provider())?)
}

async fn connect(url: &str, tls: ClientConfig) -> Result<Grpc<Channel>, Box<dyn Error>> {
    // tonic's own TLS wants a key that it can read; the connector brings ours.
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
        .map_err(|_| Status::unavailable("the connection has ended"))?;
    let path = GREET.parse().map_err(|_| Status::internal("no path"))?;
    let answer = channel.unary(request, path, Text::codec()).await?;
    Ok(answer.into_inner())
}
