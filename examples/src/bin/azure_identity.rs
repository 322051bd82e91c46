//! The Azure SDK's credential for managed identities, unmodified, with the emulator in place of App Service.
//!
//! `cargo run --package keybound-examples --bin azure_identity`
//!
//! The credential reads its source from the environment, so the program runs itself again with that of App Service, as
//! `keybound emulator --source app-service --exec` does for any program.
#![expect(clippy::print_stdout, reason = "an example prints its results")]
use azure_core::Bytes;
use azure_core::credentials::TokenCredential;
use azure_core::error::ErrorKind;
use azure_core::http::headers::Headers;
use azure_core::http::{AsyncRawResponse, ClientOptions, HttpClient, Request, Transport};
use azure_identity::{ManagedIdentityCredential, ManagedIdentityCredentialOptions, UserAssignedId};
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::http1;
use hyper::header::HOST;
use hyper_util::rt::TokioIo;
use keybound_emulator::{Config, Emulator, Source};
use std::error::Error;
use std::process::{Command, ExitCode};
use std::sync::Arc;
use tokio::net::TcpStream;
use url::Position;

fn main() -> Result<ExitCode, Box<dyn Error>> {
    if std::env::args().nth(1).as_deref() == Some(IN_SOURCE) {
        get_tokens()?;
        return Ok(ExitCode::SUCCESS);
    }
    let emulator = Emulator::start(Config::default())?;
    let status = Command::new(std::env::current_exe()?)
        .arg(IN_SOURCE)
        .envs(emulator.ready().environment(Source::AppService))
        .status()?;
    println!("requests: {:?}", emulator.counts());
    match status.success() {
        true => Ok(ExitCode::SUCCESS),
        false => Ok(ExitCode::FAILURE),
    }
}

#[tokio::main(flavor = "current_thread")]
async fn get_tokens() -> Result<(), Box<dyn Error>> {
    let client_id = UserAssignedId::ClientId("5a5a5a5a-0000-4000-8000-000000000002".into());
    let object_id = UserAssignedId::ObjectId("5a5a5a5a-0000-4000-8000-0000000000f2".into());
    for user_assigned_id in [None, Some(client_id), Some(object_id)] {
        let name = format!("{user_assigned_id:?}");
        let credential = credential(user_assigned_id)?;
        let token = credential.get_token(&[SCOPE], None).await?;
        println!("{name}: a token until {}", token.expires_on);
    }
    let unknown = UserAssignedId::ClientId("00000000-0000-4000-8000-000000000000".into());
    let credential = credential(Some(unknown))?;
    match credential.get_token(&[SCOPE], None).await {
        Ok(_) => Err("a token of an identity that the host does not have".into()),
        Err(error) => {
            println!("an unknown identity: {error}");
            Ok(())
        }
    }
}

fn credential(
    user_assigned_id: Option<UserAssignedId>,
) -> azure_core::Result<Arc<dyn TokenCredential>> {
    let options = ManagedIdentityCredentialOptions {
        user_assigned_id,
        client_options: ClientOptions {
            transport: Some(Transport::new(Arc::new(PlainHttp))),
            ..ClientOptions::default()
        },
    };
    Ok(ManagedIdentityCredential::new(Some(options))?)
}

/// The SDK's interface to HTTP clients, over hyper: this workspace builds the SDK without its own.
#[derive(Debug)]
struct PlainHttp;

#[async_trait::async_trait]
impl HttpClient for PlainHttp {
    async fn execute_request(&self, request: &Request) -> azure_core::Result<AsyncRawResponse> {
        let url = request.url();
        let authority = url.authority();
        let mut outgoing = hyper::Request::get(&url[Position::BeforePath..]);
        outgoing = outgoing.header(HOST, authority);
        for (name, value) in request.headers().iter() {
            outgoing = outgoing.header(name.as_str(), value.as_str());
        }
        let outgoing = outgoing.body(Empty::<Bytes>::new()).map_err(failed)?;
        let stream = TcpStream::connect(authority).await.map_err(failed)?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(failed)?;
        tokio::spawn(connection);
        let response = sender.send_request(outgoing).await.map_err(failed)?;
        let status = response.status().as_u16().into();
        let body = response.into_body().collect().await.map_err(failed)?;
        Ok(AsyncRawResponse::from_bytes(
            status,
            Headers::new(),
            body.to_bytes(),
        ))
    }
}

fn failed(error: impl Error + Send + Sync + 'static) -> azure_core::Error {
    azure_core::Error::new(ErrorKind::Io, error)
}

const IN_SOURCE: &str = "in-source";
const SCOPE: &str = "https://vault.azure.net/.default";
