//! Runs of the program, each in a file in `transcripts/` with its command, output and exit status, and a test with the file's name:
//! `cargo test -p keybound-cli --test transcripts call_graph` runs `call-graph.txt`.
//!
//! A file has comment lines (`# why`), `env NAME=VALUE` lines, the command (`$ keybound …`, with single quotes around words),
//! `status N`, and sections: `--- file NAME` is a file in the working folder, `--- stdout` and `--- stderr` are the expected
//! output. There, `[..]` matches any text in a line, and a line `...` any number of lines. With `UPDATE_TRANSCRIPTS=1`, sections
//! that differ are updated; review the difference before committing it. Where the output differs on Windows,
//! `transcripts/windows/` has a file of the same name, which is used there instead.
#![allow(clippy::unwrap_used, reason = "a panic fails the test")]

mod support;

use keybound_testing::{lines_match, names_of_files};
use std::fs;
use std::path::Path;
use support::{Run, keybound};

#[test]
fn transcripts_for_windows_have_one_for_other_platforms() {
    let all = names_of_files(FOLDER, "txt");
    for name in names_of_files(WINDOWS, "txt") {
        assert!(all.contains(&name), "{name}");
    }
}

/// Runs the file, or the one for Windows.
fn check(test: &str) {
    let file = format!("{}.txt", test.replace('_', "-"));
    let on_windows = Path::new(WINDOWS).join(&file);
    let path = match cfg!(windows) && on_windows.exists() {
        true => on_windows,
        false => Path::new(FOLDER).join(file),
    };
    let text = fs::read_to_string(&path);
    let case = Case::read(&text.unwrap_or_else(|error| panic!("{}: {error}", path.display())));
    let run = case.run();
    let differences = case.differences(&run);
    if differences.is_empty() {
        return;
    }
    if std::env::var_os("UPDATE_TRANSCRIPTS").is_some() {
        fs::write(&path, case.updated(&run)).unwrap();
    }
    panic!("{}\n{}", path.display(), differences.join("\n"));
}

#[derive(Default)]
struct Case {
    head: String,
    env: Vec<(String, String)>,
    arguments: Vec<String>,
    status: i32,
    sections: Vec<(String, String)>,
}

impl Case {
    fn read(text: &str) -> Self {
        let mut case = Self::default();
        for line in text.lines() {
            if let Some(name) = line.strip_prefix("--- ") {
                case.sections.push((name.to_owned(), String::new()));
            } else if let Some((_, section)) = case.sections.last_mut() {
                section.push_str(line);
                section.push('\n');
            } else {
                case.read_head(line);
            }
        }
        case
    }

    fn read_head(&mut self, line: &str) {
        if let Some(command) = line.strip_prefix("$ keybound") {
            self.arguments = words(command);
        } else if let Some(assignment) = line.strip_prefix("env ") {
            let (name, value) = assignment.split_once('=').unwrap();
            self.env.push((name.to_owned(), value.to_owned()));
        } else if let Some(status) = line.strip_prefix("status ") {
            self.status = status.parse().unwrap();
            return;
        } else {
            assert!(
                line.is_empty() || line.starts_with('#'),
                "unknown line: {line}"
            );
        }
        self.head.push_str(line);
        self.head.push('\n');
    }

    fn run(&self) -> Run {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in &self.sections {
            if let Some(file) = name.strip_prefix("file ") {
                fs::write(folder.path().join(file), text).unwrap();
            }
        }
        let mut command = keybound(&self.arguments);
        command
            .current_dir(folder.path())
            .envs(self.env.iter().cloned());
        support::run(&mut command)
    }

    fn section(&self, name: &str) -> &str {
        let found = self.sections.iter().find(|(known, _)| known == name);
        found.map_or("", |(_, text)| text)
    }

    fn differences(&self, run: &Run) -> Vec<String> {
        let mut differences = Vec::new();
        if run.status != Some(self.status) {
            differences.push(format!("status {:?}, expected {}", run.status, self.status));
        }
        for (name, got) in [("stdout", &run.stdout), ("stderr", &run.stderr)] {
            let expected: Vec<_> = self.section(name).lines().collect();
            let lines: Vec<_> = got.lines().map(str::trim_end).collect();
            if !lines_match(&expected, &lines) {
                differences.push(format!("--- {name} is\n{got}"));
            }
        }
        differences
    }

