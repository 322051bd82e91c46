//! A fake of Windows: containers and certificates in memory, with failures on demand. It counts handles, and panics where
//! a handle is used that is not open.
#![allow(
    unsafe_code,
    reason = "the trait is unsafe; a broken promise only panics here"
)]
use super::super::certificate_store::CertificateEntry;
use super::super::mutex_name::MutexName;
use super::super::status::Status;
use super::super::store_path::StorePath;
use super::super::windows_api::{Lock, OVERWRITE, Property, WindowsApi};
use crate::memory::MemoryKey;
use crate::rsa_blob::tests::blob_of;
use crate::{BindingKey as _, SignatureScheme};
use keybound_core::lock;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

/// The host of a test.
pub(in super::super) struct FakeWindows {
    state: Mutex<State>,
}

#[derive(Default)]
pub(in super::super) struct State {
    pub(in super::super) containers: BTreeMap<String, FakeContainer>,
    /// The certificates, whatever their store.
    pub(in super::super) certificates: Vec<CertificateEntry>,
    /// The status of creating a key, where it fails.
    pub(in super::super) create_fails: Option<Status>,
    /// The status of opening a key, where it fails.
    pub(in super::super) open_fails: Option<Status>,
    pub(in super::super) export_fails: Option<Status>,
    pub(in super::super) policy_fails: Option<Status>,
    pub(in super::super) provider_fails: Option<Status>,
    pub(in super::super) add_certificate_fails: Option<Status>,
    /// The key that another process creates before the next key is finalized.
    pub(in super::super) created_by_another: Option<FakeContainer>,
    /// The key with which another process overwrites the next key that is finalized.
    pub(in super::super) overwritten_by_another: Option<FakeContainer>,
    /// The key that another process creates during the wait for the mutex.
    pub(in super::super) created_while_waiting: Option<FakeContainer>,
    /// The result of acquiring a mutex, where it fails.
    pub(in super::super) lock_fails: Option<fn() -> Lock>,
    /// Whether virtualization-based security is running.
    pub(in super::super) isolates: bool,
    /// The calls, in order.
    pub(in super::super) calls: Vec<String>,
    objects: BTreeMap<usize, Object>,
    /// The provider of each key, open or new.
    providers: BTreeMap<usize, usize>,
    last: usize,
    pub(in super::super) opened: usize,
    created: usize,
    held: usize,
}

/// Generating keys is slow: all tests share a few.
static KEYS: LazyLock<[Arc<MemoryKey>; 4]> = LazyLock::new(|| {
    [(); 4].map(|()| Arc::new(MemoryKey::generate().expect("OpenSSL generates keys")))
});

/// A key container, and the results of calls with its key.
#[derive(Clone)]
pub(in super::super) struct FakeContainer {
    pub(in super::super) key: Arc<MemoryKey>,
    pub(in super::super) signs: Result<(), Status>,
    pub(in super::super) opens: Result<(), Status>,
    pub(in super::super) isolation: Result<Vec<u8>, Status>,
    pub(in super::super) export_policy: Result<u32, Status>,
    pub(in super::super) group: Result<&'static str, Status>,
    /// The length of the exported public key, in bits.
    pub(in super::super) exports: Result<u32, Status>,
}

impl FakeContainer {
    /// A container that another process created.
    pub(in super::super) fn of_another_process() -> Self {
        Self::with_key(0)
    }

    fn with_key(index: usize) -> Self {
        Self {
            key: Arc::clone(&KEYS[index % KEYS.len()]),
            signs: Ok(()),
            opens: Ok(()),
            isolation: Ok(vec![1, 0, 0, 0]),
            export_policy: Ok(0),
            group: Ok("RSA"),
            exports: Ok(2048),
        }
    }
}

enum Object {
    Provider,
    Key(String, FakeContainer),
    /// Not yet finalized: name, flags, properties.
    New(String, u32, BTreeMap<Property, u32>),
}

impl FakeWindows {
    pub(in super::super) fn new() -> Arc<Self> {
        let state = State {
            isolates: true,
            ..State::default()
        };
        Arc::new(Self {
            state: Mutex::new(state),
        })
    }

