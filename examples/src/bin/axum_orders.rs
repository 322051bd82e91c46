//! An API with axum that accepts bound tokens only, and its client. The API verifies each token with Entra's keys, and that it is bound to
//! the client certificate of the connection. Another program that got hold of the token cannot use it.
//!
//! The API and the client run in this process, against the emulator. The client's second key is a software key, which the emulator
//! accepts; as of 2026, a real IMDS issues certificates for attested KeyGuard keys only.
//!
//! `cargo run --package keybound-examples --bin axum_orders`
#![expect(clippy::print_stdout, reason = "an example prints its results")]
use axum::Router;
use axum::routing::get;
use keybound::{AccessToken, KeyRequirements, KeyStrength};
use keybound_emulator::{AttestationRule, Config, Emulator};
use keybound_examples::{Platform, server_tls};
use keybound_resource::Verifier;
use keybound_resource::axum::Authenticated;
use keybound_resource::source::{ConnectionPeer, Peer};
use keybound_resource::tls::{MtlsListener, OpensslServer};
use keybound_resource::tower::MtlsPopLayer;
use reqwest::StatusCode;
use reqwest::header::{AUTHORIZATION, HeaderValue, WWW_AUTHENTICATE};
use rustls::crypto::ring;
use std::error::Error;
use tokio::net::TcpListener;

/// The resource of the API's tokens.
const RESOURCE: &str = "api://orders";

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut config = Config::default();
    config.imds.attestation = AttestationRule::Optional;
    let tenant = config.tenant_id.clone();
    let platform = Platform::Emulator(Emulator::start(config)?);
    let verifier = platform.verifier(RESOURCE, &tenant)?;
    verifier.fetch_due_keys().await;
    let (context, ca_pem) = server_tls::server(b"\x08http/1.1")?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let listener = MtlsListener::new(listener, OpensslServer::new(context)?)?;
    let url = format!("https://localhost:{}/orders", listener.local_addr()?.port());
    tokio::spawn(serve(listener, verifier));

    let trust = platform.trust()?.with_pem(&ca_pem)?;
    let client = platform.client()?.trust(trust.clone()).build()?;
    let token = client
        .pop_token(RESOURCE, KeyRequirements::attested())
        .await?;
    let (status, text) = call(&url, &token, &token).await?;
    println!("{status}: {text}");
    if status != StatusCode::OK {
        return Err("the token should have been accepted".into());
    }

    // With another certificate of the same identity the token is refused.
    let other = platform.client()?.trust(trust).build()?;
    let software = KeyRequirements::unattested().min_strength(KeyStrength::Software);
    let other = other.pop_token(RESOURCE, software).await?;
    let (status, text) = call(&url, &token, &other).await?;
    println!("with another certificate: {status}: {text}");
    if status != StatusCode::UNAUTHORIZED {
        return Err("the token should have been refused".into());
    }
    Ok(())
}

/// The whole API.
async fn serve(listener: MtlsListener, verifier: Verifier) -> std::io::Result<()> {
    let app = Router::new()
        .route("/orders", get(orders))
        .layer(MtlsPopLayer::new(verifier, ConnectionPeer::new()))
        .into_make_service_with_connect_info::<Peer>();
    axum::serve(listener, app).await
}

async fn orders(caller: Authenticated) -> String {
    format!("orders of {} in {}", caller.client(), caller.tenant())
}

/// Sends a token on a connection that presents the certificate of a token. Returns the status, and the body or the challenge.
async fn call(
    url: &str,
    token: &AccessToken,
    presented: &AccessToken,
) -> Result<(StatusCode, String), Box<dyn Error>> {
    let binding = presented.binding().ok_or("a bound token has a binding")?;
    let tls = binding.rustls().client_config(ring::default_provider())?;
    let http = reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .https_only(true)
        .build()?;
    let mut authorization = HeaderValue::from_str(token.authorization().expose())?;
    authorization.set_sensitive(true);
    let request = http.get(url).header(AUTHORIZATION, authorization);
    let response = request.send().await?;
    let status = response.status();
    match response.headers().get(WWW_AUTHENTICATE) {
        Some(challenge) => Ok((status, challenge.to_str()?.to_owned())),
        None => Ok((status, response.text().await?)),
    }
}
