//! App registrations with federated credentials, in the second tenant of the emulator.
use keybound::confidential::{
    AssertionRequest, ClientAssertion, ClientCredential, ConfidentialClientBuilder,
};
use keybound::http::ResourceClient;
use keybound::tls::TlsEngine;
use keybound::{
    AccessToken, ConfidentialClient, Environment, ErrorKind, KeyRequirements, ManagedIdentity,
    ManagedIdentityClient, Stage, TokenRequest, TokenSource, TokenType, blocking,
};
use keybound_emulator::Config;
use keybound_testing::emulated::{GRAPH, TestHost, VAULT, assert_failed, attested};
use std::sync::Arc;

/// A client of the app registration, whose assertions are tokens of this identity.
fn app(host: &TestHost, identity: &ManagedIdentityClient) -> ConfidentialClient {
    let credential = ClientCredential::managed_identity(identity);
    builder(host, credential).build().unwrap()
}

fn builder(host: &TestHost, credential: ClientCredential) -> ConfidentialClientBuilder {
    let config = Config::default();
    let tenant = &config.tenants[0];
    ConfidentialClient::builder(
        tenant.id.as_str(),
        tenant.apps[0].client_id.as_str(),
        credential,
    )
    .environment(Environment::empty())
    .authority(host.emulator.ready().sts.as_str())
}

fn assert_is_of_app(token: &AccessToken) {
    let config = Config::default();
    let (tenant, claims) = (&config.tenants[0], token.unverified_claims().unwrap());
    assert_eq!(claims.text("tid"), Some(tenant.id.as_str()));
    assert_eq!(
        claims.text("appid"),
        Some(tenant.apps[0].client_id.as_str())
    );
    assert_eq!(token.managed_identity_source(), None);
}

#[tokio::test]
async fn reads_a_secret_with_the_token_of_an_app_registration() {
    let host = TestHost::new();
    let identity = host.client();
    let app = app(&host, &identity);
    let vault = app.resource(VAULT, KeyRequirements::attested());
    let vault = vault.build().unwrap();
    for _ in 0..2 {
        let response = vault.get(host.secret_url()).send().await.unwrap();
        assert_eq!(response.status(), 200);
        assert_is_of_app(response.token());
        assert_eq!(response.token().token_type(), TokenType::MtlsPop);
    }
    assert_eq!((host.count("issue"), host.count("token")), (1, 2));
    let own = identity.acquire_token(&attested()).await.unwrap();
    let of_app = app.acquire_token(&attested()).await.unwrap();
    assert_eq!(of_app.source(), TokenSource::Cache);
    assert!(Arc::ptr_eq(
        own.binding().unwrap(),
        of_app.binding().unwrap()
    ));
    assert_ne!(own.secret(), of_app.secret());
}

#[tokio::test]
async fn a_claims_challenge_of_a_resource_reaches_the_exchange() {
    let host = TestHost::new();
    let vault = ResourceClient::new(&app(&host, &host.client()), attested()).unwrap();
    let claims = r#"{"access_token":{"acrs":{"essential":true,"value":"c1"}}}"#;
    host.inject(&format!("vault=claims-challenge:{claims}"));
    let response = vault.get(host.secret_url()).send().await.unwrap();
    assert_eq!(response.status(), 200);
    // With another assertion, of another certificate.
    assert_eq!((host.count("issue"), host.count("token")), (2, 4));
    let bearer = TokenRequest::bearer(GRAPH);
    let graph = ResourceClient::new(&app(&host, &host.client()), bearer).unwrap();
    host.inject(&format!("graph=claims-challenge:{claims}"));
    let response = graph.get(host.graph_url()).send().await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!((host.count("imds-token"), host.count("token")), (2, 6));
}

