use crate::api::{Api, REACHED};
use crate::client::Client;
use crate::engine::{ENVOY, Engine, EngineKind, NGINX};
use crate::support::lines::{Lines, next};
use http::HeaderMap;
use http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use keybound::http::ResourceClient;
use keybound::{KeyRequirements, TokenRequest};
use keybound_core::UnverifiedJwt;
use keybound_testing::Authority;
use keybound_testing::emulated::TestHost;
use keybound_verify::{Config, Daemon, DecisionLog, LoggedDecisions};
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Duration;

/// The client of this project, a proxy, the daemon with keys of the emulated Entra, and an API that sees who called.
#[test]
fn resource_client_reaches_api_through_envoy_and_thief_does_not() {
    owner_and_thief(&ENVOY);
}

#[test]
fn resource_client_reaches_api_through_nginx_and_thief_does_not() {
    owner_and_thief(&NGINX);
}

fn owner_and_thief(kind: &EngineKind) {
    let host = TestHost::lenient();
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("entra.pem"), host.emulator.ca_pem()).unwrap();
    let config = Config::from_toml(&configuration(kind, &host, folder.path())).unwrap();
    let (output, lines) = channel();
    let runtime = crate::support::runtime();
    runtime.block_on(async {
        let log = DecisionLog::new(LoggedDecisions::All, Lines(output)).unwrap();
        let again = config.clone();
        let load = move || Ok(again.clone());
        let extend = Arc::new(|_: &str, builder| builder);
        let daemon = Daemon::start(config.clone(), log, extend, load)
            .await
            .unwrap();
        let ready = async {
            while !daemon.is_ready() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        // A busy machine needs more than one attempt to fetch the keys.
        tokio::time::timeout(START, ready).await.unwrap();
        let api = Api::start().await;
        let path = folder.path().to_owned();
        let engine = Engine::start(kind, &path, &config, api.address);
        let trust = host.trust().with_pem(&engine.ca_pem).unwrap();
        let client = host.builder().trust(trust).build().unwrap();
        let request = TokenRequest::pop(RESOURCE, KeyRequirements::attested());
        let resource = ResourceClient::new(&client, request).unwrap();
        let url = format!("https://localhost:{}/orders", engine.address.port());
        let response = resource.get(&url).send().await.unwrap();
        assert_eq!(response.status(), 200);
        let authorization = response.token().authorization().expose().to_owned();
        let body = response.text().await.unwrap();
        assert!(body.starts_with(REACHED), "{body}");
        let token = authorization.rsplit(' ').next().unwrap();
        let claims = UnverifiedJwt::parse(token).unwrap();
        let client_id = claims.text("azp").or(claims.text("appid")).unwrap();
        assert!(
            body.contains(&format!("x-keybound-client: {client_id}\n")),
            "{body}"
        );
        assert!(!body.contains(token), "{body}");
        let line = next(&lines);
        assert_eq!(line["decision"], "allowed");
        assert_eq!(line["client"], client_id);

        // The same token on a connection with another certificate.
        let thief = Authority::new("thieves").server("thief");
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, authorization.parse().unwrap());
        let mut stolen = Client::new(engine.address);
        let refused = stolen
            .send("localhost", ("thief", Some(&thief)), "/orders", &headers)
            .await
            .unwrap();
        assert_eq!(refused.status(), 401);
        let challenge = refused.headers()[WWW_AUTHENTICATE].to_str().unwrap();
        assert!(
            challenge.contains("the token is bound to another certificate"),
            "{challenge}"
        );
        assert!(!refused.body().contains(REACHED));
        let line = next(&lines);
        assert_eq!(line["reason"], "binding_mismatch");
        drop(engine);
        daemon.stop(Duration::ZERO).await;
    });
}

fn configuration(kind: &EngineKind, host: &TestHost, folder: &std::path::Path) -> String {
    let ca_file = folder.join("entra.pem");
    let tenant = keybound_emulator::Config::default().tenant_id;
    [
        ("@FOLDER@", folder.to_str().unwrap()),
        ("@ENGINE@", kind.name),
        ("@CA_FILE@", ca_file.to_str().unwrap()),
        ("@AUDIENCE@", RESOURCE),
        ("@TENANT@", tenant.as_str()),
        ("@STS@", host.emulator.ready().sts.trim_end_matches('/')),
    ]
    .into_iter()
    .fold(
        include_str!("policy.toml").to_owned(),
        |text, (name, value)| text.replace(name, value),
    )
}

const RESOURCE: &str = "api://orders";
const START: Duration = Duration::from_secs(120);
