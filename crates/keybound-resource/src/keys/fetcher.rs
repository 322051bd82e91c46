use super::KeyOrigin;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

/// Fetches the issuers' documents over HTTPS.
///
/// An implementation verifies the server, follows no redirects, and limits the time (5 s) and the length of a response (1 MiB). With the
/// feature `tokio`, its future is dropped after 30 s.
pub trait KeyFetcher: Send + Sync + 'static {
    /// Fetches the body of the response with status 200 from an `https` URL.
    fn fetch<'a>(&'a self, url: &'a str) -> FetchFuture<'a>;
}

impl<T: KeyFetcher + ?Sized> KeyFetcher for Arc<T> {
    fn fetch<'a>(&'a self, url: &'a str) -> FetchFuture<'a> {
        (**self).fetch(url)
    }
}

/// The result of [`KeyFetcher::fetch`].
pub type FetchFuture<'a> = Pin<Box<dyn Future<Output = Result<Vec<u8>, FetchError>> + Send + 'a>>;

/// Why an issuer's keys could not be fetched.
#[derive(Debug)]
pub struct FetchError {
    message: String,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl FetchError {
    /// An error with a message without secrets.
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            source: None,
        }
    }

    /// Adds the cause.
    #[must_use]
    pub fn with_source(
        mut self,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        self.source = Some(source.into());
        self
    }

    /// As the cause for which keys could not be loaded.
    pub(crate) fn of_keys(self, origin: &KeyOrigin) -> Self {
        Self::new(format!("the keys of {origin} could not be loaded")).with_source(self)
    }

    /// Its text, with those of its causes.
    pub(crate) fn chain(&self) -> String {
        let first: &dyn std::error::Error = self;
        let errors = std::iter::successors(Some(first), |error| error.source());
        let texts: Vec<String> = errors.map(ToString::to_string).collect();
        texts.join(": ")
    }
}

impl fmt::Display for FetchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for FetchError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_ref().map(|source| &**source as _)
    }
}
