//! The places of trust anchors on Unix.
use crate::ffi::{LibraryContext, native};
use openssl::error::ErrorStack;
use openssl::x509::store::{X509Store, X509StoreBuilder};
use std::ffi::{CStr, CString, OsStr, c_char};
use std::fs;
use std::iter;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};
use std::ptr::null;
use std::time::SystemTime;

/// A file and a directory of trust anchors, and when they were changed. `None` for one that has no certificate.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct HostAnchors {
    file: Option<Source>,
    folder: Option<Source>,
}

#[derive(Debug, PartialEq, Eq)]
struct Source {
    path: CString,
    modified: SystemTime,
    length: u64,
}

/// The paths of a file and of a directory, which may not exist.
type Place = (PathBuf, PathBuf);

impl HostAnchors {
    /// The anchors at OpenSSL's built-in paths; if those have none, at the first place of a distribution that has some: an
    /// OpenSSL that is built into a program was not built for the host's distribution. No environment variable is read.
    pub(super) fn find() -> Self {
        Self::find_below(Path::new("/"), built_in())
    }

    fn find_below(root: &Path, built_in: Place) -> Self {
        let places = DISTRIBUTIONS.map(|(file, folder)| (root.join(file), root.join(folder)));
        iter::once(built_in)
            .chain(places)
            .map(Self::at)
            .find(|anchors| *anchors != Self::default())
            .unwrap_or_default()
    }

    pub(super) fn at((file, folder): Place) -> Self {
        let file = Source::at(file).filter(|source| source.length > 0);
        let folder = has_hashed_certificate(&folder).then(|| Source::at(folder));
        Self {
            file,
            folder: folder.flatten(),
        }
    }

    /// A store with the directory, which OpenSSL searches on demand, and optionally the certificates of the file.
    pub(super) fn store(
        &self,
        library: &LibraryContext,
        with_file: bool,
    ) -> Result<X509Store, ErrorStack> {
        if *self == Self::default() {
            tracing::debug!("the system has no trust anchors");
        }
        let store = X509StoreBuilder::new()?.build();
        let file = self.file.as_ref().filter(|_| with_file);
        for (file, folder) in [(file, None), (None, self.folder.as_ref())] {
            if file.is_some() || folder.is_some() {
                load(&store, library, path(file), path(folder));
            }
        }
        Ok(store)
    }
}

impl Source {
    fn at(path: PathBuf) -> Option<Self> {
        let metadata = fs::metadata(&path).ok()?;
        Some(Self {
            path: CString::new(path.into_os_string().into_vec()).ok()?,
            modified: metadata.modified().ok()?,
            length: metadata.len(),
        })
    }
}

/// The pointer to the path, or null.
fn path(source: Option<&Source>) -> *const c_char {
    source.map_or(null(), |source| source.path.as_ptr())
}

/// Adds a file or a directory to a store.
fn load(store: &X509Store, library: &LibraryContext, file: *const c_char, folder: *const c_char) {
    use foreign_types::ForeignType as _;
    let context = library.context();
    // SAFETY: the store is alive; the paths are null, or strings of `Source`s that the caller borrows.
    let loaded = unsafe {
        native::X509_STORE_load_locations_ex(store.as_ptr(), file, folder, context, null())
    };
    if loaded != 1 {
        tracing::debug!(errors = %ErrorStack::get(), "the system's trust anchors cannot be read");
    }
}

/// Whether a directory has a certificate under the name that OpenSSL searches for: the hash of its subject and a number.
fn has_hashed_certificate(folder: &Path) -> bool {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name()).any(|name| {
        let name = name.to_str().and_then(|name| name.split_once('.'));
        name.is_some_and(|(hash, number)| {
            hash.len() == 8
                && hash.bytes().all(|byte| byte.is_ascii_hexdigit())
                && number.parse::<u32>().is_ok()
        })
    })
}

/// The paths that are compiled into OpenSSL.
fn built_in() -> Place {
    // SAFETY: both calls return constant strings.
    let [file, folder] = unsafe {
        [
            CStr::from_ptr(native::X509_get_default_cert_file()),
            CStr::from_ptr(native::X509_get_default_cert_dir()),
        ]
    };
    (to_path(file), to_path(folder))
}

fn to_path(text: &CStr) -> PathBuf {
    OsStr::from_bytes(text.to_bytes()).into()
}

