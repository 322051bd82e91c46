use super::make::Authority;
use super::server_ca::{NAME_CONSTRAINTS, NAME_CONSTRAINTS_OID, ServerCa};
use crate::clock::host_now;
use crate::error::StartError;
use keybound_core::BoxError;
use openssl::pkey::PKey;
use openssl::x509::X509;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::{NamedTempFile, TempDir};
use x509_cert::der::Decode as _;

/// The server CA and the file that clients read its certificate from.
pub(crate) struct CaStore {
    ca: ServerCa,
    ca_file: PathBuf,
    /// Removed with the store.
    _temporary: Option<TempDir>,
}

impl CaStore {
    /// A new CA; its certificate lies in a folder that goes away with the store, its key nowhere.
    pub fn temporary() -> Result<Self, StartError> {
        let folder = tempfile::Builder::new()
            .prefix("keybound-emulator-")
            .tempdir()
            .map_err(StartError::Host)?;
        let ca = make()?;
        let ca_file = folder.path().join(CA_FILE);
        fs::write(&ca_file, ca.pem()).map_err(StartError::Host)?;
        Ok(Self {
            ca,
            ca_file,
            _temporary: Some(folder),
        })
    }

    /// The CA kept in a folder, which is made where it is absent. The key file holds key and certificate and comes into
    /// being in one step, so that two emulators started at once agree on one CA; the certificate's file follows from it.
    pub fn kept(folder: &Path) -> Result<Self, StartError> {
        let problem = Problem(folder);
        platform::make_private_folder(folder)
            .map_err(|error| problem.of("it cannot be made").because(error))?;
        let key_file = folder.join(KEY_FILE);
        let ca_file = folder.join(CA_FILE);
        let ca = match read_bounded(&key_file) {
            Ok(pem) => {
                platform::check_private(&key_file).map_err(|why| problem.of(why).alone())?;
                read_ca(&pem, problem)?
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if ca_file.exists() {
                    return Err(problem.of("ca.pem is there without ca-key.pem").alone());
                }
                keep_new(&key_file, problem)?
            }
            Err(error) => return Err(problem.of("ca-key.pem cannot be read").because(error)),
        };
        write_certificate(&ca_file, &ca, problem)?;
        Ok(Self {
            ca,
            ca_file,
            _temporary: None,
        })
    }

    pub fn ca(&self) -> &ServerCa {
        &self.ca
    }

    pub fn ca_file(&self) -> &Path {
        &self.ca_file
    }
}

fn make() -> Result<ServerCa, StartError> {
    ServerCa::make().map_err(|error| StartError::Certificates(error.into()))
}

/// Makes a CA and keeps it, unless another emulator was quicker; then takes that one.
fn keep_new(key_file: &Path, problem: Problem<'_>) -> Result<ServerCa, StartError> {
    let ca = make()?;
    let mut pem = ca
        .key_pem()
        .map_err(|error| StartError::Certificates(error.into()))?;
    pem.extend_from_slice(ca.pem());
    let unwritable = |error: io::Error| problem.of("ca-key.pem cannot be written").because(error);
    // The temporary file is readable by its owner only, and stays so under its new name.
    let mut file = NamedTempFile::new_in(problem.0).map_err(unwritable)?;
    file.write_all(&pem).map_err(unwritable)?;
    file.as_file().sync_all().map_err(unwritable)?;
    match file.persist_noclobber(key_file) {
        Ok(_) => Ok(ca),
        Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => {
            let pem = read_bounded(key_file)
                .map_err(|error| problem.of("ca-key.pem cannot be read").because(error))?;
            read_ca(&pem, problem)
        }
        Err(error) => Err(unwritable(error.error)),
    }
}

/// Reads key and certificate and checks that they are what [`ServerCa::make`] makes: above all that the certificate is
/// constrained to loopback, since clients are told to trust it.
fn read_ca(pem: &[u8], problem: Problem<'_>) -> Result<ServerCa, StartError> {
    let malformed = |error: openssl::error::ErrorStack| {
        problem
            .of("ca-key.pem does not hold a key and a certificate")
            .because(error)
    };
    let key = PKey::private_key_from_pem(pem).map_err(malformed)?;
    let certificate = X509::from_pem(pem).map_err(malformed)?;
    let certified = certificate.public_key().map_err(malformed)?;
    if !certified.public_eq(&key) {
        return Err(problem
            .of("the certificate in ca-key.pem is for another key")
            .alone());
    }
    if !is_constrained(&certificate) {
        return Err(problem
            .of("the certificate in ca-key.pem is not constrained to loopback as the emulator's is")
            .alone());
    }
    let soon = super::make::asn1_time(host_now() + LEAST_LEFT).map_err(malformed)?;
    if certificate.not_after() < soon {
        return Err(problem
            .of("the CA has expired or is about to: remove ca.pem and ca-key.pem to get a new one")
            .alone());
    }
    ServerCa::from_parts(Authority { certificate, key }).map_err(malformed)
}

