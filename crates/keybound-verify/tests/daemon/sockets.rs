//! Where the daemon listens, and who may connect.
use crate::fixture::{Fixture, case, connect_unix, status, subrequest};
use crate::support::runtime;
use keybound_verify::DecisionLog;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::time::Duration;

#[test]
fn socket_has_its_permissions_and_replaces_only_a_stale_one() {
    runtime().block_on(async {
        let fixture = Fixture::new();
        fixture.replace("[proxy]", "mode = 0o600\n[proxy]");
        let daemon = fixture.start(DecisionLog::none()).await.unwrap();
        let file = std::fs::symlink_metadata(fixture.socket()).unwrap();
        assert!(file.file_type().is_socket());
        assert_eq!(file.permissions().mode() & 0o777, 0o600);
        let second = fixture.start(DecisionLog::none()).await.unwrap_err();
        assert!(
            second.to_string().contains("another process listens"),
            "{second}"
        );
        assert!(fixture.socket().exists());
        daemon.stop(Duration::ZERO).await;
        assert!(!fixture.socket().exists());
        // As a process that is killed leaves it.
        drop(std::os::unix::net::UnixListener::bind(fixture.socket()).unwrap());
        let daemon = fixture.start(DecisionLog::none()).await.unwrap();
        let mut sender = connect_unix(&fixture.socket()).await;
        let request = subrequest(&case("version-2"), "orders.contoso.com");
        assert_eq!(status(&mut sender, request).await.0, 200);
        daemon.stop(Duration::ZERO).await;
        std::fs::write(fixture.socket(), "data").unwrap();
        let file = fixture.start(DecisionLog::none()).await.unwrap_err();
        assert!(file.to_string().contains("not a socket"), "{file}");
        assert_eq!(std::fs::read(fixture.socket()).unwrap(), b"data");
    });
}

#[test]
fn missing_directory_is_named() {
    runtime().block_on(async {
        let fixture = Fixture::new();
        let folder = fixture.folder.path().join("missing");
        let socket = format!("{:?}", fixture.socket());
        fixture.replace(&socket, &format!("{:?}", folder.join("verify.sock")));
        let error = fixture.start(DecisionLog::none()).await.unwrap_err();
        let why = format!(
            "the directory {} does not exist: create it",
            folder.display()
        );
        assert!(error.to_string().contains(&why), "{error}");
    });
}

#[test]
fn socket_of_a_live_process_and_links_are_not_replaced() {
    runtime().block_on(async {
        let fixture = Fixture::new();
        // It listens, accepts nothing, and its queue is full.
        let listener = std::os::unix::net::UnixListener::bind(fixture.socket()).unwrap();
        let mut waiting = Vec::new();
        while let Ok(stream) = tokio::net::UnixStream::connect(fixture.socket()).await {
            waiting.push(stream);
        }
        let live = fixture.start(DecisionLog::none()).await.unwrap_err();
        let why = "another process listens";
        assert!(live.to_string().contains(why), "{live}");
        drop(listener);
        let other = fixture.folder.path().join("other.sock");
        std::fs::rename(fixture.socket(), &other).unwrap();
        std::os::unix::fs::symlink(&other, fixture.socket()).unwrap();
        let link = fixture.start(DecisionLog::none()).await.unwrap_err();
        assert!(link.to_string().contains("not a socket"), "{link}");
        // Nothing else is left behind.
        let mut names: Vec<_> = std::fs::read_dir(fixture.folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        names.sort();
        assert_eq!(names, ["keys.json", "other.sock", "verify.sock"]);
    });
}
