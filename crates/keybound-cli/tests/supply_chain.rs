//! The scripts that check the dependencies and tools of the build: they fail where they cannot check them.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a panic fails the test")]

use keybound::{Clock as _, SystemClock};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output};
use std::time::UNIX_EPOCH;

#[test]
fn audit_fails_where_required_advisories_cannot_be_checked() {
    let tools = FakeTools::new();
    // Not fetched and not required: a warning.
    let local = tools.audit(&[]);
    assert!(local.status.success(), "{local:?}");
    assert!(text(&local).contains("ADVISORIES NOT CHECKED"), "{local:?}");
    let pipeline = tools.audit(&[("KEYBOUND_ADVISORIES", "required")]);
    assert_eq!(pipeline.status.code(), Some(1), "{pipeline:?}");
    assert!(
        text(&pipeline).contains("cannot be fetched"),
        "{pipeline:?}"
    );
    // Fetched.
    let fetched = [("KEYBOUND_ADVISORIES", "required"), ("FETCHES", "yes")];
    let fetched = tools.audit(&fetched);
    assert!(fetched.status.success(), "{fetched:?}");
    assert_eq!(
        text(&fetched)
            .matches("--hide-inclusion-graph advisories")
            .count(),
        WORKSPACES
    );
    // An unknown value counts as required.
    for value in ["yes", "1", "Required"] {
        let unknown = tools.audit(&[("KEYBOUND_ADVISORIES", value)]);
        assert_eq!(unknown.status.code(), Some(1), "{value}: {unknown:?}");
    }
}

#[test]
fn audit_needs_complete_and_recent_clone_of_advisories() {
    let tools = FakeTools::new();
    for (days, advisories, changed, why) in [
        (1, 600, false, None),
        (6, 500, false, None),
        (8, 600, false, Some("fetch those of this week")),
        (400, 600, false, Some("fetch those of this week")),
        (1, 3, false, Some("not all of rustsec/advisory-db")),
        (1, 600, true, Some("has been changed")),
    ] {
        let clone = clone_of_advisories(days, advisories);
        if changed {
            fs::remove_file(clone.path().join("crates/a/RUSTSEC-2020-0001.md")).unwrap();
        }
        for required in ["", "required"] {
            let output = tools.audit(&[
                ("KEYBOUND_ADVISORIES", required),
                ("KEYBOUND_ADVISORY_DB", clone.path().to_str().unwrap()),
            ]);
            assert_eq!(output.status.success(), why.is_none(), "{days}: {output:?}");
            assert!(
                text(&output).contains(why.unwrap_or("audit: advisories as of ")),
                "{output:?}"
            );
            let denied = text(&output).matches("--stale --deny warnings").count();
            let expected = if why.is_none() { WORKSPACES } else { 0 };
            assert_eq!(denied, expected, "{output:?}");
        }
    }
    let nothing = tools.audit(&[("KEYBOUND_ADVISORY_DB", "/none")]);
    assert_eq!(nothing.status.code(), Some(1), "{nothing:?}");
}

#[test]
fn audit_installs_pinned_tools_where_advisories_are_required() {
    let tools = FakeTools::new();
    for (required, installs) in [("", false), ("required", true)] {
        let output = tools.audit(&[
            ("KEYBOUND_ADVISORIES", required),
            ("FETCHES", "yes"),
            ("VERSION", "0.1.0"),
        ]);
        assert!(output.status.success(), "{output:?}");
        let installed =
            text(&output).contains("cargo install cargo-deny --version =0.20.2 --locked");
        assert_eq!(installed, installs, "{output:?}");
    }
}

