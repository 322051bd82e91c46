//! Settings of an API, and what it gets.
use crate::fixture::{Fixture, case, connect_unix, get, status, subrequest, table};
use crate::support::runtime;
use keybound_testing::attacks::TENANT;
use keybound_verify::DecisionLog;
use std::time::Duration;

#[test]
fn certificates_of_other_issuers_are_refused() {
    runtime().block_on(async {
        let fixture = Fixture::new();
        let file = fixture.folder.path().join("cas.pem");
        let write = |names: &[&str]| {
            let leaf = |name: &&str| table().issuer.certificates.leaf(name);
            let pem = names
                .iter()
                .map(|name| leaf(name).certificate.to_pem().unwrap());
            std::fs::write(&file, pem.collect::<Vec<_>>().concat()).unwrap();
        };
        fixture.replace(
            "tenants =",
            &format!("trusted_issuers = {file:?}\ntenants ="),
        );
        let missing = fixture.start(DecisionLog::none()).await.unwrap_err();
        let why = "the API orders.contoso.com: trusted_issuers";
        assert!(missing.to_string().contains(why), "{missing}");
        // A certificate that is in the list itself is trusted too.
        write(&["other", "client"]);
        let daemon = fixture.start(DecisionLog::none()).await.unwrap();
        let mut sender = connect_unix(&fixture.socket()).await;
        let owner = case("version-2");
        let request = || subrequest(&owner, "orders.contoso.com");
        assert_eq!(status(&mut sender, request()).await.0, 200);
        write(&["other"]);
        daemon.reload().await.unwrap();
        let (refused, answer) = status(&mut sender, request()).await;
        assert_eq!(refused, 401);
        let reason = &answer.headers()["x-keybound-reason"];
        assert_eq!(reason, "certificate_untrusted");
        // A broken file leaves the current policy.
        std::fs::write(&file, "no certificate").unwrap();
        let error = daemon.reload().await.unwrap_err().to_string();
        assert!(error.contains("are not certificates in PEM"), "{error}");
        let again = status(&mut sender, request()).await.1;
        assert_eq!(
            again.headers()["x-keybound-reason"],
            "certificate_untrusted"
        );
        daemon.stop(Duration::ZERO).await;
    });
}

#[test]
fn kind_of_caller_and_scopes_reach_the_api() {
    runtime().block_on(async {
        let fixture = Fixture::new();
        fixture.replace("tenants =", "scopes = [\"Orders.Read\"]\ntenants =");
        let daemon = fixture.start(DecisionLog::none()).await.unwrap();
        let mut sender = connect_unix(&fixture.socket()).await;
        let neither = "neither-roles-nor-scopes-where-that-is-enough";
        for (name, kind, scopes) in [
            (
                "user-with-the-required-scopes",
                "user",
                "Orders.Read Orders.Write",
            ),
            ("version-2", "app", ""),
            (neither, "", ""),
        ] {
            let request = subrequest(&case(name), "orders.contoso.com");
            let (allowed, answer) = status(&mut sender, request).await;
            assert_eq!(allowed, 200, "{name}");
            let headers = answer.headers();
            assert_eq!(headers["x-keybound-scopes"], scopes, "{name}");
            assert_eq!(headers["x-keybound-identity-type"], kind, "{name}");
        }
        daemon.stop(Duration::ZERO).await;
    });
}

#[test]
fn apis_share_the_memory_for_cached_tokens() {
    runtime().block_on(async {
        for (mib, apis, caches) in [(1, 1, true), (1, 32, true), (0, 32, false)] {
            let fixture = Fixture::new();
            let mut limits = format!("[limits]\ncache_mib = {mib}\n");
            for other in 1..apis {
                limits += &format!(
                    "[[api]]\nhosts = [\"{other}.contoso.com\"]\naudiences = [\"a\"]\ntenants = [\"{TENANT}\"]\n"
                );
            }
            fixture.replace("[[api]]", &(limits + "[[api]]"));
            let daemon = fixture.start(DecisionLog::none()).await.unwrap();
            let mut sender = connect_unix(&fixture.socket()).await;
            let request = subrequest(&case("version-2"), "orders.contoso.com");
            assert_eq!(status(&mut sender, request).await.0, 200);
            let (_, metrics) = get(&fixture.admin(), "GET", "/metrics").await;
            let none = "keybound_verify_cache_bytes{api=\"orders.contoso.com\"} 0\n";
            assert_eq!(!metrics.contains(none), caches, "{mib} {apis}: {metrics}");
            daemon.stop(Duration::ZERO).await;
        }
    });
}
