//! Handlers of axum that require a right, called with callers that a test makes.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use axum::body::Body;
use axum::routing::get;
use axum::{Extension, Router};
use http::{Request, Response};
use keybound_resource::axum::{Authenticated, RequireRole, RequireScope, Role, Scope};
use keybound_resource::test_util::TestCaller;
use keybound_resource::{Caller, Guid, Reason};
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};
use tower_service::Service as _;

struct ReadOrders;

impl Role for ReadOrders {
    const NAME: &'static str = "Orders.Read.All";
}

struct WriteOrders;

impl Scope for WriteOrders {
    const NAME: &'static str = "Orders.Write";
}

#[tokio::test]
async fn handlers_require_a_role_or_a_scope() {
    let application = TestCaller::application(tenant(), "client");
    let user = |scopes: &[&'static str]| {
        TestCaller::user(tenant(), "client", scopes.iter().copied()).build()
    };
    for (caller, role, scope) in [
        (application.clone().build(), 403, 403),
        (
            application.clone().roles(["Orders.Read.All"]).build(),
            200,
            403,
        ),
        // Roles and scopes are compared exactly, and a role is no scope.
        (
            application
                .roles(["Orders.Read", "orders.read.all", "Orders.Write"])
                .build(),
            403,
            403,
        ),
        (user(&["Orders.Write"]), 403, 200),
        (user(&["Orders.Read", "Orders.Write"]), 403, 200),
        (
            user(&["Orders.Write.All", "orders.write", "Orders.Read.All"]),
            403,
            403,
        ),
        (user(&[]), 403, 403),
    ] {
        for (path, status, reason, description) in [
            (
                "/role",
                role,
                Reason::RoleMissing,
                "the token lacks a required role",
            ),
            (
                "/scope",
                scope,
                Reason::ScopeMissing,
                "the token lacks a required scope",
            ),
        ] {
            let response = call(path, &caller).await;
            assert_eq!(response.status(), status, "{path} {caller:?}");
            if status == 403 {
                assert_eq!(response.extensions().get(), Some(&reason));
                let challenge = format!(
                    "mtls_pop realm=\"\", error=\"insufficient_scope\", error_description=\"{description}\""
                );
                assert_eq!(response.headers()["www-authenticate"], challenge);
            }
        }
        assert_eq!(call("/any", &caller).await.status(), 200);
    }
}

#[tokio::test]
async fn handlers_without_a_caller_fail() {
    for path in ["/role", "/scope", "/any"] {
        let request = Request::get(path).body(Body::empty()).unwrap();
        let response = app().call(request).await.unwrap();
        assert_eq!(response.status(), 500, "{path}");
    }
}

#[test]
fn test_caller_has_what_was_set() {
    let object = Guid::parse("5e2b0a5e-3f0f-4a55-8f3c-0d5a4d3b9c11").unwrap();
    let time = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
    let caller = TestCaller::user(tenant(), "client", ["a", "b"])
        .object(object.clone())
        .token_id("uti")
        .resource_id("/subscriptions/1")
        .audience("api://orders")
        .supports_claims_challenges(true)
        .issued_at(time(1000))
        .expires(time(2000))
        .build();
    assert_eq!((caller.tenant(), caller.client()), (&tenant(), "client"));
    assert_eq!(caller.object(), Some(&object));
    assert_eq!(caller.scopes().collect::<Vec<_>>(), ["a", "b"]);
    assert!(caller.is_user() && !caller.is_app_only());
    assert_eq!(caller.token_id(), Some("uti"));
    assert_eq!(caller.resource_id(), Some("/subscriptions/1"));
    assert_eq!(caller.audience(), "api://orders");
    assert!(caller.supports_claims_challenges());
    assert_eq!(caller.issued_at(), Some(time(1000)));
    assert_eq!(caller.expires(), time(2000));
    let application = TestCaller::application(tenant(), "client").build();
    assert!(application.is_app_only() && !application.is_user());
}

async fn call(path: &str, caller: &Arc<Caller>) -> Response<Body> {
    let mut app = app().layer(Extension(Arc::clone(caller)));
    let request = Request::get(path).body(Body::empty()).unwrap();
    app.call(request).await.unwrap()
}

fn app() -> Router {
    Router::new()
        .route("/role", get(async |_: RequireRole<ReadOrders>| "role"))
        .route("/scope", get(async |_: RequireScope<WriteOrders>| "scope"))
        .route("/any", get(async |_: Authenticated| "any"))
}

fn tenant() -> Guid {
    Guid::parse("72f988bf-86f1-41af-91ab-2d7cd011db47").unwrap()
}
