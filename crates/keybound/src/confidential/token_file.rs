//! The file with an assertion.
use keybound_core::{BoxError, Error, ErrorKind, MAX_JWT, Result, SecretString, Stage, printable};
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

/// Reads the assertion, on a thread for blocking work.
pub(crate) async fn read(path: PathBuf) -> Result<SecretString> {
    let name = printable(&path.to_string_lossy(), MAX_NAME);
    match tokio::task::spawn_blocking(move || content(&path)).await {
        Ok(Ok(assertion)) => Ok(assertion),
        Ok(Err(error)) => Err(failed(&name, error)),
        Err(error) => Err(failed(&name, error)),
    }
}

/// The content without whitespace around it.
fn content(path: &Path) -> io::Result<SecretString> {
    // Opening a pipe would wait for a writer, on a thread that cannot be cancelled.
    if !std::fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    let mut content = String::with_capacity(CAPACITY);
    let read = File::open(path)?
        .take(MAX_JWT as u64 + 1)
        .read_to_string(&mut content);
    let content = SecretString::new(content);
    read?;
    if content.expose().len() > MAX_JWT {
        return Err(io::Error::other(format!(
            "it is longer than {MAX_JWT} bytes"
        )));
    }
    Ok(SecretString::new(content.expose().trim().to_owned()))
}

fn failed(name: &str, cause: impl Into<BoxError>) -> Error {
    Error::new(
        ErrorKind::AssertionUnavailable,
        Stage::Assertion,
        format!("the file with the assertion, {name}, cannot be read"),
    )
    .with_source(cause)
}

/// Of most tokens of service accounts, so that no copy is left behind when the text grows.
const CAPACITY: usize = 8 * 1024;
/// In an error, in characters.
const MAX_NAME: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;
    use std::error::Error as _;
    use std::fs;

    #[test]
    fn returns_content_without_line_end() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("token");
        for (written, read) in [("a.b.c\n", "a.b.c"), (" a.b.c\r\n", "a.b.c"), ("", "")] {
            fs::write(&path, written).unwrap();
            assert_eq!(content(&path).unwrap().expose(), read);
        }
    }

    #[test]
    fn reads_regular_files_only() {
        let directory = tempfile::tempdir().unwrap();
        let error = content(directory.path()).unwrap_err();
        assert_eq!(error.to_string(), "it is not a regular file");
        #[cfg(unix)]
        assert!(content(Path::new("/dev/null")).is_err());
    }

    #[test]
    fn bounded_input() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("token");
        fs::write(&path, "x".repeat(MAX_JWT)).unwrap();
        assert_eq!(content(&path).unwrap().expose().len(), MAX_JWT);
        fs::write(&path, "x".repeat(MAX_JWT + 1)).unwrap();
        assert!(content(&path).unwrap_err().to_string().contains("longer"));
    }

    #[tokio::test]
    async fn secrets_stay_secret_in_errors() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("token");
        fs::write(&path, b"swordfish\xff").unwrap();
        for path in [path, directory.path().join("missing")] {
            let error = read(path.clone()).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::AssertionUnavailable);
            assert_eq!(error.stage(), Stage::Assertion);
            let text = format!("{error:?} {:?}", error.source());
            assert!(!text.contains("swordfish"), "{text}");
            assert!(error.to_string().contains(&*path.to_string_lossy()));
        }
    }
}
