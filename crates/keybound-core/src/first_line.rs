//! The first line of what a service answered in plain text or HTML.
use crate::redact;

/// The title of an HTML or XML page, else the first line that is not blank once tags are removed: redacted, without
/// control characters, at most 256 characters. `None` where there is no such line, or it is not text.
pub(crate) fn first_line(text: &str) -> Option<String> {
    let text = text.trim_start();
    let line = if text.starts_with('<') {
        title(text).or_else(|| first_words(&without_tags(text)))
    } else {
        first_words(text)
    }?;
    let clean = redact(&line);
    is_text(&clean).then(|| cut(&clean))
}

fn first_words(text: &str) -> Option<String> {
    text.lines().map(words).find(|line| !line.is_empty())
}

/// The words, one space between two.
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

/// The page with a line's end for each tag, and without what stands in `style` and `script`.
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

/// Whether most of it can be shown: compressed and encrypted bytes cannot.
fn is_text(line: &str) -> bool {
    let replaced = line.matches(char::REPLACEMENT_CHARACTER).count();
    replaced * 4 <= line.chars().count()
}

fn cut(line: &str) -> String {
    match line.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line.to_owned(),
    }
}

/// In characters: a sentence or two.
const LONGEST: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_text_or_the_title_of_a_page_is_found() {
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
    fn what_is_shown_is_short_text_without_secrets_and_controls() {
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
