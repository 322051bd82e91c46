//! The comparison of an output with an expected one that has wildcards.

/// Whether the lines of an output are the expected ones: there, `[..]` matches any text in a line, and a line `...` any number of
/// lines. Blanks at the end of an expected line are ignored.
pub fn lines_match(expected: &[&str], got: &[&str]) -> bool {
    match expected.split_first() {
        None => got.is_empty(),
        Some((&"...", rest)) => (0..=got.len()).any(|skipped| lines_match(rest, &got[skipped..])),
        Some((line, rest)) => got
            .split_first()
            .is_some_and(|(first, others)| line_matches(line, first) && lines_match(rest, others)),
    }
}

fn line_matches(expected: &str, got: &str) -> bool {
    let mut parts = expected.trim_end().split("[..]");
    let Some(mut rest) = got.strip_prefix(parts.next().unwrap_or_default()) else {
        return false;
    };
    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        let Some(found) = rest.find(part) else {
            return false;
        };
        rest = &rest[found + part.len()..];
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches_wildcards() {
        for (expected, got, matches) in [
            ("abc", "abc", true),
            ("abc", "abcd", false),
            ("a[..]c", "abbbc", true),
            ("a[..]c", "abbbd", false),
            ("[..]b[..]", "abc", true),
            ("[..]x[..]", "abc", false),
            ("", "", true),
            ("", "a", false),
        ] {
            assert_eq!(line_matches(expected, got), matches, "{expected} {got}");
        }
        assert!(lines_match(&["a", "...", "c"], &["a", "b", "b", "c"]));
        assert!(lines_match(&["a", "..."], &["a"]));
        assert!(!lines_match(&["a", "...", "c"], &["a", "b"]));
    }
}
