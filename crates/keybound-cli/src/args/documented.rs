//! Checks that the documentation lists all options and environment variables, and no others.
use super::{AFTER_HELP, Cli};
use clap::{Command, CommandFactory as _};
use keybound::Environment;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

#[test]
fn tables_list_options_of_commands() {
    let command = Cli::command();
    let mut wrong = BTreeSet::new();
    let mut options_by_table: Vec<(Table, BTreeSet<String>)> = Vec::new();
    for (path, command) in commands(&command, "") {
        let Some((_, tables)) = TABLES.iter().find(|(name, _)| *name == path) else {
            panic!("TABLES has no entry for `{path}`");
        };
        let options = long_options(command);
        let documented: BTreeSet<_> = tables.iter().flat_map(|table| options_in(*table)).collect();
        let missing = options.difference(&documented);
        wrong.extend(missing.map(|option| format!("{path}: {option} is in none of {tables:?}")));
        options_by_table.extend(tables.iter().map(|table| (*table, options.clone())));
    }
    for table in options_by_table.iter().map(|(table, _)| *table) {
        let of_table = options_by_table.iter().filter(|(of, _)| *of == table);
        let options: BTreeSet<_> = of_table.flat_map(|(_, options)| options).collect();
        let documented = options_in(table);
        let unknown = documented.iter().filter(|option| !options.contains(option));
        wrong.extend(unknown.map(|option| format!("{table:?}: no command has {option}")));
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn table_and_help_list_environment_variables() {
    let read = variables_read();
    let cells = first_cells(("cli.md", "## Environment")).join(" ");
    assert_eq!(variables_in(&cells), read, "docs/cli.md");
    // Those of the emulator are not set by users.
    let set_by_users = read
        .into_iter()
        .filter(|name| !name.starts_with("KEYBOUND_EMULATOR_"));
    let (_, help) = AFTER_HELP.split_once("Environment:\n").unwrap();
    let names: Vec<_> = help
        .lines()
        .filter_map(|line| line.strip_prefix("  "))
        .filter_map(|line| line.split("  ").next())
        .collect();
    assert_eq!(variables_in(&names.join(" ")), set_by_users.collect());
}

/// The system's own variable, which is no setting.
const SET_BY_WINDOWS: &str = "ProgramData";

/// A page in `docs` and the heading in it with the table of options or variables.
type Table = (&'static str, &'static str);

const SHARED: Table = ("cli.md", "## Options of `get-token` and `call`");
const OTHERS: Table = ("cli.md", "### Other commands");
const VERIFY: Table = ("verify.md", "## The program");
/// The tables with the options of each command.
const TABLES: &[(&str, &[Table])] = &[
    ("keybound", &[]),
    ("keybound demo", &[OTHERS]),
    ("keybound get-token", &[SHARED]),
    (
        "keybound call",
        &[SHARED, ("cli.md", "### Further options of `call`")],
    ),
    ("keybound emulator", &[("emulator.md", "### As a program")]),
    ("keybound verify", &[]),
    ("keybound verify serve", &[VERIFY]),
    ("keybound verify reload", &[VERIFY]),
    ("keybound verify config", &[VERIFY]),
    ("keybound verify check", &[VERIFY]),
    ("keybound verify keys", &[VERIFY]),
    ("keybound attestation", &[]),
    ("keybound attestation probe", &[SHARED, OTHERS]),
    ("keybound capabilities", &[SHARED, OTHERS]),
    (
        "keybound doctor",
        &[SHARED, OTHERS, ("cli.md", "## `doctor`")],
    ),
    ("keybound selftest", &[SHARED, ("cli.md", "## `selftest`")]),
    ("keybound completions", &[]),
    ("keybound man", &[OTHERS]),
];

/// A command and its subcommands.
fn commands<'a>(command: &'a Command, above: &str) -> Vec<(String, &'a Command)> {
    let path = format!("{above} {}", command.get_name())
        .trim_start()
        .to_owned();
    let below = command.get_subcommands();
    let below: Vec<_> = below.flat_map(|below| commands(below, &path)).collect();
    std::iter::once((path, command)).chain(below).collect()
}

/// Without `--help` and `--version`, which clap adds when it parses arguments.
fn long_options(command: &Command) -> BTreeSet<String> {
    let names = command.get_arguments().filter_map(|arg| arg.get_long());
    names.map(|name| format!("--{name}")).collect()
}

fn options_in(table: Table) -> BTreeSet<String> {
    let cells = first_cells(table);
    let words = cells.iter().flat_map(|cell| cell.split(['`', ' ']));
    let options = words.filter(|word| word.len() > 2 && word.starts_with("--"));
    options.map(str::to_owned).collect()
}

/// The first cells of the tables below a heading, up to the next heading.
fn first_cells((page, heading): Table) -> Vec<String> {
    let text = std::fs::read_to_string(of_project("docs").join(page)).unwrap();
    let mut below = text.lines().skip_while(|line| *line != heading);
    assert!(below.next().is_some(), "{page} has no {heading}");
    let below = below.take_while(|line| !line.starts_with('#'));
    let rows = below.filter_map(|line| line.strip_prefix("| `"));
    let cells = rows.filter_map(|row| row.split(" | ").next());
    let cells: Vec<_> = cells.map(str::to_owned).collect();
    assert!(!cells.is_empty(), "{page}, {heading}: no table");
    cells
}

/// The variables that the library looks up, those of arguments, and those that the sources of the program name.
fn variables_read() -> BTreeSet<String> {
    let looked_up = Mutex::new(BTreeSet::new());
    Environment::from_lookup(|name| {
        if name != SET_BY_WINDOWS {
            looked_up.lock().unwrap().insert(name.to_ascii_uppercase());
        }
        None
    });
    let mut read = looked_up.into_inner().unwrap();
    for (_, command) in commands(&Cli::command(), "") {
        let of_arguments = command.get_arguments().filter_map(|arg| arg.get_env());
        read.extend(of_arguments.map(|name| name.to_string_lossy().into_owned()));
    }
    let mut folders = vec![of_project("crates/keybound-cli/src")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let source = std::fs::read_to_string(path).unwrap();
            let texts = source.split('"').filter(|text| is_variable(text));
            read.extend(
                texts
                    .filter(|text| text.starts_with("KEYBOUND_"))
                    .map(str::to_owned),
            );
        }
    }
    read
}

fn variables_in(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let variables = words.filter(|word| is_variable(word));
    variables.map(str::to_owned).collect()
}

fn is_variable(word: &str) -> bool {
    let is_part = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
    word.contains('_') && !word.ends_with('_') && word.chars().all(is_part)
}

fn of_project(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .join(path)
}
