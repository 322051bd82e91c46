//! The table of the reasons in docs/resource.md is that of the code.
use keybound_resource::Reason;
use std::path::Path;

#[test]
fn each_reason_is_documented_with_its_status_and_description() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/resource.md");
    let page = std::fs::read_to_string(page).unwrap();
    let section = page.split("\n### Reasons\n").nth(1).unwrap();
    let section = section.split("\n## ").next().unwrap();
    let rows = section.lines().filter(|line| line.starts_with("| `"));
    let documented: Vec<Vec<&str>> = rows
        .map(|row| row.trim_matches('|').split(" | ").map(str::trim).collect())
        .collect();
    assert_eq!(documented.len(), Reason::ALL.len());
    for (reason, row) in Reason::ALL.iter().zip(&documented) {
        let [code, status, description, advice] = row[..] else {
            panic!("four columns: {row:?}");
        };
        assert_eq!(code, format!("`{}`", reason.code()));
        assert_eq!(status, reason.status().to_string(), "{code}");
        assert_eq!(description, reason.description(), "{code}");
        assert!(!advice.is_empty(), "{code}");
    }
}

/// A reason that is not in `ALL` would neither be documented nor counted.
#[test]
fn reasons_have_distinct_codes() {
    let mut codes: Vec<_> = Reason::ALL.iter().map(|reason| reason.code()).collect();
    codes.sort_unstable();
    codes.dedup();
    assert_eq!(codes.len(), Reason::ALL.len());
}
