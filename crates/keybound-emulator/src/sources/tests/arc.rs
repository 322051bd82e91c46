use super::*;
use crate::config::ArcConfig;
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// An emulator whose key files are in a directory of the test.
fn with_folder() -> (TempDir, Config) {
    let folder = tempfile::tempdir().unwrap();
    let mut config = Config::default();
    config.arc.tokens_dir = Some(folder.path().join("tokens"));
    (folder, config)
}

async fn arc(state: &Arc<State>, parameters: &str, authorization: Option<&str>) -> JsonResponse {
    let target = format!(
        "/metadata/identity/oauth2/token?api-version=2020-06-01&resource={VAULT}{parameters}"
    );
    let mut request = Request::get(target).header("metadata", "true");
    if let Some(authorization) = authorization {
        request = request.header("authorization", authorization);
    }
    send(state, Service::Arc, request.body(Bytes::new()).unwrap()).await
}

/// The path in a challenge.
fn challenged(response: &JsonResponse) -> PathBuf {
    assert_eq!(response.status, 401, "{response:?}");
    let header = response.headers["www-authenticate"].to_str().unwrap();
    header.strip_prefix("Basic realm=").unwrap().into()
}

fn content(path: &Path) -> String {
    format!("Basic {}", fs::read_to_string(path).unwrap())
}

fn names(folder: &Path) -> usize {
    fs::read_dir(folder).unwrap().count()
}

#[tokio::test]
async fn authorizes_with_the_content_of_the_file_in_the_challenge() {
    let (folder, config) = with_folder();
    let state = state(config);
    let tokens = folder.path().join("tokens");
    let file = challenged(&arc(&state, "", None).await);
    assert_eq!(file.parent(), Some(&*tokens));
    assert_eq!(file.extension().unwrap(), "key");
    assert_eq!(fs::metadata(&file).unwrap().len(), 64);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = fs::metadata(&file).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    let response = arc(&state, "", Some(&content(&file))).await;
    assert_eq!(response.status, 200, "{response:?}");
    assert_eq!(token(&response).text("appid"), Some(SYSTEM));
    assert!(response.body["expires_in"].is_string());
    let other = challenged(&arc(&state, "", Some("Basic 00")).await);
    assert_ne!(other, file);
    for rejected in [
        "Bearer 00",
        "Basic",
        &content(&other).replace("Basic", "Bearer"),
    ] {
        challenged(&arc(&state, "", Some(rejected)).await);
    }
    let counts = state.records.counts();
    assert_eq!((counts["arc-challenge"], counts["arc"]), (1, 5));
    let shown = serde_json::to_string(&state.records.all()).unwrap();
    assert!(!shown.contains(&content(&file)[6..]), "{shown}");
    state.reset();
    assert_eq!(names(&tokens), 0);
    challenged(&arc(&state, "", Some("Basic 00")).await);
    drop(state);
    assert_eq!(names(&tokens), 0);
}

#[tokio::test]
async fn removes_the_oldest_files() {
    let (folder, config) = with_folder();
    let state = state(config);
    let first = challenged(&arc(&state, "", None).await);
    for _ in 0..100 {
        arc(&state, "", None).await;
    }
    assert!(!first.exists());
    assert_eq!(names(&folder.path().join("tokens")), 100);
}

#[tokio::test]
async fn names_the_directory_of_the_clients() {
    let (folder, mut config) = with_folder();
    config.arc.client_tokens_dir = Some("/var/opt/azcmagent/tokens".into());
    let state = state(config);
    let file = challenged(&arc(&state, "", None).await);
    assert_eq!(file.parent(), Some(Path::new("/var/opt/azcmagent/tokens")));
    let written = folder.path().join("tokens").join(file.file_name().unwrap());
    assert_eq!(arc(&state, "", Some(&content(&written))).await.status, 200);
}

#[tokio::test]
async fn uses_a_temporary_directory_by_default() {
    let state = state(Config::default());
    let file = challenged(&arc(&state, "", None).await);
    assert_eq!(arc(&state, "", Some(&content(&file))).await.status, 200);
    drop(state);
    assert!(!file.parent().unwrap().exists());
}

