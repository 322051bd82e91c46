//! App registrations.
use crate::config::{App, Config, FederatedCredential};
use crate::entra::testing::TestServices;
use crate::pki::ServerIdentity;
use crate::server::testing::Received;
use keybound_core::{Guid, UnverifiedJwt, X5tS256};

const VAULT: &str = "https://vault.azure.net";
const EXCHANGE: &str = "api://AzureADTokenExchange";

/// An exchange: what differs from a valid one.
struct Exchange<'a> {
    services: &'a TestServices,
    pair: Option<&'a ServerIdentity>,
    assertion: String,
    bound_assertion: bool,
    bound: bool,
}

impl<'a> Exchange<'a> {
    /// A bound assertion of the system-assigned identity for a bound token.
    async fn bound(services: &'a TestServices, pair: &'a ServerIdentity) -> Self {
        Self {
            services,
            pair: Some(pair),
            assertion: services.bound_token(pair, EXCHANGE).await,
            bound_assertion: true,
            bound: true,
        }
    }

    /// A bearer assertion of the system-assigned identity for a bearer token.
    async fn bearer(services: &'a TestServices, pair: &ServerIdentity) -> Self {
        Self {
            services,
            pair: None,
            assertion: services.bearer_token(pair, EXCHANGE).await,
            bound_assertion: false,
            bound: false,
        }
    }

    async fn send(&self) -> Received {
        let tenant = &self.services.state.config.tenants[0];
        let kind = if self.bound_assertion {
            "pop"
        } else {
            "bearer"
        };
        let mut form = vec![
            ("client_id", tenant.apps[0].client_id.to_string()),
            ("grant_type", "client_credentials".to_owned()),
            ("scope", format!("{VAULT}/.default")),
            (
                "client_assertion_type",
                format!("urn:ietf:params:oauth:client-assertion-type:jwt-{kind}"),
            ),
            ("client_assertion", self.assertion.clone()),
        ];
        if self.bound {
            form.push(("token_type", "mtls_pop".to_owned()));
        }
        let services = self.services;
        services
            .post_form_to(tenant.id.as_str(), self.pair, &form)
            .await
    }

    async fn code(&self) -> u64 {
        let body = self.send().await.json();
        let description = body["error_description"].as_str().unwrap_or_default();
        assert!(!description.contains(&self.assertion), "{description}");
        body["error_codes"][0].as_u64().unwrap_or_default()
    }
}

#[tokio::test]
async fn exchanges_bound_and_bearer_assertions() {
    let services = TestServices::start().await;
    let pair = services.binding();
    let thumbprint = X5tS256::of_der(&pair.certificate.to_der().unwrap());
    let tenant = &services.state.config.tenants[0];
    let bound = Exchange::bound(&services, &pair).await;
    let bearer_result = Exchange {
        bound: false,
        ..Exchange::bound(&services, &pair).await
    };
    let bearer = Exchange::bearer(&services, &pair).await;
    for (exchange, token_type) in [
        (bound, "mtls_pop"),
        (bearer_result, "Bearer"),
        (bearer, "Bearer"),
    ] {
        let response = exchange.send().await;
        assert_eq!(response.status, 200, "{}", response.text());
        let body = response.json();
        assert_eq!(body["token_type"], token_type);
        let token = body["access_token"].as_str().unwrap();
        assert!(services.state.keys.entra.verifies(token));
        let jwt = UnverifiedJwt::parse(token).unwrap();
        let expected = (token_type == "mtls_pop").then_some(thumbprint.as_str());
        assert_eq!(jwt.confirmation(), expected);
        for (claim, value) in [
            ("aud", VAULT),
            ("appid", tenant.apps[0].client_id.as_str()),
            ("oid", tenant.apps[0].object_id.as_str()),
            ("tid", tenant.id.as_str()),
            (
                "iss",
                &super::issuer(&services.state, super::TokenVersion::V1, tenant.id.as_str()),
            ),
        ] {
            assert_eq!(jwt.text(claim), Some(value), "{claim}");
        }
    }
}

