//! New configurations while the daemon runs.
use crate::clients::Clients;
use crate::fixture::{Fixture, case, connect_unix, get, status, subrequest};
use crate::support::runtime;
use http::StatusCode;
use keybound_verify::{Config, DecisionLog, LoadError};
use std::time::Duration;

#[test]
fn reload_replaces_policies_on_open_connections() {
    runtime().block_on(async {
        let fixture = Fixture::new();
        let daemon = fixture.start(DecisionLog::none()).await.unwrap();
        let mut sender = connect_unix(&fixture.socket()).await;
        let owner = case("version-2");
        let request = || subrequest(&owner, "orders.contoso.com");
        assert_eq!(status(&mut sender, request()).await.0, 200);
        // A role that the token does not have.
        fixture.replace("tenants =", "roles = [\"Orders.Admin\"]\ntenants =");
        daemon.reload().await.unwrap();
        assert_eq!(status(&mut sender, request()).await.0, 403);
        fixture.replace("roles = [\"Orders.Admin\"]\n", "");
        fixture.replace("orders.contoso.com", "billing.contoso.com");
        // By its address for operators too.
        let (reloaded, text) = get(&fixture.admin(), "POST", "/reload").await;
        assert_eq!((reloaded, &*text), (StatusCode::OK, "reloaded\n"));
        assert_eq!(status(&mut sender, request()).await.0, 403);
        let other = subrequest(&owner, "billing.contoso.com");
        assert_eq!(status(&mut sender, other).await.0, 200);
        daemon.stop(Duration::ZERO).await;
    });
}

/// `KEYBOUND_LONG_TESTS`: for two thousand reloads.
#[test]
fn reloads_under_load_refuse_no_request() {
    runtime().block_on(async {
        let fixture = Fixture::new();
        let daemon = fixture.start(DecisionLog::none()).await.unwrap();
        let reloads = match std::env::var_os("KEYBOUND_LONG_TESTS") {
            Some(_) => 2000,
            None => 20,
        };
        let clients = Clients::start(fixture.socket(), async |mut sender| {
            let request = subrequest(&case("version-2"), "orders.contoso.com");
            assert_eq!(status(&mut sender, request).await.0, 200);
            sender
        });
        let clients = clients.await;
        for reload in 0..reloads {
            // Every third one is not usable.
            let sound = fixture.config.lock().unwrap().clone();
            if reload % 3 == 2 {
                fixture.replace("tenants", "tenant");
            }
            assert_eq!(daemon.reload().await.is_ok(), reload % 3 != 2);
            *fixture.config.lock().unwrap() = sound;
            tokio::task::yield_now().await;
        }
        clients.stop().await;
        daemon.stop(Duration::ZERO).await;
    });
}

#[test]
fn configuration_that_is_not_usable_leaves_the_current_one() {
    runtime().block_on(async {
        let fixture = Fixture::new();
        let daemon = fixture.start(DecisionLog::none()).await.unwrap();
        let mut sender = connect_unix(&fixture.socket()).await;
        let owner = case("version-2");
        let sound = fixture.config.lock().unwrap().clone();
        for (from, to, why) in [
            ("tenants", "tenant", "unknown field `tenant`"),
            (
                "verify.sock",
                "other.sock",
                "a change of [listen] needs a restart",
            ),
            (
                "\"nginx\"",
                "\"caddy\"",
                "a change of [proxy] needs a restart",
            ),
            ("\"all\"", "\"none\"", "a change of [log] needs a restart"),
            ("keys.json", "none.json", "cannot be read"),
            (
                "[[api]]",
                "[limits]\nconnections = 2\n[[api]]",
                "[limits] needs a restart",
            ),
        ] {
            fixture.replace(from, to);
            let error = daemon.reload().await.unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
            let request = subrequest(&owner, "orders.contoso.com");
            assert_eq!(status(&mut sender, request).await.0, 200, "{why}");
            fixture.config.lock().unwrap().clone_from(&sound);
        }
        fixture.replace("tenants", "tenant");
        let config = Config::from_toml(&sound).unwrap();
        let reloaded = keybound_verify::request_reload(&config, |_| {}).await;
        let error = reloaded.unwrap_err();
        let why = "unknown field `tenant`";
        assert!(error.to_string().contains(why), "{error}");
        fixture.config.lock().unwrap().clone_from(&sound);
        // Without the pause that follows a request.
        daemon.reload().await.unwrap();
        let (_, metrics) = get(&fixture.admin(), "GET", "/metrics").await;
        for line in [
            "keybound_verify_reloads_total{outcome=\"succeeded\"} 1\n",
            "keybound_verify_reloads_total{outcome=\"failed\"} 7\n",
        ] {
            assert!(metrics.contains(line), "{metrics}");
        }
        daemon.stop(Duration::ZERO).await;
    });
}

#[test]
fn new_policies_without_keys_leave_the_current_ones() {
    runtime().block_on(async {
        let fixture = Fixture::new();
        let daemon = fixture.start(DecisionLog::none()).await.unwrap();
        assert!(daemon.is_ready());
        // Nothing listens on this port.
        let keys = fixture.folder.path().join("keys.json");
        fixture.replace(&format!("[keys]\nfile = {keys:?}\n"), "");
        fixture.replace(
            "tenants =",
            "issuers = [{ version = 2, name = \"https://a/{tenantid}\", metadata = \"https://127.0.0.1:9/\" }]\ntenants =",
        );
        let error = daemon.reload().await.unwrap_err();
        let LoadError::KeysUnavailable(missing) = error else {
            panic!("{error}");
        };
        let cause = "orders.contoso.com (the keys of https://127.0.0.1:9/ could not be loaded: ";
        assert!(missing.starts_with(cause), "{missing}");
        assert!(daemon.is_ready());
        daemon.stop(Duration::ZERO).await;
        // At the start it waits for them: it is not ready, and denies.
        let waiting = fixture.start(DecisionLog::none()).await.unwrap();
        assert!(!waiting.is_ready());
        let (ready, text) = get(&fixture.admin(), "GET", "/readyz").await;
        assert_eq!(ready, StatusCode::SERVICE_UNAVAILABLE);
        assert!(text.starts_with("not ready\nthe keys of https://"), "{text}");
        let (healthy, _) = get(&fixture.admin(), "GET", "/healthz").await;
        assert_eq!(healthy, StatusCode::OK);
        waiting.stop(Duration::ZERO).await;
    });
}
