//! Keys that issuers publish, by a fake issuer.
use crate::fixture::{Fixture, case, connect_unix, get, status, subrequest, table};
use crate::support::runtime;
use http::StatusCode;
use keybound_resource::{FetchError, FetchFuture, KeyFetcher, Keys};
use keybound_testing::Authority;
use keybound_testing::attacks::{OTHER_TENANT, published};
use keybound_verify::{Daemon, DecisionLog};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Such as one that removes a client, while the issuer does not respond.
#[test]
fn reload_changes_the_policy_while_the_issuer_does_not_respond() {
    runtime().block_on(async {
        let (fixture, issuer, daemon) = started("").await;
        let owner = case("version-2");
        let mut sender = connect_unix(&fixture.socket()).await;
        let request = || subrequest(&owner, "orders.contoso.com");
        assert_eq!(status(&mut sender, request()).await.0, 200);
        assert_eq!(issuer.fetches(), 4, "two documents of two versions");
        issuer.set_missing("");
        fixture.replace("tenants =", "roles = [\"None.Has.It\"]\ntenants =");
        daemon.reload().await.unwrap();
        assert_eq!(status(&mut sender, request()).await.0, 403);
        assert_eq!(issuer.fetches(), 0);
        daemon.stop(Duration::ZERO).await;
    });
}

/// The keys that a server of the previous CA has published are no longer used.
#[test]
fn reload_fetches_keys_again_if_the_content_of_the_ca_file_changed() {
    runtime().block_on(async {
        let fixture = fixture();
        let ca = fixture.folder.path().join("ca.pem");
        let authorities = ["first", "second"].map(|name| Authority::new(name).pem());
        std::fs::write(&ca, &authorities[0]).unwrap();
        fixture.replace("[log]", &format!("[keys]\nca_file = {ca:?}\n[log]"));
        let issuer = FakeIssuer::default();
        let daemon = start(&fixture, &issuer).await;
        assert_eq!(issuer.fetches(), 4, "two documents of two versions");
        daemon.reload().await.unwrap();
        assert_eq!(issuer.fetches(), 0);
        std::fs::write(&ca, &authorities[1]).unwrap();
        daemon.reload().await.unwrap();
        assert_eq!(issuer.fetches(), 4);
        std::fs::write(&ca, "-----BEGIN CERTIFICATE-----").unwrap();
        let error = daemon.reload().await.unwrap_err().to_string();
        assert!(
            error.contains("[keys]: ca_file /") && error.contains("ca.pem: "),
            "{error}"
        );
        assert!(daemon.is_ready());
        daemon.stop(Duration::ZERO).await;
    });
}

#[test]
fn apis_share_the_keys_of_their_issuers() {
    runtime().block_on(async {
        let (_fixture, issuer, daemon) = started(
            "[[api]]\nhosts = [\"other.test\"]\naudiences = [\"api://other\"]\ntenants = [\"72f988bf-86f1-41af-91ab-2d7cd011db47\"]\n",
        )
        .await;
        assert_eq!(issuer.fetches(), 4, "two documents of two versions");
        daemon.stop(Duration::ZERO).await;
    });
}

#[test]
fn tenant_that_no_longer_exists_is_named_and_does_not_stop_the_others() {
    runtime().block_on(async {
        let fixture = fixture();
        fixture.replace("tenants = [", &format!("tenants = [\"{OTHER_TENANT}\", "));
        let issuer = FakeIssuer::default();
        issuer.set_missing(OTHER_TENANT);
        let daemon = start(&fixture, &issuer).await;
        let (ready, text) = get(&fixture.admin(), "GET", "/readyz").await;
        assert_eq!(ready, StatusCode::OK, "{text}");
        let metadata = format!("{HOST}/{OTHER_TENANT}{METADATA}");
        assert!(text.contains(&format!(
            "the keys of {metadata} could not be loaded: not found"
        )));
        let mut sender = connect_unix(&fixture.socket()).await;
        let request = subrequest(&case("version-2"), "orders.contoso.com");
        assert_eq!(status(&mut sender, request).await.0, 200);
        let (_, metrics) = get(&fixture.admin(), "GET", "/metrics").await;
        let name = format!("{HOST}/{OTHER_TENANT}/v2.0");
        for line in [
            format!("keybound_verify_keys_usable{{issuer=\"{name}\"}} 0\n"),
            format!(
                "keybound_verify_key_refreshes_total{{issuer=\"{name}\",outcome=\"failed\"}} 1\n"
            ),
        ] {
            assert!(metrics.contains(&line), "{metrics}");
        }
        assert_eq!(
            metrics.matches("keybound_verify_keys_age_seconds{").count(),
            2
        );
        daemon.reload().await.unwrap();
        daemon.stop(Duration::ZERO).await;
    });
}

async fn started(more: &str) -> (Fixture, FakeIssuer, Daemon) {
    let fixture = fixture();
    *fixture.config.lock().unwrap() += more;
    let issuer = FakeIssuer::default();
    let daemon = start(&fixture, &issuer).await;
    (fixture, issuer, daemon)
}

/// Without a file of keys.
fn fixture() -> Fixture {
    let fixture = Fixture::new();
    let keys = fixture.folder.path().join("keys.json");
    fixture.replace(&format!("[keys]\nfile = {keys:?}\n"), "");
    fixture
}

/// Ready.
async fn start(fixture: &Fixture, issuer: &FakeIssuer) -> Daemon {
    let fetcher = issuer.clone();
    let settings = move |builder: keybound_resource::VerifierBuilder| {
        builder.keys(Keys::discovered(fetcher.clone()))
    };
    let daemon = fixture
        .start_with(DecisionLog::none(), settings)
        .await
        .unwrap();
    while !daemon.is_ready() {
        tokio::task::yield_now().await;
    }
    daemon
}

/// The documents of each tenant of Entra.
#[derive(Clone, Default)]
struct FakeIssuer(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    fetches: usize,
    /// A part of the URLs that are not found.
    missing: Option<String>,
}

impl FakeIssuer {
    fn set_missing(&self, part: &str) {
        self.0.lock().unwrap().missing = Some(part.to_owned());
    }

    /// The number of fetches since the last call.
    fn fetches(&self) -> usize {
        std::mem::take(&mut self.0.lock().unwrap().fetches)
    }
}

impl KeyFetcher for FakeIssuer {
    fn fetch<'a>(&'a self, url: &'a str) -> FetchFuture<'a> {
        let mut inner = self.0.lock().unwrap();
        inner.fetches += 1;
        let is_missing = inner
            .missing
            .as_ref()
            .is_some_and(|part| url.contains(part));
        Box::pin(async move {
            if is_missing {
                return Err(FetchError::new("not found"));
            }
            let document = published(url, &table().issuer.key_set());
            Ok(document.to_string().into_bytes())
        })
    }
}

const HOST: &str = "https://login.microsoftonline.com";
const METADATA: &str = "/.well-known/openid-configuration";
