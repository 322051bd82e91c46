use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use keybound::store::{BindingCacheKey, BindingStore, StoredBinding};
use keybound::{Certificate, Guid};
use serde::{Deserialize, Serialize};
use std::fs;
use std::io::{self, Write as _};
use std::path::PathBuf;

/// Stores each certificate as a JSON file of a directory, without its key.
///
/// A store is best effort: an entry that cannot be read or written is skipped, and a certificate is issued instead. Keybound
/// validates a loaded entry like a response of IMDS, so a manipulated file is not used.
#[derive(Debug)]
pub struct FolderStore {
    folder: PathBuf,
}

impl FolderStore {
    /// A store in this existing directory, to which only its owner must be able to write.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self {
            folder: folder.into(),
        }
    }

    /// All entries with their files.
    fn entries(&self) -> io::Result<Vec<(PathBuf, Entry)>> {
        let mut entries = Vec::new();
        for file in fs::read_dir(&self.folder)? {
            let path = file?.path();
            if path
                .extension()
                .is_some_and(|extension| extension == "json")
                && let Ok(text) = fs::read(&path)
                && let Ok(entry) = serde_json::from_slice(&text)
            {
                entries.push((path, entry));
            }
        }
        Ok(entries)
    }

    /// Writes a temporary file and renames it, so that no other process reads a partial entry.
    fn write(&self, name: &str, entry: &Entry) -> io::Result<()> {
        let mut file = tempfile::NamedTempFile::new_in(&self.folder)?;
        file.write_all(&serde_json::to_vec_pretty(entry)?)?;
        file.persist(self.folder.join(name))?;
        Ok(())
    }
}

impl BindingStore for FolderStore {
    fn load(&self, key: &BindingCacheKey) -> Vec<StoredBinding> {
        let owner = owner(key);
        let entries = self.entries().unwrap_or_default().into_iter();
        entries
            .filter(|(_, entry)| entry.owner == owner)
            .filter_map(|(_, entry)| entry.binding())
            .collect()
    }

    fn save(&self, key: &BindingCacheKey, binding: &StoredBinding) {
        let thumbprint = &binding.certificate.thumbprints().x5t_s256;
        // On systems that ignore the case of file names, a collision replaces an entry.
        let name = format!("{thumbprint}.json");
        let _ = self.write(&name, &Entry::new(owner(key), binding));
    }

    fn remove(&self, key: &BindingCacheKey, certificate: &Certificate) {
        let owner = owner(key);
        for (path, entry) in self.entries().unwrap_or_default() {
            let is_same = entry.certificate == STANDARD.encode(certificate.der());
            if entry.owner == owner && is_same {
                let _ = fs::remove_file(path);
            }
        }
    }
}

/// A stored binding with its owner.
#[derive(Serialize, Deserialize)]
struct Entry {
    owner: String,
    certificate: String,
    client_id: String,
    tenant_id: String,
    identity_type: String,
    endpoint: String,
    token_endpoint: String,
    key_name: String,
}

impl Entry {
    fn new(owner: String, binding: &StoredBinding) -> Self {
        Self {
            owner,
            certificate: STANDARD.encode(binding.certificate.der()),
            client_id: binding.client_id.as_str().to_owned(),
            tenant_id: binding.tenant_id.as_str().to_owned(),
            identity_type: binding.identity_type.clone(),
            endpoint: binding.endpoint.clone(),
            token_endpoint: binding.token_endpoint.clone(),
            key_name: binding.key_name.clone(),
        }
    }

    /// Parses the members; `None` if one is malformed.
    fn binding(self) -> Option<StoredBinding> {
        let certificate = STANDARD.decode(&self.certificate).ok()?;
        Some(StoredBinding {
            certificate: Certificate::from_der(&certificate).ok()?,
            client_id: Guid::parse(&self.client_id)?,
            tenant_id: Guid::parse(&self.tenant_id)?,
            identity_type: self.identity_type,
            endpoint: self.endpoint,
            token_endpoint: self.token_endpoint,
            key_name: self.key_name,
        })
    }
}

/// The identity and the attestation: attested and unattested certificates are separate.
fn owner(key: &BindingCacheKey) -> String {
    let identity = &key.identity;
    let id = identity.id().unwrap_or_default();
    format!("{:?} {id} {}", identity.kind(), key.attestation.as_str())
}