#[tokio::test]
async fn compares_assertion_with_federated_credentials() {
    let id = |text| Guid::parse(text).unwrap();
    let identity = |subject: &str, audience: &str, issuer: Option<&str>| {
        let mut credential =
            FederatedCredential::of_identity(&id("5a5a5a5a-0000-4000-8000-0000000000f1"));
        subject.clone_into(&mut credential.subject);
        audience.clone_into(&mut credential.audience);
        credential.issuer = issuer.map(str::to_owned);
        credential
    };
    let subject = "5a5a5a5a-0000-4000-8000-0000000000f1";
    for (credentials, code) in [
        (vec![], 70_025),
        (
            vec![identity(
                subject,
                EXCHANGE,
                Some("https://kubernetes.example"),
            )],
            700_211,
        ),
        (
            vec![identity(subject, "api://AzureADTokenExchangeChina", None)],
            700_212,
        ),
        (
            vec![identity(
                "5a5a5a5a-0000-4000-8000-0000000000f2",
                EXCHANGE,
                None,
            )],
            700_213,
        ),
        (
            vec![identity(&subject.to_uppercase(), EXCHANGE, None)],
            700_213,
        ),
        (
            vec![
                identity("x", EXCHANGE, None),
                identity(subject, EXCHANGE, None),
            ],
            0,
        ),
    ] {
        let mut config = Config::default();
        let app = &config.tenants[0].apps[0];
        let app = App::new(app.client_id.clone(), app.object_id.clone(), credentials);
        config.tenants[0].apps = vec![app];
        let services = TestServices::with(config).await;
        let pair = services.binding();
        assert_eq!(Exchange::bound(&services, &pair).await.code().await, code);
        assert_eq!(Exchange::bearer(&services, &pair).await.code().await, code);
    }
}

#[tokio::test]
async fn rejects_assertions_that_are_not_bound_to_the_certificate_of_the_connection() {
    let services = TestServices::start().await;
    let (pair, other) = (services.binding(), services.binding());
    let past_its_end = services.binding_with_token_not_after(-60);
    let bound = || Exchange::bound(&services, &pair);
    let bearer = || Exchange::bearer(&services, &pair);
    let user_assigned = services.binding_for(services.client_id(1), services.tenant(), (-60, 3600));
    let user_form: Vec<_> = services
        .form(EXCHANGE)
        .into_iter()
        .map(|(name, value)| match name {
            "client_id" => (name, services.client_id(1).to_owned()),
            _ => (name, value),
        })
        .collect();
    let of_other_identity = services
        .post_form(Some(&user_assigned), &user_form)
        .await
        .json();
    let of_other_identity = of_other_identity["access_token"]
        .as_str()
        .unwrap()
        .to_owned();
    let wrong_audience = services.bound_token(&pair, VAULT).await;
    for (exchange, code) in [
        (
            Exchange {
                pair: Some(&other),
                ..bound().await
            },
            500_181,
        ),
        (
            Exchange {
                pair: Some(&past_its_end),
                ..bound().await
            },
            1_000_901,
        ),
        (
            Exchange {
                pair: None,
                ..bound().await
            },
            392_200,
        ),
        (
            Exchange {
                bound_assertion: false,
                bound: false,
                ..bound().await
            },
            500_181,
        ),
        (
            Exchange {
                bound_assertion: false,
                ..bound().await
            },
            9_002_313,
        ),
        (
            Exchange {
                bound_assertion: true,
                pair: Some(&pair),
                ..bearer().await
            },
            500_181,
        ),
        (
            Exchange {
                assertion: of_other_identity,
                pair: Some(&user_assigned),
                ..bound().await
            },
            700_213,
        ),
        (
            Exchange {
                assertion: wrong_audience,
                ..bound().await
            },
            700_212,
        ),
        (
            Exchange {
                assertion: "x".to_owned(),
                ..bound().await
            },
            50_027,
        ),
        (
            Exchange {
                assertion: format!("{}A", bound().await.assertion),
                ..bound().await
            },
            50_027,
        ),
    ] {
        assert_eq!(exchange.code().await, code);
    }
}

#[tokio::test]
async fn rejects_expired_assertions_and_unknown_apps() {
    let services = TestServices::start().await;
    let pair = services.binding();
    services.fault("token=expired-token");
    let expired = Exchange::bearer(&services, &pair).await;
    assert_eq!(expired.code().await, 700_024);
    let exchange = Exchange::bearer(&services, &pair).await;
    let form = [
        ("client_id", services.client_id(0).to_owned()),
        ("grant_type", "client_credentials".to_owned()),
        ("scope", format!("{VAULT}/.default")),
        (
            "client_assertion_type",
            "urn:ietf:params:oauth:client-assertion-type:jwt-bearer".to_owned(),
        ),
        ("client_assertion", exchange.assertion.clone()),
    ];
    let app = services.state.config.tenants[0].apps[0]
        .client_id
        .to_string();
    let tenant = services.state.config.tenants[0].id.to_string();
    let of_app = [&[("client_id", app)][..], &form[1..]].concat();
    for (tenant, form) in [
        (tenant.as_str(), form.to_vec()),
        (services.tenant(), of_app),
    ] {
        let response = services.post_form_to(tenant, None, &form).await;
        assert_eq!(response.json()["error_codes"][0], 700_016);
    }
}
