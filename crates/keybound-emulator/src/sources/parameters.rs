use super::Problem;
use std::collections::BTreeMap;

/// Reads the parameters of a query or a form. Each occurs at most once.
///
/// # Errors
/// [`Problem::ParameterUnknown`] for one that is not among the known ones, [`Problem::ParameterRepeated`].
pub(crate) fn read(text: &[u8], known: &[&str]) -> Result<BTreeMap<String, String>, Problem> {
    let mut parameters = BTreeMap::new();
    for (name, value) in form_urlencoded::parse(text) {
        if !known.contains(&&*name) {
            return Err(Problem::ParameterUnknown);
        }
        if parameters
            .insert(name.into_owned(), value.into_owned())
            .is_some()
        {
            return Err(Problem::ParameterRepeated);
        }
    }
    Ok(parameters)
}