#[tokio::test]
async fn calls_graph_with_bearer_tokens_of_both_kinds_of_assertion() {
    let host = TestHost::new();
    let app = app(&host, &host.client());
    let over_mtls = TokenRequest::bearer_over_mtls(GRAPH, KeyRequirements::attested());
    for request in [TokenRequest::bearer(GRAPH), over_mtls] {
        let graph = ResourceClient::new(&app, request).unwrap();
        let response = graph.get(host.graph_url()).send().await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.token().token_type(), TokenType::Bearer);
        assert_is_of_app(response.token());
    }
    assert_eq!((host.count("imds-token"), host.count("token")), (1, 3));
}

#[tokio::test]
async fn exchanges_the_assertion_of_aks_workload_identity() {
    let host = TestHost::new();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("token");
    // A token of the identity stands for one of a service account.
    let identity = host.client();
    let assertion = identity.bearer_token("api://AzureADTokenExchange");
    let assertion = assertion.await.unwrap();
    std::fs::write(&path, assertion.secret().expose()).unwrap();
    let config = Config::default();
    let (tenant, authority) = (&config.tenants[0], host.emulator.ready().sts.clone());
    let variables = [
        ("AZURE_TENANT_ID", tenant.id.to_string()),
        ("AZURE_CLIENT_ID", tenant.apps[0].client_id.to_string()),
        (
            "AZURE_FEDERATED_TOKEN_FILE",
            path.to_str().unwrap().to_owned(),
        ),
        ("AZURE_AUTHORITY_HOST", authority),
    ];
    let environment = |missing: &str| {
        Environment::from_lookup(|name| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found
                .filter(|(name, _)| *name != missing)
                .map(|(_, value)| value.clone())
        })
    };
    let app = ConfidentialClient::workload_identity(environment("")).unwrap();
    let app = app.trust(host.trust()).tls_engine(TlsEngine::OpenSsl);
    let app = blocking::ConfidentialClient::new(app.build().unwrap());
    let (app, token) = tokio::task::spawn_blocking(move || {
        let token = app.bearer_token(GRAPH);
        (app, token)
    })
    .await
    .unwrap();
    assert_is_of_app(&token.unwrap());
    let cached = app.cached_token(&TokenRequest::bearer(GRAPH));
    assert_eq!(cached.unwrap().source(), TokenSource::Cache);
    assert_eq!(host.count("token"), 1);
    for missing in [
        "AZURE_TENANT_ID",
        "AZURE_CLIENT_ID",
        "AZURE_FEDERATED_TOKEN_FILE",
    ] {
        let error = ConfidentialClient::workload_identity(environment(missing)).unwrap_err();
        assert_failed(&error, ErrorKind::InvalidRequest, Stage::Request);
        assert!(error.to_string().contains(missing), "{error}");
    }
}

/// A client whose assertions a function acquires from this identity.
fn of_function(host: &TestHost, identity: &ManagedIdentityClient) -> ConfidentialClientBuilder {
    let identity = identity.clone();
    let credential = ClientCredential::callback(move |request: AssertionRequest| {
        let identity = identity.clone();
        async move {
            let requirements = request.requirements.unwrap();
            let token = identity.pop_token(&request.audience, requirements).await?;
            Ok::<_, keybound::Error>(ClientAssertion::from(token))
        }
    });
    builder(host, credential).tls_engine(TlsEngine::OpenSsl)
}

#[tokio::test]
async fn exchanges_the_assertion_of_a_function() {
    let host = TestHost::new();
    let app = of_function(&host, &host.client()).trust(host.trust());
    let vault = ResourceClient::new(&app.build().unwrap(), attested()).unwrap();
    let response = vault.get(host.secret_url()).send().await.unwrap();
    assert_eq!(response.status(), 200);
    assert_is_of_app(response.token());
}

