use super::BuildError;

/// What a caller added to a list, in one or more calls.
#[derive(Debug)]
pub(super) struct GivenList<T> {
    /// What it lists.
    setting: &'static str,
    given: Option<Vec<T>>,
    has_empty_part: bool,
}

impl<T> GivenList<T> {
    pub(super) fn new(setting: &'static str) -> Self {
        Self {
            setting,
            given: None,
            has_empty_part: false,
        }
    }

    pub(super) fn add(&mut self, part: impl IntoIterator<Item = T>) {
        let given = self.given.get_or_insert_default();
        let before = given.len();
        given.extend(part);
        self.has_empty_part |= given.len() == before;
    }

    pub(super) fn is_given(&self) -> bool {
        self.given.is_some()
    }

    /// `None` if nothing was added. An empty part is an error: without it, fewer things would be required or more be allowed than the
    /// caller intended.
    pub(super) fn checked(self) -> Result<Option<Vec<T>>, BuildError> {
        match self.has_empty_part {
            true => Err(BuildError::EmptyList {
                setting: self.setting,
            }),
            false => Ok(self.given),
        }
    }
}

impl GivenList<String> {
    /// The same, without empty texts.
    pub(super) fn texts(self) -> Result<Option<Vec<String>>, BuildError> {
        let setting = self.setting;
        let texts = self.checked()?;
        check_texts(setting, texts.iter().flatten())?;
        Ok(texts)
    }
}

/// An empty text, such as one from a template, is an error.
pub(super) fn check_texts<'a>(
    setting: &'static str,
    texts: impl IntoIterator<Item = &'a String>,
) -> Result<(), BuildError> {
    match texts.into_iter().any(|text| text.trim().is_empty()) {
        true => Err(BuildError::EmptyText { setting }),
        false => Ok(()),
    }
}
