mod owners;

use serde_json::Value;
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

/// The destination of the ready line of a program: the JSON of a [`Ready`](crate::Ready). A regular file exists, complete, from
/// when the services listen until this value is dropped, so that no reader gets that of an earlier emulator. It holds the control
/// endpoint's secret: only its owner can read it.
#[derive(Debug)]
pub struct ReadyFile {
    target: Target,
    /// The text that was written.
    written: Option<Secret>,
}

/// A text that is not shown.
struct Secret(String);

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("…")
    }
}

/// The target of the path.
#[derive(Debug)]
enum Target {
    /// A regular file, which may not exist yet. Symbolic links to it are resolved, so that they are not replaced.
    File(PathBuf),
    /// A FIFO: opening it waits for a reader.
    #[cfg(unix)]
    Fifo(PathBuf),
    /// The standard output or standard error of this process.
    Standard(Standard),
    /// A device, or a descriptor of a process, which is opened and written to.
    Stream(PathBuf),
}

#[derive(Debug)]
enum Standard {
    Stdout,
    Stderr,
}

impl ReadyFile {
    /// Resolves the path, and removes the file of an earlier emulator.
    ///
    /// # Errors
    /// If the path cannot be written to, or is a file with other data than a ready line.
    pub fn prepare(path: &Path) -> io::Result<Self> {
        let target = Target::of(path)?;
        if let Target::File(file) = &target {
            remove_earlier(file)?;
        }
        Ok(Self {
            target,
            written: None,
        })
    }

    /// Writes the line; to a FIFO without a reader in the background, when it has one: `report` gets an error there.
    ///
    /// # Errors
    /// If the line cannot be written.
    #[cfg_attr(
        not(unix),
        expect(unused_variables, reason = "FIFOs exist on Unix only")
    )]
    pub fn write(
        &mut self,
        line: &str,
        report: impl FnOnce(io::Error) + Send + 'static,
    ) -> io::Result<()> {
        let text = format!("{line}\n");
        match &self.target {
            Target::File(file) => {
                self.written = Some(Secret(text.clone()));
                replace(file, &text)
            }
            Target::Standard(Standard::Stdout) => write_to(io::stdout().lock(), &text),
            Target::Standard(Standard::Stderr) => write_to(io::stderr().lock(), &text),
            #[cfg(unix)]
            Target::Fifo(fifo) => write_to_reader(fifo, text, report),
            Target::Stream(stream) => owners::open_stream(stream, is_descriptor(stream))
                .and_then(|stream| write_to(stream, &text)),
        }
    }
}

impl Drop for ReadyFile {
    /// Removes the file, unless another emulator has replaced it.
    fn drop(&mut self) {
        if let (Target::File(file), Some(written)) = (&self.target, &self.written)
            && read(file).as_ref() == Some(&written.0)
        {
            // An error cannot be handled here.
            let _ = fs::remove_file(file);
        }
    }
}

impl Target {
    fn of(path: &Path) -> io::Result<Self> {
        let mut path = path.to_owned();
        for _ in 0..MAX_LINKS {
            if let Some(standard) = standard_stream(&path) {
                return Ok(Self::Standard(standard));
            }
            let metadata = match fs::symlink_metadata(&path) {
                Ok(metadata) => metadata,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    return Ok(Self::File(path));
                }
                // For example a device of Windows.
                Err(_) => return Ok(Self::Stream(path)),
            };
            if !metadata.is_symlink() {
                return Self::of_kind(path, metadata.file_type());
            }
            if is_descriptor(&path) {
                return Ok(Self::Stream(path));
            }
            let folder = folder_of(&path);
            owners::check_link(&metadata, folder)?;
            path = folder.join(fs::read_link(&path)?);
        }
        Err(io::Error::other("too many levels of symbolic links"))
    }

    fn of_kind(path: PathBuf, kind: fs::FileType) -> io::Result<Self> {
        if kind.is_file() {
            return Ok(Self::File(path));
        }
        if kind.is_dir() {
            return Err(io::Error::other("it is a directory"));
        }
        #[cfg(unix)]
        {
            use std::os::unix::fs::FileTypeExt as _;
            if kind.is_socket() {
                return Err(io::Error::other(
                    "it is a socket, which cannot be opened and written to",
                ));
            }
            if kind.is_fifo() {
                return Ok(Self::Fifo(path));
            }
        }
        Ok(Self::Stream(path))
    }
}

