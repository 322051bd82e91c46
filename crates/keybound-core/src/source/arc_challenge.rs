use crate::{Challenge, Error, ErrorKind, Result, SecretString, Stage};
use zeroize::Zeroizing;

/// The challenge of the agent of Azure Arc: the file that holds the secret for the next request, which only some accounts of the
/// host can read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArcChallenge {
    file_name: String,
}

/// How paths are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "the agent exists for these two")]
pub enum ArcPlatform {
    /// With `/`, and case counts.
    Linux,
    /// With `\`, and case is ignored.
    Windows,
}

impl ArcChallenge {
    /// Parses the values of the header `WWW-Authenticate`: exactly one challenge `Basic` whose `realm` is the path of a file in
    /// `directory`, the agent's directory of tokens. A server at the agent's address must not choose any other file.
    ///
    /// # Errors
    /// [`ErrorKind::ArcChallengeFailed`].
    pub fn parse<'a>(
        values: impl IntoIterator<Item = &'a [u8]>,
        directory: &str,
        platform: ArcPlatform,
    ) -> Result<Self> {
        let challenges = values.into_iter().flat_map(Challenge::parse_all);
        let is_basic = |found: &Challenge<'_>| found.scheme().eq_ignore_ascii_case("Basic");
        let mut basic = challenges.filter(is_basic);
        let (Some(challenge), None) = (basic.next(), basic.next()) else {
            return Err(failed("Azure Arc did not respond with one challenge Basic"));
        };
        let path = challenge
            .parameter("realm")
            .ok_or_else(|| failed("the challenge of Azure Arc has no realm"))?;
        match file_name(path, directory, platform) {
            Some(name) => Ok(Self {
                file_name: name.to_owned(),
            }),
            None => Err(failed(
                "the challenge of Azure Arc names a file that is not a key in the agent's directory of tokens",
            )),
        }
    }

    /// The name of the file in the directory of tokens: letters, digits, `-`, `_` and single dots, ending with `.key`.
    pub fn file_name(&self) -> &str {
        &self.file_name
    }
}

fn file_name<'a>(path: &'a str, directory: &str, platform: ArcPlatform) -> Option<&'a str> {
    let (own, separator) = match platform {
        ArcPlatform::Linux => (path.get(..directory.len())? == directory, '/'),
        ArcPlatform::Windows => (
            path.get(..directory.len())?.eq_ignore_ascii_case(directory),
            '\\',
        ),
    };
    let name = path[directory.len()..].strip_prefix(separator)?;
    let stem_length = name.len().checked_sub(EXTENSION.len())?;
    let (stem, extension) = (name.get(..stem_length)?, name.get(stem_length..)?);
    let is_key = match platform {
        ArcPlatform::Linux => extension == EXTENSION,
        ArcPlatform::Windows => extension.eq_ignore_ascii_case(EXTENSION),
    };
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let dots = stem.starts_with('.') || stem.ends_with('.') || stem.contains("..");
    let valid = (1..=MAX_NAME).contains(&stem.len()) && stem.bytes().all(allowed) && !dots;
    (own && is_key && valid).then_some(name)
}

/// Checks the content of the key file, and removes white space around it: a value for the header `Authorization`.
///
/// # Errors
/// [`ErrorKind::ArcChallengeFailed`] if it is empty, longer than [`MAX_ARC_KEY`] bytes or not printable.
pub fn arc_secret(content: Vec<u8>) -> Result<SecretString> {
    let content = Zeroizing::new(content);
    let trimmed = content.trim_ascii();
    let visible = |byte: &u8| (0x21..=0x7e).contains(byte);
    let valid = !trimmed.is_empty() && content.len() <= MAX_ARC_KEY && trimmed.iter().all(visible);
    match std::str::from_utf8(trimmed) {
        Ok(text) if valid => Ok(SecretString::new(text.to_owned())),
        _ => Err(failed(
            "the key file of Azure Arc is empty, longer than 4096 bytes or not printable",
        )),
    }
}

fn failed(message: &'static str) -> Error {
    Error::new(ErrorKind::ArcChallengeFailed, Stage::Source, message)
}

/// Maximum length of a key file of Azure Arc, in bytes.
pub const MAX_ARC_KEY: usize = 4096;
const EXTENSION: &str = ".key";
const MAX_NAME: usize = 200;