    /// Reads or modifies the state.
    pub(in super::super) fn with<T>(&self, access: impl FnOnce(&mut State) -> T) -> T {
        access(&mut lock(&self.state))
    }

    /// Loses the material of all keys, as a boot does of per-boot keys.
    pub(in super::super) fn reboot(&self, signs: Status) {
        self.with(|state| {
            for container in state.containers.values_mut() {
                container.signs = Err(signs);
            }
        });
    }

    /// The number of open handles and held mutexes.
    pub(in super::super) fn open_handles(&self) -> usize {
        self.with(|state| state.objects.len() + state.held)
    }
}

impl State {
    fn add(&mut self, object: Object) -> usize {
        self.last += 8;
        self.opened += 1;
        self.objects.insert(self.last, object);
        self.last
    }

    fn add_key(&mut self, provider: usize, object: Object) -> usize {
        let key = self.add(object);
        self.providers.insert(key, provider);
        key
    }

    fn close(&mut self, raw: usize) -> Option<Object> {
        self.providers.remove(&raw);
        let has_keys = self.providers.values().any(|provider| *provider == raw);
        assert!(!has_keys, "{raw} is freed before its keys");
        self.objects.remove(&raw)
    }

    fn key(&self, raw: usize) -> &FakeContainer {
        match self.objects.get(&raw) {
            Some(Object::Key(_, container)) => container,
            _ => panic!("{raw} is not an open key"),
        }
    }

    fn is_provider(&self, raw: usize) {
        assert!(matches!(self.objects.get(&raw), Some(Object::Provider)));
    }
}

impl WindowsApi for Arc<FakeWindows> {
    fn open_provider(&self, _name: &str) -> Result<usize, Status> {
        self.with(|state| match state.provider_fails {
            Some(status) => Err(status),
            None => Ok(state.add(Object::Provider)),
        })
    }

    unsafe fn open_key(&self, provider: usize, name: &str, _: u32) -> Result<usize, Status> {
        self.with(|state| {
            state.is_provider(provider);
            state.calls.push("open".into());
            if let Some(status) = state.open_fails {
                return Err(status);
            }
            let container = state
                .containers
                .get(name)
                .ok_or(Status::BAD_KEYSET)?
                .clone();
            container.opens?;
            Ok(state.add_key(provider, Object::Key(name.into(), container)))
        })
    }

    unsafe fn create_key(&self, provider: usize, name: &str, flags: u32) -> Result<usize, Status> {
        self.with(|state| {
            state.is_provider(provider);
            state.calls.push(format!("create {flags:x}"));
            if let Some(status) = state.create_fails {
                return Err(status);
            }
            if state.containers.contains_key(name) && flags & OVERWRITE == 0 {
                return Err(Status::EXISTS);
            }
            let new = Object::New(name.into(), flags, BTreeMap::new());
            Ok(state.add_key(provider, new))
        })
    }

    unsafe fn set_property(
        &self,
        key: usize,
        property: Property,
        value: u32,
    ) -> Result<(), Status> {
        self.with(|state| match state.objects.get_mut(&key) {
            Some(Object::New(_, _, properties)) => {
                properties.insert(property, value);
                Ok(())
            }
            _ => panic!("{key} is not a new key"),
        })
    }

    unsafe fn property(
        &self,
        key: usize,
        property: Property,
        into: &mut [u8],
    ) -> Result<usize, Status> {
        self.with(|state| {
            let container = state.key(key);
            let value = match property {
                Property::ExportPolicy => match state.policy_fails {
                    Some(status) => return Err(status),
                    None => container.export_policy?.to_le_bytes().to_vec(),
                },
                Property::VirtualIsolation => container.isolation.clone()?,
                Property::AlgorithmGroup => {
                    let units = container.group?.encode_utf16().chain([0]);
                    units.flat_map(u16::to_le_bytes).collect()
                }
                Property::Length | Property::KeyUsage => return Err(Status::NOT_SUPPORTED),
            };
            into[..value.len()].copy_from_slice(&value);
            Ok(value.len())
        })
    }

