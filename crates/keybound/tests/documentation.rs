//! The documentation says what the code does.
use keybound::ErrorKind;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

#[test]
fn troubleshooting_explains_every_error_code() {
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
        "docs/troubleshooting.md explains a code that does not exist"
    );
}

#[test]
fn the_decision_on_dependencies_has_a_place_for_each_and_no_others() {
    let page = include_str!("../../../docs/adr/0006-dependencies.md");
    let crates = page.lines().filter_map(|line| line.strip_prefix("| `"));
    let documented: BTreeSet<&str> = crates
        .filter_map(|row| row.split(" | ").next())
        .flat_map(|cell| cell.split(", "))
        .map(|name| name.trim_matches('`'))
        .collect();
    let manifests: Vec<String> = manifests()
        .iter()
        .map(|path| std::fs::read_to_string(path).expect("a manifest that can be read"))
        .collect();
    let direct: BTreeSet<&str> = manifests
        .iter()
        .flat_map(|text| dependencies(text))
        .collect();
    assert_eq!(documented, direct, "docs/adr/0006-dependencies.md");
}

/// The manifests of the workspace, its members and the fuzzing workspace.
fn manifests() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let crates = std::fs::read_dir(root.join("crates")).expect("the folder of the crates");
    let members = crates.map(|entry| entry.expect("an entry").path());
    let others = [
        "",
        "examples",
        "examples/folder-store",
        "benches",
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

/// The crates that a manifest names in its tables of dependencies, without the project's own.
fn dependencies(manifest: &str) -> impl Iterator<Item = &str> {
    let mut within = false;
    manifest.lines().filter_map(move |line| {
        if line.starts_with('[') {
            within = line.trim_end().ends_with("dependencies]");
            return None;
        }
        let name = line.split(['.', ' ', '=']).next()?;
        let is_one = within && name.starts_with(|c: char| c.is_ascii_alphabetic());
        (is_one && !name.starts_with("keybound")).then_some(name)
    })
}
