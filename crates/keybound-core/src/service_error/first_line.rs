use crate::{printable, redact};

/// Returns the title of an HTML or XML page, otherwise the first line that is not blank, without tags: redacted, printable,
/// at most 256 characters. `None` if there is no such line or it is not text.
pub(super) fn first_line(text: &str) -> Option<String> {
    let text = text.trim_start();
    let line = if text.starts_with('<') {
        title(text).or_else(|| first_nonblank(&without_tags(text)))
    } else {
        first_nonblank(text)
    }?;
    let clean = redact(&line);
    is_text(&clean).then(|| printable(&clean, MAX_LINE))
}

fn first_nonblank(text: &str) -> Option<String> {
    text.lines().map(words).find(|line| !line.is_empty())
}

/// The words, separated by single spaces.
fn words(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn title(page: &str) -> Option<String> {
    let lower = page.to_ascii_lowercase();
    let begin = lower.find("<title")?;
    let begin = begin + lower[begin..].find('>')? + 1;
    let end = begin + lower[begin..].find("</title")?;
    Some(words(&page[begin..end])).filter(|title| !title.is_empty())
}

/// The page with a newline in place of each tag, without the contents of `style` and `script`.
fn without_tags(page: &str) -> String {
    let lower = page.to_ascii_lowercase();
    let mut text = String::new();
    let mut at = 0;
    while let Some(before) = page[at..].find('<') {
        text.push_str(&page[at..at + before]);
        text.push('\n');
        let tag = at + before;
        let hidden = ["<style", "<script"]
            .iter()
            .find(|name| lower[tag..].starts_with(**name));
        at = match (hidden, page[tag..].find('>')) {
            (_, None) => return text,
            (None, Some(length)) => tag + length + 1,
            (Some(name), Some(_)) => match lower[tag..].find(&name.replace('<', "</")) {
                Some(length) => tag + length,
                None => return text,
            },
        };
    }
    text + &page[at..]
}

/// Whether most of it is printable, unlike compressed or encrypted bytes.
fn is_text(line: &str) -> bool {
    let replaced = line.matches(char::REPLACEMENT_CHARACTER).count();
    replaced * 4 <= line.chars().count()
}

/// In characters.
const MAX_LINE: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_first_line_or_title() {
        for (text, line) in [
            ("pod list is empty", "pod list is empty"),
            (
                "\r\n  no\t identity  here \r\nsecond line",
                "no identity here",
            ),
            (
                "<!DOCTYPE html>\n<HTML><Head><Title lang=en>\n 403 \n Forbidden </TITLE></head>",
                "403 Forbidden",
            ),
            (
                "<html><style>b{c}</style><h1>Bad Gateway</h1><p>nginx",
                "Bad Gateway",
            ),
            ("<html><title></title><body>no", "no"),
            (
                "<?xml version=\"1.0\"?><Error><Code>AuthenticationFailed</Code></Error>",
                "AuthenticationFailed",
            ),
            ("<SCRIPT>a<b</Script><p>no</p>", "no"),
            ("<b", ""),
            ("<script>never closed", ""),
            ("", ""),
            (" \r\n\t", ""),
            ("<html><title>\u{e9}\u{130}</title>", "\u{e9}\u{130}"),
        ] {
            assert_eq!(
                first_line(text).as_deref().unwrap_or_default(),
                line,
                "{text}"
            );
        }
    }

    #[test]
    fn returns_short_printable_text_without_secrets() {
        let jwt = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJ4In0.c2ln";
        let line = first_line(&format!("\u{1b}[31mno {jwt}\u{202e}")).unwrap();
        assert_eq!(line, "\u{fffd}[31mno [redacted]\u{fffd}");
        let title = first_line(&format!("<title>got {jwt}</title>")).unwrap();
        assert_eq!(title, "got [redacted]");
        let long = first_line(&"words ".repeat(100)).unwrap();
        assert_eq!(long.chars().count(), 257);
        assert!(long.ends_with('…'));
        assert_eq!(first_line(&"\u{fffd}\u{1}x".repeat(10)), None);
        assert_eq!(first_line("\u{1f}\u{8b}\u{8}\0\0"), None);
        assert!(first_line("Acc\u{fffd}s refus\u{fffd}").is_some());
    }
}
