//! Texts in columns of a terminal.

/// Lines of at most this many columns, broken at spaces. A longer word is broken too.
pub(super) fn wrapped(text: &str, columns: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = String::new();
    let mut length = 0;
    for word in text
        .split_whitespace()
        .flat_map(|word| pieces(word, columns))
    {
        let width = width(&word);
        if length > 0 && length + 1 + width > columns {
            lines.push(std::mem::take(&mut line));
            length = 0;
        }
        if length > 0 {
            line.push(' ');
            length += 1;
        }
        line.push_str(&word);
        length += width;
    }
    lines.push(line);
    lines
}

/// The start of a line, if it has more columns than these.
pub(super) fn fitted(line: &str, columns: usize) -> String {
    match pieces(line, columns).as_slice() {
        [] | [_] => line.to_owned(),
        _ => pieces(line, columns - width("…")).swap_remove(0) + "…",
    }
}

/// Pieces of at most this many columns, and at least one character.
fn pieces(text: &str, columns: usize) -> Vec<String> {
    let mut pieces: Vec<String> = Vec::new();
    let mut length = 0;
    for character in text.chars() {
        let width = character_width(character);
        match pieces.last_mut() {
            Some(piece) if length + width <= columns => {
                piece.push(character);
                length += width;
            }
            _ => {
                pieces.push(character.into());
                length = width;
            }
        }
    }
    pieces
}

fn width(text: &str) -> usize {
    text.chars().map(character_width).sum()
}

/// An upper bound: characters with two columns (CJK, emoji) begin with U+1100. Lines with others above that are shorter than
/// necessary.
fn character_width(character: char) -> usize {
    match character {
        '\0'..'\u{1100}' => 1,
        _ => 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn breaks_lines_at_spaces_and_long_words() {
        for (text, lines) in [
            ("", &[""][..]),
            ("ab cd", &["ab cd"]),
            ("ab cde", &["ab", "cde"]),
            ("abcdefg h", &["abcde", "fg h"]),
            ("世界", &["世界"]),
            ("世界仮", &["世界", "仮"]),
            ("a 世界", &["a", "世界"]),
            ("🙂🙂 b", &["🙂🙂", "b"]),
        ] {
            assert_eq!(wrapped(text, 5), lines, "{text}");
        }
    }

    #[test]
    fn cuts_a_line_that_does_not_fit() {
        for (line, start) in [
            ("abcde", "abcde"),
            ("abcdef", "abc…"),
            ("世界", "世界"),
            ("世界仮", "世…"),
            ("", ""),
        ] {
            assert_eq!(fitted(line, 5), start, "{line}");
        }
    }
}
