use crate::config::ArcConfig;
use crate::faults::KeyFileFault;
use crate::random_secret::RandomSecret;
use keybound_core::lock;
use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use tempfile::TempDir;
use uuid::Uuid;

/// The key files of the last challenges. Each is removed with its entry.
pub(crate) struct KeyFiles {
    folder: Folder,
    issued: Mutex<VecDeque<KeyFile>>,
}

/// The directory of the files.
enum Folder {
    /// One of the configuration, and its path for clients.
    Configured { path: PathBuf, of_clients: PathBuf },
    /// A temporary one, created for the first challenge.
    Temporary(Mutex<Option<TempDir>>),
}

/// The secret of a challenge, and the files that are removed with it.
struct KeyFile {
    secret: RandomSecret,
    files: Vec<PathBuf>,
}

impl KeyFiles {
    /// Creates the configured directory if it is absent.
    ///
    /// # Errors
    /// If files cannot be created in it.
    pub fn new(config: &ArcConfig) -> io::Result<Self> {
        let folder = match &config.tokens_dir {
            None => Folder::Temporary(Mutex::default()),
            Some(path) => {
                fs::create_dir_all(path)?;
                drop(tempfile::tempfile_in(path)?);
                Folder::Configured {
                    path: path.clone(),
                    of_clients: config.client_tokens_dir.as_ref().unwrap_or(path).clone(),
                }
            }
        };
        Ok(Self {
            folder,
            issued: Mutex::default(),
        })
    }

    /// Creates a key file, with a fault, and returns its path for clients.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn create(&self, fault: Option<KeyFileFault>) -> io::Result<String> {
        let (folder, of_clients) = self.folder()?;
        let name = name(fault);
        let mut key = KeyFile {
            secret: RandomSecret::new()?,
            files: vec![],
        };
        key.write(&folder, &name, fault)?;
        let path = of_clients.join(name);
        let mut issued = lock(&self.issued);
        if issued.len() == MAX_FILES {
            issued.pop_front();
        }
        issued.push_back(key);
        Ok(path.display().to_string())
    }

    /// Whether a text is the content of one of the files.
    pub fn contains(&self, text: &[u8]) -> bool {
        // All are compared, so that the time does not tell which one matched.
        let issued = lock(&self.issued);
        let matches = issued.iter().map(|key| key.secret.equals(text));
        matches.fold(false, |any, matches| any | matches)
    }

    /// Removes all files.
    pub fn clear(&self) {
        lock(&self.issued).clear();
    }

    fn folder(&self) -> io::Result<(PathBuf, PathBuf)> {
        match &self.folder {
            Folder::Configured { path, of_clients } => Ok((path.clone(), of_clients.clone())),
            Folder::Temporary(folder) => {
                let mut folder = lock(folder);
                let folder = match folder.take() {
                    Some(existing) => folder.insert(existing),
                    None => folder.insert(tempfile::Builder::new().prefix(TEMPORARY).tempdir()?),
                };
                let path = folder.path().to_owned();
                Ok((path.clone(), path))
            }
        }
    }
}

impl KeyFile {
    fn write(&mut self, folder: &Path, name: &Path, fault: Option<KeyFileFault>) -> io::Result<()> {
        let secret = self.secret.expose();
        let content = match fault {
            Some(KeyFileFault::Oversized) => format!("{secret:0<MAX_CONTENT_BYTES$}0"),
            _ => secret.to_owned(),
        };
        let path = folder.join(name);
        match fault {
            Some(KeyFileFault::Missing) => Ok(()),
            Some(KeyFileFault::Link) => {
                let target = path.with_extension("target");
                self.files = vec![path.clone(), target.clone()];
                write_private(&target, &content)?;
                link(&target, &path)
            }
            _ => {
                if let Some(folder) = path.parent() {
                    fs::create_dir_all(folder)?;
                }
                self.files.push(path.clone());
                write_private(&path, &content)
            }
        }
    }
}

impl Drop for KeyFile {
    fn drop(&mut self) {
        for file in &self.files {
            // An error cannot be handled here.
            let _ = fs::remove_file(file);
        }
    }
}

/// The name of a new file, relative to the directory.
fn name(fault: Option<KeyFileFault>) -> PathBuf {
    let id = Uuid::new_v4();
    match fault {
        Some(KeyFileFault::OtherName) => format!("{id}.txt").into(),
        Some(KeyFileFault::OtherDirectory) => Path::new("other").join(format!("{id}.key")),
        _ => format!("{id}.key").into(),
    }
}

/// Writes a new file that only this user can read.
fn write_private(path: &Path, content: &str) -> io::Result<()> {
    create_private(path)?.write_all(content.as_bytes())
}

#[cfg(unix)]
fn create_private(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600).open(path)
}

#[cfg(not(unix))]
fn create_private(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).open(path)
}

#[cfg(unix)]
fn link(target: &Path, link: &Path) -> io::Result<()> {
    std::os::unix::fs::symlink(target, link)
}

#[cfg(windows)]
fn link(target: &Path, link: &Path) -> io::Result<()> {
    std::os::windows::fs::symlink_file(target, link)
}

const TEMPORARY: &str = "keybound-emulator-arc-";
/// Clients reject longer files.
const MAX_CONTENT_BYTES: usize = 4096;
/// Above it the oldest file is removed.
const MAX_FILES: usize = 100;
