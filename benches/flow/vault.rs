//! The requests of both sides to the emulated vault.
use keybound::TokenRequest;
use keybound::http::Request;
use keybound::http::RequestBody;
use keybound_benches::world::{World, unattested};
use url::Url;

pub fn token_request() -> TokenRequest {
    TokenRequest::pop("https://vault.azure.net", unattested())
}

pub fn secret_request(world: &World) -> Request<RequestBody> {
    Request::get(secret_url(world).as_str())
        .body(RequestBody::empty())
        .expect("a request")
}

pub fn secret_url(world: &World) -> Url {
    let vault = Url::parse(world.emulator().ready().vault.as_str()).expect("a URL");
    vault
        .join("/secrets/demo-secret?api-version=7.4")
        .expect("a URL")
}
