//! The requests of both sides to the emulated vault.
use keybound::TokenRequest;
use keybound::http::Request;
use keybound::http::RequestBody;
use keybound_benches::test_host::{TestHost, unattested};
use url::Url;

pub fn token_request() -> TokenRequest {
    TokenRequest::pop("https://vault.azure.net", unattested())
}

pub fn secret_request(test_host: &TestHost) -> Request<RequestBody> {
    Request::get(secret_url(test_host).as_str())
        .body(RequestBody::empty())
        .expect("a request")
}

pub fn secret_url(test_host: &TestHost) -> Url {
    let vault = Url::parse(test_host.emulator().ready().vault.as_str()).expect("a URL");
    vault
        .join("/secrets/demo-secret?api-version=7.4")
        .expect("a URL")
}
