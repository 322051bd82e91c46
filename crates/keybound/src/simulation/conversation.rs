//! Runs every case of `conversations/`, and checks that every row of the protocol has one.
use super::case::Case;
use super::leaks::assert_none;
use super::log::Log;
use super::runner::run;
use super::telemetry::check_logged;
use keybound_core::lock;
use std::collections::BTreeMap;
use std::path::Path;

#[test]
fn every_conversation_has_its_expected_results() {
    let mut failures = Vec::new();
    for (name, case) in cases() {
        let log = Log::default();
        let (host, problems) = log.block_on(run(&case));
        check_logged(&name, &host, &log);
        let text = log.text();
        assert!(text.contains("keybound_step"), "{name}: nothing was logged");
        assert_none(&lock(&host.history).secrets, &text, &name);
        failures.extend(problems.iter().map(|problem| format!("{name}: {problem}")));
    }
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
}

#[test]
fn every_row_of_the_protocol_has_a_conversation() {
    let cases = cases();
    let rows = include_str!("../../conversations/rows.txt");
    let rows: Vec<&str> = rows.lines().filter(|row| !row.is_empty()).collect();
    for row in &rows {
        let tested = cases
            .values()
            .any(|case| case.rows.iter().any(|tested| tested == row));
        assert!(tested, "no case tests: {row}");
    }
    for (name, case) in &cases {
        assert!(!case.rows.is_empty(), "{name} tests no row");
        for row in &case.rows {
            assert!(rows.contains(&&**row), "{name}: unknown row: {row}");
        }
    }
}

/// All cases by name.
pub(super) fn cases() -> BTreeMap<String, Case> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("conversations");
    let files = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let files = files.filter(|path| {
        path.extension()
            .is_some_and(|extension| extension == "json")
    });
    let read = |path: &Path| {
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let text = std::fs::read_to_string(path).unwrap();
        let case = serde_json::from_str(&text);
        (
            name.clone(),
            case.unwrap_or_else(|error| panic!("{name}: {error}")),
        )
    };
    files.map(|path| read(&path)).collect()
}