#[tokio::test]
async fn echoes_the_identity_and_ignores_the_name_that_the_agent_ignores() {
    let by_resource = format!("&msi_res_id={USER_RESOURCE}");
    let ignored = format!("&mi_res_id={USER_RESOURCE}");
    for (user_assigned, parameters, client) in [
        (true, "", SYSTEM),
        (true, &*format!("&client_id={USER}"), USER),
        (true, &*format!("&object_id={USER_OBJECT}"), USER),
        (true, &by_resource, USER),
        (true, &ignored, SYSTEM),
        (false, &*format!("&client_id={USER}"), SYSTEM),
        (false, &by_resource, SYSTEM),
    ] {
        let (_folder, mut config) = with_folder();
        config.arc.user_assigned = user_assigned;
        let state = state(config);
        let file = challenged(&arc(&state, parameters, None).await);
        let response = arc(&state, parameters, Some(&content(&file))).await;
        assert_eq!(response.status, 200, "{parameters} {response:?}");
        let client_id = token(&response).text("appid").map(str::to_owned);
        assert_eq!(client_id.as_deref(), Some(client), "{parameters}");
        let echoed = response.body["client_id"].as_str();
        assert_eq!(echoed, user_assigned.then_some(client), "{parameters}");
        let resource = response.body["msi_res_id"].as_str();
        assert_eq!(resource.is_some(), user_assigned && client == USER);
    }
}

#[tokio::test]
async fn rejects_invalid_requests_before_the_challenge() {
    let state = state(Config::default());
    let unknown = "&client_id=00000000-0000-4000-8000-000000000000";
    for (target, metadata, part) in [
        ("", true, "api-version"),
        ("?api-version=2018-02-01&resource=x", true, "api-version"),
        ("?api-version=2020-06-01", true, "resource"),
        (
            "?api-version=2020-06-01&resource=x",
            false,
            "metadata header",
        ),
        (
            "?api-version=2020-06-01&resource=x&a=b",
            true,
            "Unsupported",
        ),
        (
            &*format!("?api-version=2020-06-01&resource=x{unknown}"),
            true,
            "Identity not found",
        ),
    ] {
        let mut request = Request::get(format!("/metadata/identity/oauth2/token{target}"));
        if metadata {
            request = request.header("metadata", "true");
        }
        let response = send(&state, Service::Arc, request.body(Bytes::new()).unwrap()).await;
        assert_eq!(response.status, 400, "{target}");
        let description = response.text("error_description");
        assert!(description.contains(part), "{target} {description}");
        assert!(!response.headers.contains_key("www-authenticate"));
    }
}

#[cfg(unix)]
#[tokio::test]
async fn injects_wrong_key_files() {
    for (kind, extension, is_link, length, folder_name) in [
        ("missing", "key", false, None, "tokens"),
        ("oversized", "key", false, Some(4097), "tokens"),
        ("link", "key", true, Some(64), "tokens"),
        ("other-name", "txt", false, Some(64), "tokens"),
        ("other-directory", "key", false, Some(64), "other"),
    ] {
        let (folder, mut config) = with_folder();
        config.faults = vec![format!("arc-challenge=key-file:{kind}*1").parse().unwrap()];
        let state = state(config);
        let file = challenged(&arc(&state, "", None).await);
        assert_eq!(file.extension().unwrap(), extension, "{kind}");
        let parent = file.parent().unwrap().file_name().unwrap();
        assert_eq!(parent, folder_name, "{kind}");
        let linked = fs::symlink_metadata(&file).is_ok_and(|it| it.is_symlink());
        assert_eq!(linked, is_link, "{kind}");
        let found = fs::metadata(&file).ok().map(|it| it.len());
        assert_eq!(found, length, "{kind}");
        assert_eq!(
            state.records.all()[0].fault,
            Some(format!("key-file:{kind}"))
        );
        state.reset();
        assert!(fs::symlink_metadata(&file).is_err(), "{kind}");
        let left: Vec<_> = fs::read_dir(folder.path().join("tokens"))
            .unwrap()
            .collect();
        assert!(left.len() <= 1, "{kind} {left:?}");
    }
}

#[test]
fn fails_to_start_if_the_directory_is_a_file() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let config = ArcConfig {
        tokens_dir: Some(file.path().to_owned()),
        ..ArcConfig::default()
    };
    assert!(super::super::arc::KeyFiles::new(&config).is_err());
}