#[tokio::test]
async fn connections_with_a_functions_certificate_have_the_clients_own_settings() {
    let host = TestHost::new();
    let identity = host.client();
    // The identity's client trusts the emulator, this one does not.
    let untrusting = of_function(&host, &identity).build().unwrap();
    let error = untrusting.acquire_token(&attested()).await.unwrap_err();
    assert_failed(&error, ErrorKind::ServerCertificateInvalid, Stage::Exchange);
    let trusting = of_function(&host, &identity).trust(host.trust());
    let trusting = trusting.build().unwrap();
    let vault = trusting.acquire_token(&attested()).await.unwrap();
    let graph = trusting.pop_token(GRAPH, KeyRequirements::attested());
    let graph = graph.await.unwrap();
    let own = identity.acquire_token(&attested()).await.unwrap();
    let [vault, graph, own] = [&vault, &graph, &own].map(|token| token.binding().unwrap());
    assert_eq!(vault.certificate(), own.certificate());
    // Not those of the identity's client, and one pool for all tokens.
    assert!(!Arc::ptr_eq(vault, own) && Arc::ptr_eq(vault, graph));
}

#[tokio::test]
async fn entra_refuses_assertions_of_other_identities() {
    let host = TestHost::new();
    let config = Config::default();
    let other = ManagedIdentity::client_id(config.identities[1].client_id.as_str()).unwrap();
    let other = host.builder().identity(other).build().unwrap();
    let app = app(&host, &other);
    for request in [attested(), TokenRequest::bearer(GRAPH)] {
        let error = app.acquire_token(&request).await.unwrap_err();
        assert_failed(&error, ErrorKind::AssertionRejected, Stage::Exchange);
        assert!(error.service().unwrap().has_code(700_213), "{error:?}");
    }
}

#[tokio::test]
async fn bound_or_error_for_tokens_of_app_registrations() {
    let host = TestHost::new();
    let identity = host.client();
    let app = app(&host, &identity);
    // The assertion is cached: the faults are those of the exchange.
    let exchange = TokenRequest::pop("api://AzureADTokenExchange", KeyRequirements::attested());
    identity.acquire_token(&exchange).await.unwrap();
    for (fault, kind) in [
        ("no-cnf", ErrorKind::TokenNotBound),
        ("other-cnf", ErrorKind::BindingMismatch),
        ("token-type:Bearer", ErrorKind::TokenTypeMismatch),
        ("other-client", ErrorKind::IdentityMismatch),
        ("expired-token", ErrorKind::InvalidResponse),
        ("aadsts:392196", ErrorKind::BoundTokensNotAccepted),
    ] {
        host.inject(&format!("token={fault}"));
        let error = app.acquire_token(&attested()).await.unwrap_err();
        assert_failed(&error, kind, Stage::Exchange);
    }
    assert!(app.acquire_token(&attested()).await.is_ok());
}

#[test]
fn settings_of_connections_are_those_of_the_identity() {
    let identity = ManagedIdentityClient::builder()
        .environment(Environment::empty())
        .build()
        .unwrap();
    let id = "11111111-2222-3333-4444-555555555555";
    let builder = |tenant, client| {
        let credential = ClientCredential::managed_identity(&identity);
        ConfidentialClient::builder(tenant, client, credential).environment(Environment::empty())
    };
    assert!(builder(id, id).build().is_ok());
    let elsewhere = builder(id, id).tls_engine(TlsEngine::OpenSsl);
    for (builder, part) in [
        (elsewhere, "`tls_engine`"),
        (builder("contoso", id), "tenant"),
        (builder(id, "contoso"), "client id"),
        (
            builder(id, id).authority("http://login.example"),
            "not https",
        ),
        (
            builder(id, id)
                .authority("https://login.example")
                .cloud(keybound::confidential::Cloud::China),
            "cloud",
        ),
        (builder(id, id).region("West US"), "region"),
    ] {
        let error = builder.build().unwrap_err();
        assert_failed(&error, ErrorKind::InvalidRequest, Stage::Request);
        assert!(error.to_string().contains(part), "{error}");
    }
}
