use std::ops::Range;
use toml::de::{DeTable, DeValue};

/// A setting of a TOML text: the keys and positions that lead to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place(Vec<Step>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Key(String),
    Position(usize),
}

impl Place {
    /// From a text such as `api.0.tenants.1`.
    pub(super) fn new(path: &str) -> Self {
        let step = |part: &str| match part.parse() {
            Ok(position) => Step::Position(position),
            Err(_) => Step::Key(part.to_owned()),
        };
        Self(path.split('.').map(step).collect())
    }

    /// The innermost setting whose value has this position in a text.
    pub(super) fn of_position(text: &str, position: usize) -> Option<Self> {
        let document = DeTable::parse(text).ok()?;
        let mut steps = Vec::new();
        in_table(document.get_ref(), position, &mut steps);
        Some(Self(steps))
    }

    /// The line of the setting, or of the innermost one around it that the text has.
    pub(super) fn line(&self, text: &str) -> Option<usize> {
        let document = DeTable::parse(text).ok()?;
        let mut steps = self.0.iter();
        let Some(Step::Key(first)) = steps.next() else {
            return None;
        };
        let (mut span, mut value) = in_table_by_key(document.get_ref(), first)?;
        for step in steps {
            let inner = match (step, value) {
                (Step::Key(key), DeValue::Table(table)) => in_table_by_key(table, key),
                (Step::Position(position), DeValue::Array(values)) => {
                    let inner = values.get(*position);
                    inner.map(|inner| (inner.span(), inner.get_ref()))
                }
                _ => None,
            };
            let Some(inner) = inner else { break };
            (span, value) = inner;
        }
        line_of(text, span.start)
    }

    /// As the documentation names it: `[listen] mode`.
    pub(super) fn name(&self) -> String {
        let keys = self.0.iter().filter_map(|step| match step {
            Step::Key(key) => Some(key.as_str()),
            Step::Position(_) => None,
        });
        let keys: Vec<_> = keys.collect();
        let Some((last, section)) = keys.split_last() else {
            return String::new();
        };
        let ends_with_position = matches!(self.0.last(), Some(Step::Position(_)));
        let section_name = |keys: &[&str]| match keys.first() {
            None => String::new(),
            Some(&"api") => format!("[[{}]]", keys.join(".")),
            Some(_) => format!("[{}]", keys.join(".")),
        };
        match section.is_empty() || (ends_with_position && *last == "issuers") {
            true => section_name(&keys),
            false => format!("{} {last}", section_name(section)),
        }
    }

    /// Whether it is the whole text.
    pub(super) fn is_root(&self) -> bool {
        self.0.is_empty()
    }
}

/// The line with this position, counted from 1.
pub(super) fn line_of(text: &str, position: usize) -> Option<usize> {
    let before = text.get(..position)?;
    Some(before.matches('\n').count() + 1)
}

fn in_table_by_key<'a>(
    table: &'a DeTable<'_>,
    key: &str,
) -> Option<(Range<usize>, &'a DeValue<'a>)> {
    let mut entries = table.iter();
    let (name, value) = entries.find(|(name, _)| name.get_ref() == key)?;
    Some((name.span(), value.get_ref()))
}

fn in_table(table: &DeTable<'_>, position: usize, steps: &mut Vec<Step>) {
    for (key, value) in table {
        let is_it = key.span().contains(&position) || has(value.get_ref(), &value.span(), position);
        if is_it {
            steps.push(Step::Key(key.get_ref().to_string()));
            return in_value(value.get_ref(), position, steps);
        }
    }
}

fn in_value(value: &DeValue<'_>, position: usize, steps: &mut Vec<Step>) {
    match value {
        DeValue::Table(table) => in_table(table, position, steps),
        DeValue::Array(values) => {
            let mut values = values.iter().enumerate();
            let found = values.find(|(_, value)| has(value.get_ref(), &value.span(), position));
            if let Some((index, value)) = found {
                steps.push(Step::Position(index));
                in_value(value.get_ref(), position, steps);
            }
        }
        _ => {}
    }
}

/// The span of a section is that of its header only.
fn has(value: &DeValue<'_>, span: &Range<usize>, position: usize) -> bool {
    span.contains(&position)
        || match value {
            DeValue::Table(table) => table.iter().any(|(key, value)| {
                key.span().contains(&position) || has(value.get_ref(), &value.span(), position)
            }),
            DeValue::Array(values) => values
                .iter()
                .any(|value| has(value.get_ref(), &value.span(), position)),
            _ => false,
        }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "[listen]\nmode = 1\n[[api]]\nhosts = [\n  \"a\",\n  \"b\",\n]\n[[api]]\nskew = 2\n[[api.issuers]]\nname = \"x\"\n";

    #[test]
    fn lines_are_those_of_the_setting_or_around_it() {
        for (path, line) in [
            ("listen", 1),
            ("listen.mode", 2),
            ("listen.tcp", 1),
            ("api.0.hosts.1", 6),
            ("api.1", 8),
            ("api.1.roles", 8),
            ("api.1.skew", 9),
            ("api.1.issuers.0.name", 11),
        ] {
            assert_eq!(Place::new(path).line(TEXT), Some(line), "{path}");
        }
        assert_eq!(Place::new("keys").line(TEXT), None);
        assert_eq!(Place::new("keys").line("["), None);
    }

    #[test]
    fn settings_are_found_by_position_and_named() {
        for (part, name) in [
            ("1\n", "[listen] mode"),
            ("\"b\"", "[[api]] hosts"),
            ("2\n", "[[api]] skew"),
            ("\"x\"", "[[api.issuers]] name"),
        ] {
            let position = TEXT.find(part).unwrap();
            let place = Place::of_position(TEXT, position).unwrap();
            assert_eq!(place.name(), name, "{part}");
        }
        assert!(Place::of_position("", 0).unwrap().is_root());
    }
}
