//! Libraries to load, a key to attest, and captured log lines.
use keybound_attestation::native::{NativeAttestation, NativeFailure};
use keybound_attestation::{AttestationProvider as _, AttestationRequest};
use keybound_core::{AttestationToken, Error, Guid, KeyStrength};
use keybound_keys::{BindingKey, CngHandle, KeyError, KeyErrorKind, SignatureScheme};
use keybound_testing::CapturedLog;
use sha2::{Digest as _, Sha256};
use std::error::Error as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use url::Url;

/// Copies a library for one test, which has its own state.
pub fn copy_of(library: &str, test: &str) -> PathBuf {
    // Before the first event: tracing caches for each callsite whether a subscriber is interested.
    CapturedLog::of_process();
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(test);
    let folder = std::path::absolute(folder).unwrap();
    std::fs::create_dir_all(&folder).unwrap();
    let copy = folder.join("AttestationClientLib.dll");
    std::fs::copy(original(library), &copy).unwrap();
    copy
}

/// A library that scripts/attestation-libraries built or fetched.
pub fn original(library: &str) -> PathBuf {
    let path = in_libraries(library);
    assert!(
        path.is_file(),
        "{} is missing: scripts/attestation-libraries could not build or fetch it; {HOW}",
        path.display()
    );
    path
}

/// A path in the folder that scripts/attestation-libraries prints.
pub fn in_libraries(file: &str) -> PathBuf {
    let folder = std::env::var("KEYBOUND_ATTESTATION_LIBRARIES")
        .unwrap_or_else(|_| panic!("KEYBOUND_ATTESTATION_LIBRARIES is not set: {HOW}"));
    match folder.strip_prefix('/') {
        // The path of the host's files under Wine.
        Some(below) => PathBuf::from(format!("Z:\\{}", below.replace('/', "\\"))).join(file),
        None => PathBuf::from(folder).join(file),
    }
}

const HOW: &str = "run scripts/test-windows --package keybound-attestation";

pub fn sha256(path: &Path) -> [u8; 32] {
    Sha256::digest(std::fs::read(path).unwrap()).into()
}

/// A provider that uses this file without a signature.
pub fn pinned(path: &Path) -> NativeAttestation {
    NativeAttestation::new()
        .library(path)
        .pinned_sha256(sha256(path))
}

/// Attests with a fake library that performs this action.
pub async fn attest_with(path: &Path, action: &str) -> Result<AttestationToken, Error> {
    attest(
        &pinned(path).client_payload(action).unwrap(),
        &Key::keyguard(),
    )
    .await
}

/// The number in the token of a fake library.
pub async fn number(path: &Path, of: &str) -> i32 {
    let token = attest_with(path, of).await.unwrap();
    token.expose().split('.').nth(1).unwrap().parse().unwrap()
}

pub async fn attest(provider: &NativeAttestation, key: &Key) -> Result<AttestationToken, Error> {
    let endpoint = Url::parse("https://maa.example.net/").unwrap();
    let client_id = Guid::parse("11111111-1111-4111-8111-111111111111").unwrap();
    provider
        .attest(AttestationRequest::new(&endpoint, key, &client_id))
        .await
}

pub fn failure(error: &Error) -> &NativeFailure {
    error.source().unwrap().downcast_ref().unwrap()
}

/// A key that fake libraries do not use.
#[derive(Debug)]
pub struct Key {
    pub strength: KeyStrength,
    pub handle: Option<CngHandle>,
}

impl Key {
    pub fn keyguard() -> Self {
        Self {
            strength: KeyStrength::KeyGuard,
            handle: Some(handle(0x1234)),
        }
    }
}

fn handle(raw: usize) -> CngHandle {
    // SAFETY: not a key; fake libraries use it as a number only.
    unsafe { CngHandle::new(raw, Arc::new(())) }
}

impl BindingKey for Key {
    fn public_key_der(&self) -> &[u8] {
        &[]
    }
    fn sign(&self, _: SignatureScheme, _: &[u8]) -> Result<Vec<u8>, KeyError> {
        Err(KeyError::new(KeyErrorKind::Failed, "it does not sign"))
    }
    fn strength(&self) -> KeyStrength {
        self.strength
    }
    fn id(&self) -> &str {
        "test"
    }
    fn cng_handle(&self) -> Option<CngHandle> {
        self.handle.clone()
    }
}