    fn updated(&self, run: &Run) -> String {
        let mut text = format!("{}status {}\n", self.head, run.status.unwrap());
        for (name, section) in &self.sections {
            if name.starts_with("file ") {
                text.push_str(&format!("--- {name}\n{section}"));
            }
        }
        for (name, got) in [("stdout", &run.stdout), ("stderr", &run.stderr)] {
            if !got.is_empty() {
                text.push_str(&format!("--- {name}\n"));
                got.lines()
                    .for_each(|line| text.push_str(&format!("{}\n", line.trim_end())));
            }
        }
        text
    }
}

/// Splits at spaces; single quotes keep a word together.
fn words(command: &str) -> Vec<String> {
    let mut words = vec![];
    for (position, part) in command.split('\'').enumerate() {
        match position % 2 {
            0 => words.extend(part.split_whitespace().map(str::to_owned)),
            _ => words.push(part.to_owned()),
        }
    }
    words
}

#[test]
fn splits_words_at_spaces_outside_of_quotes() {
    assert_eq!(words(" a 'b c' d"), ["a", "b c", "d"]);
}

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/transcripts");
const WINDOWS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/transcripts/windows");

keybound_testing::cases! {
    check, names_of_files(FOLDER, "txt");
    attestation_probe
    attestation_probe_json
    call_app
    call_graph
    capabilities
    capabilities_app_service
    capabilities_json
    capabilities_no_imds
    capabilities_source_malformed
    capabilities_v1
    capabilities_v2_disabled
    doctor
    doctor_bare_container
    doctor_bearer
    doctor_bearer_no_source
    doctor_ca_variable_missing
    doctor_captive_portal
    doctor_dead_imds
    doctor_json
    doctor_malformed_variable
    doctor_no_connection
    doctor_no_network
    doctor_other_source
    doctor_proxy
    doctor_proxy_malformed
    doctor_skewed_clock
    doctor_untrusted_server
    doctor_v1_only
    doctor_v2_disabled
    doctor_workload_identity
    doctor_workload_identity_bearer
    get_token_app
    get_token_app_other_identity
    get_token_verbose
    get_token_workload_identity
    help
    help_attestation_probe
    help_call
    help_capabilities
    help_completions
    help_demo
    help_doctor
    help_emulator
    help_get_token
    help_get_token_short
    help_man
    help_selftest
    help_verify
    help_verify_check
    help_verify_config
    help_verify_keys
    help_verify_reload
    help_verify_serve
    refused_by_entra
    selftest
    selftest_no_keyguard
    simulated_refused
    simulated_refused_json
    usage_app_without_tenant
    usage_attestation_library_sha256
    usage_ca_file_garbage
    usage_ca_file_missing
    usage_ca_variable_elsewhere
    usage_ca_variable_missing
    usage_call_authorization
    usage_call_cloud
    usage_call_data_missing
    usage_call_header
    usage_call_http
    usage_call_user_information
    usage_capabilities_imds
    usage_claims
    usage_doctor_bearer
    usage_doctor_other_source
    usage_doctor_source
    usage_doctor_token_endpoint
    usage_emulator_command_without_exec
    usage_emulator_config
    usage_emulator_exec_without_command
    usage_emulator_fault
    usage_identity_not_a_guid
    usage_imds
    usage_imds_from_environment
    usage_nothing
    usage_resource
    usage_resource_and_scope
    usage_selftest_call
    usage_strength
    usage_timeout
    usage_tls
    usage_two_identities
    usage_unknown
    usage_verify_config
    usage_verify_config_value
    usage_verify_config_address
    usage_verify_config_upstream
    usage_verify_engine
    usage_verify_file
    usage_verify_keys_output
    usage_verify_listen
    usage_verify_reload
    usage_verify_setting
    usage_workload_identity_unset
    verify_config_apache
    verify_config_apache_script
    verify_config_caddy
    verify_config_envoy
    verify_config_envoy_http
    verify_config_haproxy
    verify_config_nginx
    verify_config_traefik
    version
}