fn is_constrained(certificate: &X509) -> bool {
    let Some(parsed) = certificate
        .to_der()
        .ok()
        .and_then(|der| x509_cert::Certificate::from_der(&der).ok())
    else {
        return false;
    };
    let extensions = parsed.tbs_certificate().extensions();
    extensions.is_some_and(|extensions| {
        extensions.iter().any(|extension| {
            extension.extn_id.to_string() == NAME_CONSTRAINTS_OID
                && extension.critical
                && extension.extn_value.as_bytes() == NAME_CONSTRAINTS
        })
    })
}

/// Writes the certificate, unless it is there. Nothing is replaced: where one of several that do this at once has the file
/// open, Windows would not let it be.
fn write_certificate(
    ca_file: &Path,
    ca: &ServerCa,
    problem: Problem<'_>,
) -> Result<(), StartError> {
    if has_certificate(ca_file, ca, problem)? {
        return Ok(());
    }
    let unwritable = |error: io::Error| problem.of("ca.pem cannot be written").because(error);
    let mut file = NamedTempFile::new_in(problem.0).map_err(unwritable)?;
    file.write_all(ca.pem()).map_err(unwritable)?;
    platform::make_readable(file.as_file()).map_err(unwritable)?;
    match file.persist_noclobber(ca_file) {
        Ok(_) => Ok(()),
        // Another one was quicker.
        Err(_) if has_certificate(ca_file, ca, problem)? => Ok(()),
        Err(error) => Err(unwritable(error.error)),
    }
}

/// Whether the certificate is in its file. Another one there is an error.
fn has_certificate(
    ca_file: &Path,
    ca: &ServerCa,
    problem: Problem<'_>,
) -> Result<bool, StartError> {
    match read_bounded(ca_file) {
        Ok(pem) if pem == ca.pem() => Ok(true),
        Ok(_) => Err(problem
            .of("ca.pem is not the certificate in ca-key.pem")
            .alone()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(problem.of("ca.pem cannot be read").because(error)),
    }
}

fn read_bounded(file: &Path) -> io::Result<Vec<u8>> {
    use io::Read as _;
    let mut bytes = Vec::new();
    fs::File::open(file)?
        .take(LONGEST_FILE + 1)
        .read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LONGEST_FILE {
        return Err(io::Error::other("it is longer than 64 KiB"));
    }
    Ok(bytes)
}

/// Makes the errors of one folder.
#[derive(Clone, Copy)]
struct Problem<'a>(&'a Path);

struct Named<'a>(&'a Path, &'static str);

impl<'a> Problem<'a> {
    fn of(self, what: &'static str) -> Named<'a> {
        Named(self.0, what)
    }
}

impl Named<'_> {
    fn alone(self) -> StartError {
        self.with(None)
    }

    fn because(self, source: impl Into<BoxError>) -> StartError {
        self.with(Some(source.into()))
    }

    fn with(self, source: Option<BoxError>) -> StartError {
        StartError::StateDir {
            path: self.0.to_owned(),
            problem: self.1,
            source,
        }
    }
}

#[cfg(unix)]
mod platform {
    use std::fs::{self, DirBuilder, File, Permissions};
    use std::io;
    use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
    use std::path::Path;

    pub fn make_private_folder(folder: &Path) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)
    }

    pub fn check_private(file: &Path) -> Result<(), &'static str> {
        match fs::metadata(file) {
            Ok(metadata) if metadata.permissions().mode() & 0o077 == 0 => Ok(()),
            Ok(_) => Err("ca-key.pem can be read by others: give it mode 0600"),
            Err(_) => Err("ca-key.pem cannot be read"),
        }
    }

    pub fn make_readable(file: &File) -> io::Result<()> {
        file.set_permissions(Permissions::from_mode(0o644))
    }
}

#[cfg(not(unix))]
mod platform {
    use std::fs::{self, File};
    use std::io;
    use std::path::Path;

    pub fn make_private_folder(folder: &Path) -> io::Result<()> {
        fs::create_dir_all(folder)
    }

    pub fn check_private(_: &Path) -> Result<(), &'static str> {
        Ok(())
    }

    pub fn make_readable(_: &File) -> io::Result<()> {
        Ok(())
    }
}

const CA_FILE: &str = "ca.pem";
const KEY_FILE: &str = "ca-key.pem";
const LONGEST_FILE: u64 = 64 * 1024;
/// A kept CA that ends sooner is refused at the start, rather than in the middle of the work.
const LEAST_LEFT: Duration = Duration::from_secs(24 * 3600);
