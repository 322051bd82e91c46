use super::authority::Authority;
use super::server_ca::ServerCa;
use super::state_dir::{StateDir, StoredFile};
use crate::clock::host_now;
use crate::start_error::StartError;
use openssl::error::ErrorStack;
use openssl::pkey::PKey;
use openssl::x509::X509;
use std::fs::File;
#[cfg(unix)]
use std::fs::Permissions;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::{NamedTempFile, TempDir};
use x509_cert::der::Decode as _;
use x509_cert::der::oid::AssociatedOid as _;
use x509_cert::ext::Extension;
use x509_cert::ext::pkix::SubjectKeyIdentifier;

/// The server CA and the file that clients read its certificate from.
pub(crate) struct CaStore {
    ca: ServerCa,
    ca_file: PathBuf,
    /// Removed when the store is dropped.
    _temporary: Option<TempDir>,
}

impl CaStore {
    /// A new CA. Its certificate is in a directory that is removed with the store, its key only in memory.
    pub fn temporary() -> Result<Self, StartError> {
        let folder = temporary_folder().map_err(StartError::Host)?;
        let ca = create()?;
        let ca_file = folder.path().join(StoredFile::Certificate.name());
        readable_file(folder.path(), ca.pem())
            .and_then(|file| Ok(file.persist(&ca_file)?))
            .map_err(StartError::Host)?;
        Ok(Self {
            ca,
            ca_file,
            _temporary: Some(folder),
        })
    }

