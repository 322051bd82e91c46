/// Prepares external text for one line of a terminal or a log: white space becomes a space, characters that control,
/// reorder or hide text become U+FFFD. Text of more than `max` characters is truncated and ends with `…`.
///
/// Secrets are not removed: see [`redact`](crate::redact).
pub fn printable(text: &str, max: usize) -> String {
    let mut out: String = text.chars().take(max).map(printable_character).collect();
    if text.chars().nth(max).is_some() {
        out.push('…');
    }
    out
}

/// The character, or its replacement if it is not printable.
pub(crate) fn printable_character(character: char) -> char {
    match character {
        '\t' | '\n' | '\r' => ' ',
        other if is_unprintable(other) => char::REPLACEMENT_CHARACTER,
        other => other,
    }
}

/// Whether it is a control character, or one that reorders or hides text on a terminal.
pub(crate) fn is_unprintable(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}'
            | '\u{fff0}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaces_terminal_controls() {
        for hostile in [
            "\u{1b}[31m",
            "\u{9b}31m",
            "\u{7f}",
            "\0",
            "\u{8}",
            "\u{202e}gnp.exe",
            "\u{2066}",
            "\u{200b}",
            "\u{feff}",
            "\u{e0041}",
        ] {
            let text = printable(hostile, 100);
            assert!(!text.chars().any(is_unprintable), "{text:?}");
            assert!(text.contains('\u{fffd}'), "{text:?}");
        }
        assert_eq!(printable("a\r\n\tb", 100), "a   b");
        assert_eq!(printable("Grüße, 世界 🙂", 100), "Grüße, 世界 🙂");
    }

    #[test]
    fn truncates_long_text_by_characters() {
        assert_eq!(printable("äöü", 3), "äöü");
        assert_eq!(printable("äöüß", 3), "äöü…");
        assert_eq!(printable("", 0), "");
    }
}
