//! The guide, docs/emulator.md, matches the emulator.
#![expect(clippy::unwrap_used, reason = "a test fails on an unexpected error")]

use keybound_emulator::{Config, Emulator, Fault};
use std::collections::{BTreeMap, BTreeSet};

const GUIDE: &str = include_str!("../../../docs/emulator.md");

/// The fenced blocks of a language.
fn blocks(language: &str) -> Vec<&'static str> {
    let opening = format!("```{language}\n");
    let after = GUIDE.split(opening.as_str()).skip(1);
    after
        .map(|text| text.split_once("\n```").unwrap().0)
        .collect()
}

/// The documented configuration; keys that are absent by default follow a `#` without a space.
fn configuration(with_absent_keys: bool) -> String {
    let [text] = blocks("toml")[..] else {
        panic!("one TOML block was expected");
    };
    let shown = text.lines().map(|line| match line.strip_prefix('#') {
        Some(key) if with_absent_keys && !key.starts_with(' ') => key,
        _ => line,
    });
    shown.collect::<Vec<_>>().join("\n")
}

/// The texts in backticks.
fn quoted(text: &str) -> Vec<String> {
    text.split('`')
        .skip(1)
        .step_by(2)
        .map(str::to_owned)
        .collect()
}

/// The keys of a table, which the parser lists in the error for an unknown key.
fn known_keys(table: &str) -> Vec<String> {
    let error = Config::from_toml(&format!("{table}\nno_such_key = 0\n")).unwrap_err();
    let message = error.to_string();
    let (_, expected) = message.rsplit_once("expected ").unwrap();
    let keys = quoted(expected);
    assert!(!keys.is_empty(), "{message}");
    keys
}

/// The cells of the rows of the table whose header begins with this cell.
fn rows(head: &str) -> Vec<Vec<String>> {
    let opening = format!("| {head} |");
    let lines = GUIDE
        .lines()
        .skip_while(|line| !line.starts_with(&opening))
        .skip(2)
        .take_while(|line| line.starts_with('|'));
    let cells = |line: &str| -> Vec<String> {
        let line = line.replace(r"\|", "\u{1}");
        let cells = line.trim_matches('|').split('|');
        cells
            .map(|cell| cell.trim().replace('\u{1}', "|"))
            .collect()
    };
    lines.map(cells).collect()
}

fn legs() -> Vec<String> {
    let error = "no-such-leg=hang".parse::<Fault>().unwrap_err().to_string();
    let (_, known) = error.split_once("known: ").unwrap();
    known.split(", ").map(str::to_owned).collect()
}

#[test]
fn documented_configuration_is_the_default() {
    let shown = Config::from_toml(&configuration(false)).unwrap();
    assert_eq!(format!("{shown:?}"), format!("{:?}", Config::default()));
}

#[test]
fn documented_configuration_has_every_key() {
    let text = configuration(true);
    Config::from_toml(&text).unwrap();
    let shown: toml::Table = text.parse().unwrap();
    for key in known_keys("") {
        assert!(shown.contains_key(&key), "{key} is missing");
    }
    for table in [
        "imds", "compute", "entra", "vault", "graph", "network", "tls",
    ] {
        for key in known_keys(&format!("[{table}]")) {
            let found = shown[table].get(&key);
            assert!(found.is_some(), "{table}.{key} is missing");
        }
    }
    for list in ["identities", "tenants", "resources"] {
        let entries = shown[list].as_array().unwrap();
        for key in known_keys(&format!("[[{list}]]")) {
            let found = entries.iter().any(|it| it.get(&key).is_some());
            assert!(found, "{list}.{key} is missing");
        }
    }
}

#[test]
fn documents_every_action_with_its_argument_and_legs() {
    let all = legs();
    let handshakes = || all.iter().filter(|leg| leg.ends_with("-tls"));
    let requests = || all.iter().filter(|leg| !leg.ends_with("-tls"));
    let mut known: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for leg in &all {
        let unknown = format!("{leg}=no-such-action").parse::<Fault>();
        let message = unknown.unwrap_err().to_string();
        let (_, actions) = message.split_once("known on ").unwrap();
        let (_, actions) = actions.split_once(": ").unwrap();
        for action in actions.split(", ") {
            known
                .entry(action.into())
                .or_default()
                .insert(leg.to_owned());
        }
    }
    let shown: BTreeMap<String, BTreeSet<String>> = rows("action")
        .iter()
        .map(|cells| {
            let legs = match cells[1].as_str() {
                "all" => all.iter().cloned().collect(),
                "requests" => requests().cloned().collect(),
                "handshakes" => handshakes().cloned().collect(),
                some => some.split(", ").map(str::to_owned).collect(),
            };
            (cells[0].trim_matches('`').to_owned(), legs)
        })
        .collect();
    assert_eq!(shown, known);
}

#[test]
fn documents_every_leg() {
    let shown: Vec<String> = rows("leg").iter().flat_map(|row| quoted(&row[0])).collect();
    assert_eq!(shown, legs());
}

#[test]
fn documented_faults_are_valid() {
    let [shown] = blocks("text")[..] else {
        panic!("one block of faults was expected");
    };
    for line in shown.lines() {
        let fault: Result<Fault, _> = line.parse();
        assert_eq!(fault.unwrap().to_string(), line);
    }
}

#[test]
fn documents_all_keys_of_the_ready_line() {
    let emulator = Emulator::start(Config::default()).unwrap();
    let ready = serde_json::to_value(emulator.ready()).unwrap();
    let names = |value: &serde_json::Value| -> BTreeSet<String> {
        value.as_object().unwrap().keys().cloned().collect()
    };
    let shown = |head: &str| -> BTreeSet<String> {
        let first = |row: &Vec<String>| row[0].trim_matches('`').to_owned();
        rows(head).iter().map(first).collect()
    };
    assert_eq!(shown("key"), names(&ready));
    assert_eq!(shown("variable"), names(&ready["env"]));
    let control = rows("key")
        .into_iter()
        .find(|row| row[0] == "`control`")
        .unwrap();
    for name in names(&ready["control"]) {
        assert!(control[1].contains(&format!("`{name}`")), "control.{name}");
    }
}

#[test]
fn documents_all_members_of_records() {
    let emulator = Emulator::start(Config::default()).unwrap();
    let imds = emulator.ready().imds.strip_prefix("http://").unwrap();
    let mut stream = std::net::TcpStream::connect(imds).unwrap();
    let request = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    std::io::Write::write_all(&mut stream, request).unwrap();
    std::io::Read::read_to_end(&mut stream, &mut Vec::new()).unwrap();
    let record = serde_json::to_value(&emulator.records()[0]).unwrap();
    let members: BTreeSet<String> = record.as_object().unwrap().keys().cloned().collect();
    let shown: BTreeSet<String> = rows("member")
        .iter()
        .flat_map(|row| quoted(&row[0]))
        .collect();
    assert_eq!(shown, members);
}