/// Standard output or standard error, to which `/dev/stdout` and `/dev/stderr` are links. Opening the link would fail for a socket,
/// and would overwrite a file.
fn standard_stream(path: &Path) -> Option<Standard> {
    let descriptors = format!("/proc/{}/fd", std::process::id());
    let folder = path.parent()?;
    let folder = fs::canonicalize(folder).ok()?;
    if !is_descriptor(path) || folder != Path::new(&descriptors) {
        return None;
    }
    match path.file_name()?.to_str()? {
        "1" => Some(Standard::Stdout),
        "2" => Some(Standard::Stderr),
        _ => None,
    }
}

/// Whether a path names an open descriptor of a process.
fn is_descriptor(path: &Path) -> bool {
    let folder = path
        .parent()
        .and_then(|folder| fs::canonicalize(folder).ok());
    folder.is_some_and(|folder| folder.starts_with("/proc") && folder.ends_with("fd"))
}

/// Replaces the file atomically. A file that cannot be replaced, such as one that is mounted into a container, is overwritten.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    let replaced = tempfile::NamedTempFile::new_in(folder_of(path)).and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        file.persist(path)?;
        Ok(())
    });
    replaced.or_else(|error| match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_file() => overwrite(path, text),
        _ => Err(error),
    })
}

fn overwrite(path: &Path, text: &str) -> io::Result<()> {
    let file = OpenOptions::new().write(true).open(path)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        file.set_permissions(fs::Permissions::from_mode(0o600))?;
    }
    file.set_len(0)?;
    write_to(file, text)
}

/// Writes to a FIFO; if it has no reader, in a thread that waits for one, which may be the command that starts later.
#[cfg(unix)]
fn write_to_reader(
    fifo: &Path,
    text: String,
    report: impl FnOnce(io::Error) + Send + 'static,
) -> io::Result<()> {
    let immediate = owners::open_fifo(fifo, false).and_then(|reader| write_to(reader, &text));
    match immediate {
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::NXIO.raw_os_error()) => {}
        written => return written,
    }
    let fifo = fifo.to_owned();
    std::thread::spawn(move || {
        let written = owners::open_fifo(&fifo, true).and_then(|reader| write_to(reader, &text));
        if let Err(error) = written {
            report(error);
        }
    });
    Ok(())
}

fn write_to(mut stream: impl io::Write, text: &str) -> io::Result<()> {
    stream.write_all(text.as_bytes())?;
    stream.flush()
}

fn folder_of(path: &Path) -> &Path {
    path.parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."))
}

/// Removes a file with a ready line. An empty file, such as one of `mktemp`, is replaced later.
fn remove_earlier(path: &Path) -> io::Result<()> {
    if fs::symlink_metadata(path).is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
        return Ok(());
    }
    match read(path) {
        Some(text) if text.is_empty() => Ok(()),
        Some(text) if is_ready_line(&text) => fs::remove_file(path),
        _ => Err(io::Error::other(
            "the file holds other data than a ready line",
        )),
    }
}

/// The text of a regular file, if it can be a ready line.
fn read(path: &Path) -> Option<String> {
    // Opening a FIFO that has replaced the file would block.
    fs::symlink_metadata(path)
        .ok()
        .filter(fs::Metadata::is_file)?;
    let mut text = String::new();
    File::open(path)
        .ok()?
        .take(MAX_LINE_BYTES)
        .read_to_string(&mut text)
        .ok()?;
    Some(text)
}

/// Whether a text is a ready line of an emulator.
fn is_ready_line(text: &str) -> bool {
    serde_json::from_str::<Value>(text)
        .is_ok_and(|line| line["event"] == "ready" && line["control"]["secret"].is_string())
}

const MAX_LINKS: usize = 40;
const MAX_LINE_BYTES: u64 = 64 * 1024;
