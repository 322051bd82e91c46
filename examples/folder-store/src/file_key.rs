use keybound::KeyStrength;
use keybound::keys::{BindingKey, KeyError, KeyErrorKind, KeyProvider, SignatureScheme};
use openssl::error::ErrorStack;
use openssl::md::{Md, MdRef};
use openssl::pkey::{PKey, Private};
use openssl::pkey_ctx::PkeyCtx;
use openssl::rsa::{Padding, Rsa};
use openssl::sign::RsaPssSaltlen;
use std::fmt;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Opens the key in a file, or creates one there.
#[derive(Debug)]
pub struct FileKeyProvider {
    path: PathBuf,
}

impl FileKeyProvider {
    /// A provider for the key in this file (PEM).
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    fn read_or_create(&self) -> io::Result<PKey<Private>> {
        match fs::read(&self.path) {
            Ok(pem) => Ok(PKey::private_key_from_pem(&pem)?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => self.create(),
            Err(error) => Err(error),
        }
    }

    /// Writes a temporary file, which only its owner can read, and links it: of two processes one creates the key, and the
    /// other one opens it.
    fn create(&self) -> io::Result<PKey<Private>> {
        let key = PKey::from_rsa(Rsa::generate(2048)?)?;
        let folder = self.path.parent().unwrap_or(Path::new("."));
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        file.write_all(&key.private_key_to_pem_pkcs8()?)?;
        match file.persist_noclobber(&self.path) {
            Ok(_) => Ok(key),
            Err(lost) if lost.error.kind() == io::ErrorKind::AlreadyExists => self.read_or_create(),
            Err(failed) => Err(failed.error),
        }
    }
}

impl KeyProvider for FileKeyProvider {
    fn strength(&self) -> KeyStrength {
        KeyStrength::Software
    }

    fn open(&self) -> Result<Arc<dyn BindingKey>, KeyError> {
        let failed = |error: io::Error| {
            KeyError::new(
                KeyErrorKind::Failed,
                "the key file cannot be opened or created",
            )
            .with_source(error)
        };
        let key = self.read_or_create().map_err(failed)?;
        let public_key = key
            .public_key_to_der()
            .map_err(|error| failed(error.into()))?;
        Ok(Arc::new(FileKey {
            name: self.path.to_string_lossy().into_owned(),
            key,
            public_key,
        }))
    }
}

/// A key that was read from a file.
struct FileKey {
    name: String,
    key: PKey<Private>,
    public_key: Vec<u8>,
}

impl FileKey {
    fn sign_digest(&self, scheme: SignatureScheme, digest: &[u8]) -> Result<Vec<u8>, ErrorStack> {
        let hash = hash_of(scheme);
        let mut context = PkeyCtx::new(&self.key)?;
        context.sign_init()?;
        context.set_rsa_padding(if scheme.is_pss() {
            Padding::PKCS1_PSS
        } else {
            Padding::PKCS1
        })?;
        context.set_signature_md(hash)?;
        if scheme.is_pss() {
            context.set_rsa_mgf1_md(hash)?;
            context.set_rsa_pss_saltlen(RsaPssSaltlen::DIGEST_LENGTH)?;
        }
        let mut signature = Vec::new();
        context.sign_to_vec(digest, &mut signature)?;
        Ok(signature)
    }
}

impl BindingKey for FileKey {
    fn public_key_der(&self) -> &[u8] {
        &self.public_key
    }

    fn sign(&self, scheme: SignatureScheme, digest: &[u8]) -> Result<Vec<u8>, KeyError> {
        self.sign_digest(scheme, digest).map_err(|error| {
            KeyError::new(KeyErrorKind::Failed, "OpenSSL could not sign").with_source(error)
        })
    }

    fn strength(&self) -> KeyStrength {
        KeyStrength::Software
    }

    fn id(&self) -> &str {
        &self.name
    }

    /// The path: a later process opens the same key, so its certificates are stored.
    fn persistent_name(&self) -> Option<&str> {
        Some(&self.name)
    }
}

/// Omits the key.
impl fmt::Debug for FileKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileKey")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

fn hash_of(scheme: SignatureScheme) -> &'static MdRef {
    match scheme.digest_len() {
        32 => Md::sha256(),
        48 => Md::sha384(),
        _ => Md::sha512(),
    }
}
