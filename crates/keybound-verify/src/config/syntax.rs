//! The errors of the TOML parser, without the names of Rust's types.
use super::place::Place;

/// The error of a setting in the terms of the configuration.
pub(super) fn plain(message: &str, place: Option<&Place>) -> String {
    let name = place.map(Place::name).unwrap_or_default();
    if let Some(field) = between(message, MISSING, "`") {
        return match place.is_none_or(Place::is_root) {
            true => format!("the section [{field}] is missing"),
            false => format!("{name}: `{field}` is missing"),
        };
    }
    let text = problem(message);
    match name.is_empty() || message.starts_with("unknown field") {
        true => text,
        false => format!("{name}: {text}"),
    }
}

fn problem(message: &str) -> String {
    let wrong = ["invalid value: ", "invalid type: "];
    let wrong = wrong.iter().find_map(|start| message.strip_prefix(start));
    if let Some((found, expected)) = wrong.and_then(|rest| rest.rsplit_once(", expected ")) {
        return format!(
            "expected {}, found {}",
            expected_value(expected),
            found_value(found)
        );
    }
    if let Some((found, expected)) = message
        .strip_prefix("unknown variant ")
        .and_then(|rest| rest.split_once(", expected "))
    {
        return format!("{found} is unknown, expected {expected}");
    }
    message.to_owned()
}

fn expected_value(expected: &str) -> &str {
    match expected {
        "u8" | "u16" | "u32" | "u64" | "u128" | "usize" => "a whole number that is not negative",
        "i8" | "i16" | "i32" | "i64" | "i128" | "isize" => "a whole number",
        "a sequence" => "a list",
        "path string" => "a path",
        "a boolean" => "true or false",
        "socket address" => "an address with a port, such as 127.0.0.1:8444",
        other if other.starts_with("struct ") || other == "a map" => "a table",
        other => other,
    }
}

fn found_value(found: &str) -> String {
    match found {
        "sequence" => return "a list".to_owned(),
        "map" => return "a table".to_owned(),
        _ => {}
    }
    let literal = between(found, "integer `", "`")
        .or_else(|| between(found, "floating point `", "`"))
        .or_else(|| between(found, "boolean `", "`"));
    match (literal, found.strip_prefix("string ")) {
        (Some(literal), _) => literal.to_owned(),
        (None, Some(text)) => text.to_owned(),
        (None, None) => found.to_owned(),
    }
}

fn between<'a>(text: &'a str, start: &str, end: &str) -> Option<&'a str> {
    let (inner, _) = text.strip_prefix(start)?.split_once(end)?;
    Some(inner)
}

pub(super) const MISSING: &str = "missing field `";