    unsafe fn finalize(&self, key: usize) -> Result<(), Status> {
        self.with(|state| {
            let Some(Object::New(name, flags, properties)) = state.objects.remove(&key) else {
                panic!("{key} is not a new key");
            };
            state.calls.push(format!("finalize {properties:?}"));
            if let Some(container) = state.created_by_another.take() {
                state.containers.insert(name.clone(), container);
            }
            if state.containers.contains_key(&name) && flags & OVERWRITE == 0 {
                state
                    .objects
                    .insert(key, Object::New(name, flags, properties));
                return Err(Status::EXISTS);
            }
            state.created += 1;
            let mut container = FakeContainer::with_key(state.created);
            if !state.isolates {
                container.isolation = Ok(vec![]);
            }
            container.export_policy = Ok(properties[&Property::ExportPolicy]);
            let stored = state
                .overwritten_by_another
                .take()
                .unwrap_or_else(|| container.clone());
            state.containers.insert(name.clone(), stored);
            state.objects.insert(key, Object::Key(name, container));
            Ok(())
        })
    }

    unsafe fn export_public(&self, key: usize, into: &mut [u8]) -> Result<usize, Status> {
        self.with(|state| {
            if let Some(status) = state.export_fails {
                return Err(status);
            }
            let container = state.key(key);
            let mut blob = blob_of(container.key.public_key_der());
            blob[4..8].copy_from_slice(&container.exports?.to_le_bytes());
            into[..blob.len()].copy_from_slice(&blob);
            Ok(blob.len())
        })
    }

    unsafe fn sign(
        &self,
        key: usize,
        scheme: SignatureScheme,
        digest: &[u8],
        into: &mut [u8],
    ) -> Result<usize, Status> {
        self.with(|state| {
            let container = state.key(key);
            container.signs?;
            let signature = container
                .key
                .sign(scheme, digest)
                .map_err(|_| Status::NOT_SUPPORTED)?;
            into[..signature.len()].copy_from_slice(&signature);
            Ok(signature.len())
        })
    }

    unsafe fn delete(&self, key: usize) -> Result<(), Status> {
        self.with(|state| match state.close(key) {
            Some(Object::Key(name, _)) => {
                state.calls.push("delete".into());
                state.containers.remove(&name);
                Ok(())
            }
            _ => panic!("{key} is not an open key"),
        })
    }

    unsafe fn free(&self, object: usize) {
        let freed = self.with(|state| state.close(object));
        assert!(freed.is_some(), "{object} is not open");
    }

    fn lock(&self, name: &MutexName, timeout: Duration) -> Lock {
        self.with(|state| {
            state.calls.push(format!("lock {name:?} {timeout:?}"));
            if let Some(created) = state.created_while_waiting.take() {
                for container in state.containers.values_mut() {
                    *container = created.clone();
                }
            }
            if let Some(fails) = state.lock_fails {
                return fails();
            }
            state.held += 1;
            Lock::Held(Box::new(HeldMutex(Arc::clone(self))))
        })
    }

    fn certificates(&self, _: &StorePath) -> Result<Vec<CertificateEntry>, Status> {
        self.with(|state| {
            state.calls.push("certificates".into());
            Ok(state.certificates.clone())
        })
    }

    fn add_certificate(&self, _: &StorePath, entry: &CertificateEntry) -> Result<(), Status> {
        self.with(|state| {
            if let Some(status) = state.add_certificate_fails {
                return Err(status);
            }
            state.certificates.retain(|other| other.der != entry.der);
            state.certificates.push(entry.clone());
            Ok(())
        })
    }

    fn remove_certificate(&self, _: &StorePath, der: &[u8]) -> Result<(), Status> {
        self.with(|state| state.certificates.retain(|entry| entry.der != der));
        Ok(())
    }
}

struct HeldMutex(Arc<FakeWindows>);

impl Drop for HeldMutex {
    fn drop(&mut self) {
        self.0.with(|state| state.held -= 1);
    }
}

impl fmt::Debug for FakeWindows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FakeWindows")
    }
}