/// The file and the directory of each distribution, below the root.
const DISTRIBUTIONS: [(&str, &str); 5] = [
    // Debian, Ubuntu, Alpine; images that contain only the file
    ("etc/ssl/certs/ca-certificates.crt", "etc/ssl/certs"),
    // Red Hat, Fedora, Azure Linux
    ("etc/pki/tls/certs/ca-bundle.crt", "etc/pki/tls/certs"),
    // their later versions
    (
        "etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
        "etc/pki/ca-trust/extracted/pem/directory-hash",
    ),
    // SUSE
    (
        "var/lib/ca-certificates/ca-bundle.pem",
        "var/lib/ca-certificates/pem",
    ),
    // Alpine without the package ca-certificates, BSD, macOS
    ("etc/ssl/cert.pem", "etc/ssl/certs"),
];

#[cfg(test)]
mod tests {
    use super::super::tests::trusts;
    use super::*;
    use keybound_testing::Leaf;
    use openssl::x509::X509;
    use std::os::unix::fs::symlink;
    use tempfile::TempDir;

    /// A root directory with these files; `HASH` in a path is the hash of the certificate's subject.
    struct Root {
        folder: TempDir,
        certificate: X509,
    }

    impl Root {
        fn new() -> Self {
            Self {
                folder: tempfile::tempdir().unwrap(),
                certificate: Leaf::self_signed("anchor").certificate,
            }
        }

        fn path(&self, path: &str) -> PathBuf {
            #[allow(deprecated, reason = "the name in openssl 0.10 of the current hash")]
            let hash = format!("{:08x}", self.certificate.subject_name_hash());
            let path = self.folder.path().join(path.replace("HASH", &hash));
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            path
        }

        fn write(&self, path: &str, content: &[u8]) {
            fs::write(self.path(path), content).unwrap();
        }

        fn add(&self, path: &str) {
            self.write(path, &self.certificate.to_pem().unwrap());
        }

        fn find(&self) -> HostAnchors {
            let built_in = |name| self.folder.path().join("usr/local/ssl").join(name);
            let built_in = (built_in("cert.pem"), built_in("certs"));
            HostAnchors::find_below(self.folder.path(), built_in)
        }

        fn is_trusted(&self) -> bool {
            let library = LibraryContext::get().unwrap();
            let store = self.find().store(library, true).unwrap();
            assert!(!trusts(&store, &Leaf::self_signed("other").certificate));
            trusts(&store, &self.certificate)
        }
    }

    #[test]
    fn finds_the_anchors_of_each_distribution() {
        for (distribution, path) in [
            ("built-in file", "usr/local/ssl/cert.pem"),
            ("built-in directory", "usr/local/ssl/certs/HASH.0"),
            ("Debian", "etc/ssl/certs/HASH.0"),
            ("distroless", "etc/ssl/certs/ca-certificates.crt"),
            ("Azure Linux", "etc/pki/tls/certs/ca-bundle.crt"),
            (
                "Red Hat",
                "etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
            ),
            (
                "Red Hat, directory",
                "etc/pki/ca-trust/extracted/pem/directory-hash/HASH.0",
            ),
            ("SUSE", "var/lib/ca-certificates/ca-bundle.pem"),
            ("SUSE, directory", "var/lib/ca-certificates/pem/HASH.0"),
            ("Alpine", "etc/ssl/cert.pem"),
        ] {
            let root = Root::new();
            assert!(!root.is_trusted(), "{distribution}");
            root.add(path);
            assert!(root.is_trusted(), "{distribution}");
        }
    }

    #[test]
    fn passes_over_places_without_certificates() {
        let root = Root::new();
        root.write("usr/local/ssl/cert.pem", b"");
        root.write("usr/local/ssl/certs/README", b"text");
        root.write("etc/pki/tls/certs/ca-bundle.trust.crt", b"text");
        // As on Red Hat, where the names in the directory are no hashes.
        symlink("../pki/tls/certs", root.path("etc/ssl/certs")).unwrap();
        assert_eq!(root.find(), HostAnchors::default());
        root.add("etc/pki/tls/certs/ca-bundle.crt");
        assert!(root.is_trusted());
    }

    #[test]
    fn trusts_the_first_place_only() {
        let root = Root::new();
        root.add("etc/ssl/certs/ca-certificates.crt");
        assert!(root.is_trusted());
        let other = Leaf::self_signed("another").certificate;
        root.write("usr/local/ssl/cert.pem", &other.to_pem().unwrap());
        assert!(!root.is_trusted());
    }

    #[test]
    fn differ_after_a_change() {
        let root = Root::new();
        let mut found = vec![root.find()];
        for path in [
            "etc/ssl/certs/ca-certificates.crt",
            "etc/ssl/certs/HASH.0",
            "usr/local/ssl/cert.pem",
        ] {
            root.add(path);
            found.push(root.find());
            assert_eq!(root.find(), found[found.len() - 1]);
        }
        root.write("usr/local/ssl/cert.pem", b"shorter");
        found.push(root.find());
        for (index, anchors) in found.iter().enumerate() {
            assert!(!found[..index].contains(anchors), "{index}");
        }
    }
}
