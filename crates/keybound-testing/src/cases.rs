//! Tests whose cases are data: each case is a separate test.
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Declares a test for each name, which calls the function with it, and one that compares the names with those of all cases:
///
/// ```text
/// cases! { check, names_of_files("cases", "json");
///     first
///     second
/// }
/// ```
#[macro_export]
macro_rules! cases {
    ($check:path, $all:expr; $($(#[$attribute:meta])* $name:ident)+) => {
        $(
            #[test]
            $(#[$attribute])*
            fn $name() {
                $check(stringify!($name));
            }
        )+

        #[test]
        fn every_case_has_a_test() {
            $crate::assert_every_case_has_a_test(&[$(stringify!($name)),+], $all);
        }
    };
}

/// Fails if the names of the tests are not those of the cases, or if a name occurs twice.
pub fn assert_every_case_has_a_test(tests: &[&str], cases: impl IntoIterator<Item = String>) {
    let cases: Vec<String> = cases.into_iter().collect();
    let names: BTreeSet<&str> = cases.iter().map(String::as_str).collect();
    assert_eq!(cases.len(), names.len(), "a name occurs twice: {cases:?}");
    let tests: BTreeSet<&str> = tests.iter().copied().collect();
    let untested: Vec<_> = names.difference(&tests).collect();
    let without: Vec<_> = tests.difference(&names).collect();
    assert!(
        untested.is_empty() && without.is_empty(),
        "the list of tests lacks {untested:?}, and there is no case for {without:?}"
    );
}

/// The files with this extension in a folder, by the names of their tests: `store_hit` for `store-hit.json`.
pub fn names_of_files(folder: impl AsRef<Path>, extension: &str) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    let named = paths.filter(|path| path.extension().is_some_and(|found| found == extension));
    let name = |path: PathBuf| {
        path.file_stem()
            .unwrap()
            .to_str()
            .unwrap()
            .replace('-', "_")
    };
    named.map(name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::panic::catch_unwind;

    #[test]
    fn compares_tests_with_cases() {
        let compare = |tests: &[&str], cases: &[&str]| {
            let cases: Vec<_> = cases.iter().map(ToString::to_string).collect();
            catch_unwind(|| assert_every_case_has_a_test(tests, cases)).is_ok()
        };
        assert!(compare(&["a", "b"], &["b", "a"]));
        assert!(!compare(&["a"], &["b", "a"]));
        assert!(!compare(&["a", "b"], &["a"]));
        assert!(!compare(&["a"], &["a", "a"]));
    }

    #[test]
    fn names_tests_after_files() {
        let names = names_of_files(concat!(env!("CARGO_MANIFEST_DIR"), "/src"), "rs");
        assert!(names.contains(&"captured_log".to_owned()), "{names:?}");
        let names = names_of_files(env!("CARGO_MANIFEST_DIR"), "toml");
        assert_eq!(names, ["Cargo"]);
    }
}