    /// The CA stored in a directory, which is created if absent. The key file contains key and certificate and is created
    /// atomically, so that emulators that start at the same time use the same CA; the certificate file is derived from it.
    pub fn stored(folder: &Path) -> Result<Self, StartError> {
        let dir = StateDir::open(folder.to_owned())?;
        let key_and_certificate = dir.read(StoredFile::Key)?;
        let ca = match (key_and_certificate, dir.read(StoredFile::Certificate)?) {
            (Some(pem), _) => read_ca(&dir, &pem)?,
            (None, None) => store_new(&dir)?,
            // Another emulator may have created both in between.
            (None, Some(_)) => match dir.read(StoredFile::Key)? {
                Some(pem) => read_ca(&dir, &pem)?,
                None => return Err(dir.problem("ca.pem exists, but ca-key.pem does not")),
            },
        };
        write_certificate(&dir, &ca)?;
        Ok(Self {
            ca,
            ca_file: dir.file(StoredFile::Certificate),
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

fn create() -> Result<ServerCa, StartError> {
    ServerCa::create().map_err(|error| StartError::Certificates(error.into()))
}

/// Creates and stores a CA, unless another emulator has stored one; then loads that one from the opened directory.
fn store_new(dir: &StateDir) -> Result<ServerCa, StartError> {
    let ca = create()?;
    let mut pem = ca
        .key_pem()
        .map_err(|error| StartError::Certificates(error.into()))?;
    pem.extend_from_slice(ca.pem());
    let unwritable = |error: io::Error| dir.error("ca-key.pem cannot be written", error);
    // The temporary file is readable by its owner only, also under its new name.
    let mut file = NamedTempFile::new_in(dir.path()).map_err(unwritable)?;
    file.write_all(&pem).map_err(unwritable)?;
    file.as_file().sync_all().map_err(unwritable)?;
    match file.persist_noclobber(dir.file(StoredFile::Key)) {
        Ok(_) => (),
        Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => (),
        Err(error) => return Err(unwritable(error.error)),
    }
    match dir.read(StoredFile::Key)? {
        Some(pem) => read_ca(dir, &pem),
        None => Err(dir.problem("it was replaced meanwhile")),
    }
}

/// Parses key and certificate and checks that they are as [`ServerCa::create`] creates them, especially that the certificate is
/// constrained to loopback, since clients trust it.
fn read_ca(dir: &StateDir, pem: &[u8]) -> Result<ServerCa, StartError> {
    let malformed =
        |error: ErrorStack| dir.error("ca-key.pem does not hold a key and a certificate", error);
    let pem = without_bom(pem);
    // Without the callback OpenSSL prompts on the terminal for the passphrase of an encrypted key.
    let no_passphrase = |_: &mut [u8]| Err(ErrorStack::get());
    let key = PKey::private_key_from_pem_callback(pem, no_passphrase).map_err(malformed)?;
    let certificate = X509::from_pem(pem).map_err(malformed)?;
    let certified = certificate.public_key().map_err(malformed)?;
    if !certified.public_eq(&key) {
        return Err(dir.problem("the certificate in ca-key.pem is for another key"));
    }
    let new = create()?;
    if !constraints(&certificate).is_some_and(|found| Some(found) == constraints(new.certificate()))
    {
        return Err(dir.problem("the certificate in ca-key.pem is not constrained to servers on loopback as the emulator's is"));
    }
    let soon = super::authority::asn1_time(host_now() + MIN_REMAINING).map_err(malformed)?;
    if certificate.not_after() < soon {
        return Err(dir.problem(
            "the CA has expired or expires soon: remove ca.pem and ca-key.pem to get a new one",
        ));
    }
    ServerCa::from_parts(Authority { certificate, key }).map_err(malformed)
}

/// The extensions of a certificate in their order, without the identifier of its key.
fn constraints(certificate: &X509) -> Option<Vec<Extension>> {
    let der = certificate.to_der().ok()?;
    let parsed = x509_cert::Certificate::from_der(&der).ok()?;
    let mut constraints = parsed.tbs_certificate().extensions()?.clone();
    constraints.retain(|extension| extension.extn_id != SubjectKeyIdentifier::OID);
    Some(constraints)
}

/// Writes the certificate file unless it exists. It is never replaced: Windows would not allow that while another emulator has
/// it open.
fn write_certificate(dir: &StateDir, ca: &ServerCa) -> Result<(), StartError> {
    if has_certificate(dir, ca)? {
        return Ok(());
    }
    let unwritable = |error: io::Error| dir.error("ca.pem cannot be written", error);
    let file = readable_file(dir.path(), ca.pem()).map_err(unwritable)?;
    match file.persist_noclobber(dir.file(StoredFile::Certificate)) {
        Ok(_) => Ok(()),
        Err(_) if has_certificate(dir, ca)? => Ok(()),
        Err(error) => Err(unwritable(error.error)),
    }
}

/// Whether the certificate file contains the certificate and no other; line ends and comments are ignored, as by clients.
/// Another certificate is an error.
fn has_certificate(dir: &StateDir, ca: &ServerCa) -> Result<bool, StartError> {
    let Some(pem) = dir.read(StoredFile::Certificate)? else {
        return Ok(false);
    };
    if certificates(&pem).is_some_and(|found| matches!(&found[..], [only] if ca.is(only))) {
        return Ok(true);
    }
    Err(dir.problem("ca.pem is not the certificate in ca-key.pem"))
}

/// The certificates of a PEM text.
fn certificates(pem: &[u8]) -> Option<Vec<X509>> {
    X509::stack_from_pem(without_bom(pem)).ok()
}

/// Removes the byte order mark that some editors add.
fn without_bom(text: &[u8]) -> &[u8] {
    text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text)
}

/// A file that others can read, independent of the umask, and only its owner can write.
fn readable_file(folder: &Path, content: &[u8]) -> io::Result<NamedTempFile> {
    let mut file = NamedTempFile::new_in(folder)?;
    file.write_all(content)?;
    make_readable(file.as_file())?;
    Ok(file)
}

#[cfg(unix)]
fn make_readable(file: &File) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    file.set_permissions(Permissions::from_mode(0o644))
}

#[cfg(not(unix))]
fn make_readable(_: &File) -> io::Result<()> {
    Ok(())
}

/// Commands of `--exec` may run as another user and must be able to read the certificate.
#[cfg(unix)]
fn temporary_folder() -> io::Result<TempDir> {
    use std::os::unix::fs::PermissionsExt as _;
    tempfile::Builder::new()
        .prefix(TEMPORARY)
        .permissions(Permissions::from_mode(0o755))
        .tempdir()
}

#[cfg(not(unix))]
fn temporary_folder() -> io::Result<TempDir> {
    tempfile::Builder::new().prefix(TEMPORARY).tempdir()
}

const TEMPORARY: &str = "keybound-emulator-";

/// A stored CA with less remaining lifetime is an error, so that it does not expire during the run.
const MIN_REMAINING: Duration = Duration::from_secs(24 * 3600);
