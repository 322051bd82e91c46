//! Checks the documentation against the code.
use keybound::ErrorKind;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

#[test]
fn troubleshooting_lists_every_error_code() {
    let page = include_str!("../../../docs/troubleshooting.md");
    for kind in ErrorKind::ALL {
        let row = format!("| `{}` |", kind.code());
        assert!(
            page.contains(&row),
            "docs/troubleshooting.md has no row for {}",
            kind.code()
        );
    }
    let rows = page.lines().filter(|line| line.starts_with("| `")).count();
    assert_eq!(
        rows,
        ErrorKind::ALL.len(),
        "docs/troubleshooting.md has a code that does not exist"
    );
}

#[test]
fn decision_on_dependencies_lists_all_of_them() {
    let page = include_str!("../../../docs/adr/0006-dependencies.md");
    let crates = page.lines().filter_map(|line| line.strip_prefix("| `"));
    let documented: BTreeSet<&str> = crates
        .filter_map(|row| row.split(" | ").next())
        .flat_map(|cell| cell.split(", "))
        .map(|name| name.trim_matches('`'))
        .collect();
    let manifests: Vec<String> = manifests()
        .iter()
        .map(|path| std::fs::read_to_string(path).expect("a readable manifest"))
        .collect();
    let direct: BTreeSet<&str> = manifests
        .iter()
        .flat_map(|text| dependencies(text))
        .collect();
    assert_eq!(documented, direct, "docs/adr/0006-dependencies.md");
}

/// The manifests of the workspace, its members, and the workspaces of aws-lc and of fuzzing.
fn manifests() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let crates = std::fs::read_dir(root.join("crates")).expect("the folder of the crates");
    let members = crates.map(|entry| entry.expect("an entry").path());
    let others = [
        "",
        "examples",
        "examples/folder-store",
        "benches",
        "benches/aws-lc",
        "fuzz",
        "fuzz/targets",
    ]
    .map(|name| root.join(name));
    let manifests: Vec<_> = members
        .chain(others)
        .map(|folder| folder.join("Cargo.toml"))
        .filter(|path| path.exists())
        .collect();
    assert!(manifests.len() >= 12, "{manifests:?}");
    manifests
}

/// The dependencies in a manifest, without the project's own crates.
fn dependencies(manifest: &str) -> impl Iterator<Item = &str> {
    let mut in_dependencies = false;
    manifest.lines().filter_map(move |line| {
        if line.starts_with('[') {
            in_dependencies = line.trim_end().ends_with("dependencies]");
            return None;
        }
        let name = line.split(['.', ' ', '=']).next()?;
        let is_dependency = in_dependencies && name.starts_with(|c: char| c.is_ascii_alphabetic());
        (is_dependency && !name.starts_with("keybound")).then_some(name)
    })
}
