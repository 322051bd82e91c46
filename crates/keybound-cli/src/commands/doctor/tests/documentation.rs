//! The documentation of the checks and of the JSON.
use super::super::examination::CHECKS;
use super::{of_program, report};
use keybound_emulator::{Config, Emulator};
use keybound_testing::lines_match;
use serde_json::Value;
use std::collections::BTreeSet;
use std::sync::Arc;

/// The picture of the documentation is what the program prints.
#[test]
fn documentation_shows_the_report_of_a_transcript() {
    let page = std::fs::read_to_string(of_program("../../docs/doctor.md")).unwrap();
    let (_, picture) = page.split_once("keybound doctor --simulated\n").unwrap();
    let (picture, _) = picture.split_once("\n```").unwrap();
    let transcript = of_program("tests/transcripts/doctor-proxy.txt");
    let transcript = std::fs::read_to_string(transcript).unwrap();
    let (_, expected) = transcript.split_once("--- stdout\n").unwrap();
    let (expected, _) = expected.split_once("\n--- stderr").unwrap();
    let expected: Vec<_> = expected.lines().collect();
    let picture: Vec<_> = picture.lines().collect();
    assert!(lines_match(&expected, &picture), "{}", picture.join("\n"));
}

/// The table of the documentation, and the members of the JSON that it and the help name.
#[test]
fn documentation_lists_checks_and_members() {
    let page = std::fs::read_to_string(of_program("../../docs/doctor.md")).unwrap();
    assert_eq!(first_cells(&page, "## Checks"), CHECKS);
    let emulator = Emulator::start(Config::default()).unwrap();
    emulator.inject("probe=html".parse().unwrap()).unwrap();
    let report = report(&emulator, &Arc::default(), &[]);
    let json = serde_json::to_value(&report).unwrap();
    let names: Vec<_> = json["checks"].as_array().unwrap().iter().collect();
    let names: Vec<_> = names
        .iter()
        .map(|check| check["check"].as_str().unwrap())
        .collect();
    assert_eq!(names, CHECKS);
    let mut members = BTreeSet::new();
    collect_members(&json, "", &mut members);
    let documented: BTreeSet<_> = first_cells(&page, "## JSON").into_iter().collect();
    let of_errors = |name: &String| name.starts_with("checks[].error.");
    members.retain(|name| !of_errors(name));
    assert_eq!(members, documented);
    for name in members.iter().filter_map(|name| name.rsplit('.').next()) {
        let name = name.trim_end_matches("[]");
        let help = include_str!("../../../args/doctor.rs");
        assert!(help.contains(name), "{name} is not in the help");
    }
}

/// `checks[].result` for the member of the elements of a list.
fn collect_members(value: &Value, path: &str, members: &mut BTreeSet<String>) {
    match value {
        Value::Object(object) => {
            for (name, value) in object {
                let path = format!("{path}.{name}");
                let path = path.trim_start_matches('.');
                members.insert(path.to_owned());
                collect_members(value, path, members);
            }
        }
        Value::Array(values) => {
            for value in values {
                collect_members(value, &format!("{path}[]"), members);
            }
        }
        _ => {}
    }
}

/// The names in the first cells of the table below a heading.
fn first_cells(page: &str, heading: &str) -> Vec<String> {
    let below = page.lines().skip_while(|line| *line != heading).skip(1);
    let below = below.take_while(|line| !line.starts_with("## "));
    let rows = below.filter_map(|line| line.strip_prefix("| `"));
    let names = rows.filter_map(|row| row.split('`').next());
    names.map(str::to_owned).collect()
}
