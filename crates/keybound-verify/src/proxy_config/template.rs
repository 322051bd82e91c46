use crate::ConfigError;

/// A text with `@NAMES@` in place of values.
#[derive(Clone)]
pub(super) struct Template {
    text: String,
    wrong: Option<String>,
}

impl Template {
    pub(super) fn new(text: &str) -> Self {
        Self {
            text: text.to_owned(),
            wrong: None,
        }
    }

    /// Inserts a value, named by what it is, that must have no other characters than paths, addresses and names have: none can end a word or a line.
    pub(super) fn value(mut self, name: &str, value: &str) -> Self {
        let is_plain = |char: char| char.is_ascii_alphanumeric() || "./_:@%+=,~-[]".contains(char);
        if value.is_empty() || !value.chars().all(is_plain) || value.contains('@') {
            let what = name.to_ascii_lowercase().replace('_', " ");
            self.wrong
                .get_or_insert_with(|| format!("{what} {value:?}"));
        }
        self.text = self.text.replace(&format!("@{name}@"), value);
        self
    }

    /// Inserts text of a configuration.
    pub(super) fn part(mut self, name: &str, part: Self) -> Self {
        if self.wrong.is_none() {
            self.wrong = part.wrong;
        }
        self.text = self.text.replace(&format!("@{name}@"), &part.text);
        self
    }

    /// Joins parts.
    pub(super) fn concat(parts: impl IntoIterator<Item = Self>) -> Self {
        let mut all = Self::new("");
        for part in parts {
            all.text += &part.text;
            all.wrong = all.wrong.or(part.wrong);
        }
        all
    }

    pub(super) fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    pub(super) fn finish(self) -> Result<String, ConfigError> {
        match self.wrong {
            None => Ok(self.text),
            Some(value) => Err(ConfigError::new(format!(
                "the {value} cannot be part of the configuration of a proxy, which has letters, digits and ./_:%+=,~-[] only"
            ))),
        }
    }
}
