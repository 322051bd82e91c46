//! The issuers' keys: in a file, and how old they are.
use crate::fixture::{Fixture, case, connect_unix, get, status, subrequest, table};
use crate::support::runtime;
use keybound_testing::attacks::TENANT;
use keybound_verify::DecisionLog;
use serde_json::Value;
use std::time::Duration;

#[test]
fn operators_get_the_age_of_keys() {
    runtime().block_on(async {
        let fixture = Fixture::new();
        fixture.replace(
            "tenants =",
            "cloud = \"public\"\nissuers = [{ version = 2, name = 'a\"\\{tenantid}', metadata = \"https://a/\" }]\ntenants =",
        );
        let mut file = table().issuer.key_file();
        let entries = file["issuers"].as_array_mut().unwrap();
        let mut further = entries[0].clone();
        further["issuer"] = format!("a\"\\{TENANT}").into();
        further["fetched_at"] = (table().issuer.now() - 7).into();
        entries.push(further);
        write(&fixture, &file);
        let daemon = fixture.start(DecisionLog::none()).await.unwrap();
        let (_, metrics) = get(&fixture.admin(), "GET", "/metrics").await;
        for (issuer, age) in [
            (format!("https://sts.windows.net/{TENANT}/"), 3600),
            (format!("https://login.microsoftonline.com/{TENANT}/v2.0"), 3600),
            (format!(r#"a\"\\{TENANT}"#), 7),
        ] {
            let line = format!(
                "keybound_verify_keys_age_seconds{{api=\"orders.contoso.com\",issuer=\"{issuer}\"}} {age}"
            );
            assert!(metrics.lines().any(|found| found == line), "{line}:\n{metrics}");
        }
        daemon.stop(Duration::ZERO).await;
    });
}

#[test]
fn old_keys_are_not_used() {
    runtime().block_on(async {
        let fixture = Fixture::new();
        write(&fixture, &fetched_before(86_400));
        let daemon = fixture.start(DecisionLog::none()).await.unwrap();
        assert!(!daemon.is_ready());
        let mut sender = connect_unix(&fixture.socket()).await;
        let request = subrequest(&case("version-2"), "orders.contoso.com");
        let (_, answer) = status(&mut sender, request).await;
        assert_eq!(answer.headers()["x-keybound-reason"], "keys_unavailable");
        let why = format!(
            "in the key file {} were fetched more than 24 h ago, and their max_age is 86400 s: does `keybound verify keys --watch` still write the file?",
            fixture.folder.path().join("keys.json").display()
        );
        // The request above has read the file.
        let (_, ready) = get(&fixture.admin(), "GET", "/readyz").await;
        assert!(ready.contains(&why), "{ready}");
        // Policies whose keys are too old do not replace others.
        let error = daemon.reload().await.unwrap_err().to_string();
        assert!(error.contains("orders.contoso.com (the keys of "), "{error}");
        assert!(error.contains("max_age is 86400 s"), "{error}");
        daemon.stop(Duration::ZERO).await;
        fixture.replace("[keys]\n", "[keys]\nmax_age = 90000\n");
        let daemon = fixture.start(DecisionLog::none()).await.unwrap();
        assert!(daemon.is_ready());
        daemon.stop(Duration::ZERO).await;
    });
}

#[test]
fn key_files_that_are_not_usable_are_refused() {
    runtime().block_on(async {
        let fixture = Fixture::new();
        let mut without = table().issuer.key_file();
        without["issuers"].as_array_mut().unwrap().remove(1);
        for (file, why) in [
            (
                table().issuer.key_set(),
                "is a JSON Web Key set, which says neither whose keys",
            ),
            (
                without,
                "has no keys of https://login.microsoftonline.com/72f988bf-86f1-41af-91ab-2d7cd011db47/v2.0",
            ),
            (fetched_before(-301), "were fetched in the future"),
        ] {
            write(&fixture, &file);
            let error = fixture.start(DecisionLog::none()).await.unwrap_err();
            assert!(error.to_string().contains(why), "{error}");
        }
        // Neither one that would block, nor one without an end.
        let file = fixture.folder.path().join("keys.json");
        for other in ["/dev/zero", "/"] {
            std::fs::remove_file(&file).unwrap();
            std::os::unix::fs::symlink(other, &file).unwrap();
            let error = fixture.start(DecisionLog::none()).await.unwrap_err();
            assert!(error.to_string().contains("not a regular file"), "{error}");
        }
    });
}

fn fetched_before(seconds: i64) -> Value {
    let mut file = table().issuer.key_file();
    for entry in file["issuers"].as_array_mut().unwrap() {
        entry["fetched_at"] = (table().issuer.now() - seconds).into();
    }
    file
}

fn write(fixture: &Fixture, file: &Value) {
    std::fs::write(fixture.folder.path().join("keys.json"), file.to_string()).unwrap();
}