#[test]
fn check_pipelines_rejects_unpinned_tools() {
    let project = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let digest = "@sha256:6258907abe69656e41cd992e0b705cdcfabcbbe3db374f92ed2d47121282d4a1";
    for (file, from, to, why) in [
        ("pipelines/release.yml", "", "", None),
        (
            "scripts/in-container",
            digest,
            "",
            Some("an image without a digest"),
        ),
        (
            "scripts/in-container",
            digest,
            "@sha256:6258",
            Some("an image without a digest"),
        ),
        ("scripts/in-container", "1.95.0-bookworm@", "latest@", None),
        (
            "pipelines/release.yml",
            "vmImage: ubuntu-24.04",
            "vmImage: ubuntu-latest",
            Some("an agent without a version"),
        ),
        (
            "pipelines/release.yml",
            "- job: crates\n",
            "- job: crates\n        container: rust:1.95.0\n",
            Some("container without a digest"),
        ),
        (
            "pipelines/release.yml",
            "GitHubRelease@1",
            "GitHubRelease",
            Some("a task without a version"),
        ),
        (
            "pipelines/release.yml",
            "KEYBOUND_ADVISORIES: required",
            "KEYBOUND_ADVISORIES: ''",
            Some("could not be checked"),
        ),
        (
            "pipelines/azure-e2e.yml",
            "KEYBOUND_ADVISORIES: required",
            "A: b",
            Some("could not be checked"),
        ),
        (
            "pipelines/azure-e2e.yml",
            "scripts/in-container scripts/audit",
            "scripts/audit",
            Some("outside of the container"),
        ),
        (
            "scripts/audit",
            "--version \"=$version\"",
            "",
            Some("a tool without a version"),
        ),
        (
            "scripts/sdks/requirements.txt",
            "msal==1.39.0",
            "msal",
            Some("a package without a version"),
        ),
        (
            ".github/workflows/ci.yml",
            "cryptography==",
            "cryptography #",
            Some("a tool without a version"),
        ),
        (
            ".github/workflows/ci.yml",
            "pipx run zizmor==1.32.0",
            "pipx run zizmor",
            Some("a tool without a version"),
        ),
        (
            "scripts/check-spelling",
            "typos==$VERSION",
            "typos",
            Some("a tool without a version"),
        ),
        (
            "python/requirements/test.txt",
            "==",
            ">=",
            Some("test.txt: a package without a version"),
        ),
        (
            "scripts/test-python",
            "\"requirements/$list.txt\"",
            "\"$list.txt\"",
            Some("there is no $list.txt"),
        ),
        (
            "scripts/test-long",
            "--version \"=$version\"",
            "",
            Some("a tool without a version"),
        ),
        (
            ".github/workflows/nightly.yml",
            "--version 0.5.0",
            "",
            Some("a tool without a version"),
        ),
        (
            ".github/workflows/ci.yml",
            "runs-on: windows-2025",
            "runs-on: windows-latest",
            Some("an agent without a version"),
        ),
        (
            ".github/workflows/ci.yml",
            "runs-on: windows-2025\n",
            "runs-on: windows-2025\n    container: rust:1.95.0\n",
            Some("container without a digest"),
        ),
        (
            ".github/workflows/nightly.yml",
            "run: scripts/audit",
            "run: docker run docker.io/library/rust:1.95.0",
            Some("an image without a digest"),
        ),
    ] {
        let copy = tempfile::tempdir().unwrap();
        let source = "crates/keybound-cli/src/args/selftest.rs";
        fs::create_dir_all(copy.path().join(source).parent().unwrap()).unwrap();
        fs::copy(project.join(source), copy.path().join(source)).unwrap();
        for folder in ["scripts", "pipelines", ".github", "python/requirements"] {
            let parent = copy.path().join(folder);
            let parent = parent.parent().unwrap();
            fs::create_dir_all(parent).unwrap();
            let status = Command::new("cp")
                .arg("-r")
                .arg(project.join(folder))
                .arg(parent)
                .status();
            assert!(status.unwrap().success());
        }
        let path = copy.path().join(file);
        let before = fs::read_to_string(&path).unwrap();
        assert!(before.contains(from), "{file}: {from}");
        fs::write(&path, before.replace(from, to)).unwrap();
        let output = Command::new(copy.path().join("scripts/check-pipelines"))
            .output()
            .unwrap();
        assert_eq!(output.status.success(), why.is_none(), "{from}: {output:?}");
        assert!(
            text(&output).contains(why.unwrap_or_default()),
            "{from}: {output:?}"
        );
    }
}

#[test]
fn wine_does_not_change_other_folders() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("notes");
    fs::write(&file, "mine").unwrap();
    for prefix in [folder.path(), &file] {
        let output = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../scripts/wine"))
            .arg("--prepare")
            .env("KEYBOUND_WINE_PREFIX", prefix)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert!(text(&output).contains("keybound-prefix"), "{output:?}");
        assert_eq!(fs::read_to_string(&file).unwrap(), "mine");
    }
}

#[test]
fn fuzz_smoke_fails_without_list_of_targets() {
    for list in ["exit 1", "exit 0"] {
        let tools = FakeTools::new();
        tools.tool("cargo", &format!("[ \"$3\" != list ] || {list}"));
        let output = tools.script("fuzz-smoke").arg("1").output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{list}: {output:?}");
    }
}

/// A folder with fake tools that print their arguments, and that fetch the database only where FETCHES is set.
struct FakeTools(tempfile::TempDir);

impl FakeTools {
    fn new() -> Self {
        let tools = Self(tempfile::tempdir().unwrap());
        tools.tool("cargo-deny", "echo cargo-deny \"${VERSION:-0.20.2}\"");
        tools.tool("cargo-audit", "echo cargo-audit \"${VERSION:-0.22.2}\"");
        tools.tool(
            "cargo",
            "echo cargo \"$@\"; [ \"$*\" != 'deny fetch db' ] || [ -n \"${FETCHES:-}\" ]",
        );
        tools
    }

    fn tool(&self, name: &str, script: &str) {
        let path = self.0.path().join(name);
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn audit(&self, variables: &[(&str, &str)]) -> Output {
        let mut audit = self.script("audit");
        audit.envs(variables.iter().copied()).output().unwrap()
    }

    fn script(&self, name: &str) -> Command {
        let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts");
        let mut command = Command::new(scripts.join(name));
        command
            .env_clear()
            .env("PATH", format!("{}:/usr/bin:/bin", self.0.path().display()));
        command
    }
}

fn clone_of_advisories(days: u64, advisories: u32) -> tempfile::TempDir {
    let clone = tempfile::tempdir().unwrap();
    let folder = clone.path().join("crates/a");
    fs::create_dir_all(&folder).unwrap();
    for number in 1..=advisories {
        fs::write(folder.join(format!("RUSTSEC-2020-{number:04}.md")), "").unwrap();
    }
    let since = SystemClock
        .now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs();
    let date = format!("{} +0000", since - days * 86400);
    for arguments in [
        &["init", "--quiet"][..],
        &["add", "."],
        &["commit", "--quiet", "--message", "advisories"],
    ] {
        let status = Command::new("git")
            .args(["-c", "user.name=a", "-c", "user.email=a@example.com"])
            .args(arguments)
            .current_dir(clone.path())
            .env("GIT_COMMITTER_DATE", &date)
            .env("GIT_AUTHOR_DATE", &date)
            .status();
        assert!(status.unwrap().success());
    }
    clone
}

/// The workspaces whose dependencies are checked: the product, the fuzz targets, the Python package, and a benchmark.
const WORKSPACES: usize = 4;

fn text(output: &Output) -> String {
    let both = [&output.stdout[..], &output.stderr[..]].concat();
    String::from_utf8(both).unwrap()
}
