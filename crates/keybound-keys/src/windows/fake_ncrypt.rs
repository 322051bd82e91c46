//! What stands in for Windows in tests: containers in memory, and everything that can go wrong with them on demand. It
//! counts handles, and panics where one is used that is not open.
#![allow(
    unsafe_code,
    reason = "the trait is unsafe; a broken promise only panics here"
)]
use super::msal_certificate_cache::KeyPlace;
use super::names::MutexName;
use super::ncrypt_api::{Held, Lock, NcryptApi, OVERWRITE, Property};
use super::status::Status;
use crate::memory::MemoryKey;
use crate::rsa_blob::tests::blob_of;
use crate::{BindingKey as _, SignatureScheme};
use keybound_core::lock;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

/// The world of a test: what outlives processes and boots, and what goes wrong.
pub(super) struct FakeNcrypt {
    world: Mutex<World>,
}

#[derive(Default)]
pub(super) struct World {
    pub(super) containers: BTreeMap<String, Kept>,
    /// What making a key answers, where it fails.
    pub(super) create_fails: Option<Status>,
    /// What opening a key by name answers, where it fails.
    pub(super) open_fails: Option<Status>,
    pub(super) export_fails: Option<Status>,
    pub(super) policy_fails: Option<Status>,
    pub(super) provider_fails: Option<Status>,
    /// What becomes of the next key between its making and its finalizing.
    pub(super) rival: Option<Kept>,
    /// What another process puts in the place of the next key that is finalized.
    pub(super) overwrites_ours: Option<Kept>,
    /// What is done while somebody waits for the mutex.
    pub(super) while_waiting: Option<Kept>,
    /// What acquiring a mutex comes to, where it fails.
    pub(super) lock_fails: Option<fn() -> Lock>,
    /// Whether keys that are asked for with isolation get it.
    pub(super) isolates: bool,
    /// What has been done, in order.
    pub(super) calls: Vec<String>,
    /// Of which places certificates were removed, but for which public key.
    pub(super) purged: Vec<(KeyPlace, Vec<u8>)>,
    objects: BTreeMap<usize, Object>,
    /// The provider of each key, open or new.
    providers: BTreeMap<usize, usize>,
    last: usize,
    pub(super) opened: usize,
    made: usize,
    held: usize,
}

/// Making keys takes long: there are a few for all tests.
static KEYS: LazyLock<[Arc<MemoryKey>; 4]> = LazyLock::new(|| {
    [(); 4].map(|()| Arc::new(MemoryKey::generate().expect("OpenSSL makes keys")))
});

/// A container.
#[derive(Clone)]
pub(super) struct Kept {
    pub(super) key: Arc<MemoryKey>,
    pub(super) signs: Result<(), Status>,
    pub(super) opens: Result<(), Status>,
    pub(super) isolation: Result<Vec<u8>, Status>,
    pub(super) export_policy: Result<u32, Status>,
    pub(super) group: Result<&'static str, Status>,
    /// The length that its public key reports, where that is another one than 2048 bits, or why none is reported.
    pub(super) exports: Result<u32, Status>,
}

impl Kept {
    /// What another process made.
    pub(super) fn of_a_rival() -> Self {
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
    Key(String, Kept),
    /// Not yet finalized: its name, its flags, its properties.
    New(String, u32, BTreeMap<Property, u32>),
}

impl FakeNcrypt {
    pub(super) fn new() -> Arc<Self> {
        let world = World {
            isolates: true,
            ..World::default()
        };
        Arc::new(Self {
            world: Mutex::new(world),
        })
    }

    /// Looks at the world, or changes it.
    pub(super) fn with<T>(&self, look: impl FnOnce(&mut World) -> T) -> T {
        look(&mut lock(&self.world))
    }

    /// What a boot does to keys that live until the next one.
    pub(super) fn reboot(&self, signs: Status) {
        self.with(|world| {
            for kept in world.containers.values_mut() {
                kept.signs = Err(signs);
            }
        });
    }

    /// Handles and mutexes that are open now.
    pub(super) fn open_now(&self) -> usize {
        self.with(|world| world.objects.len() + world.held)
    }
}

impl World {
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

    fn key(&self, raw: usize) -> &Kept {
        match self.objects.get(&raw) {
            Some(Object::Key(_, kept)) => kept,
            _ => panic!("{raw} is not an open key"),
        }
    }

    fn is_provider(&self, raw: usize) {
        assert!(matches!(self.objects.get(&raw), Some(Object::Provider)));
    }
}

impl NcryptApi for Arc<FakeNcrypt> {
    fn open_provider(&self, _name: &str) -> Result<usize, Status> {
        self.with(|world| match world.provider_fails {
            Some(status) => Err(status),
            None => Ok(world.add(Object::Provider)),
        })
    }

    unsafe fn open_key(&self, provider: usize, name: &str, _: u32) -> Result<usize, Status> {
        self.with(|world| {
            world.is_provider(provider);
            world.calls.push("open".into());
            if let Some(status) = world.open_fails {
                return Err(status);
            }
            let kept = world
                .containers
                .get(name)
                .ok_or(Status::BAD_KEYSET)?
                .clone();
            kept.opens?;
            Ok(world.add_key(provider, Object::Key(name.into(), kept)))
        })
    }

    unsafe fn create_key(&self, provider: usize, name: &str, flags: u32) -> Result<usize, Status> {
        self.with(|world| {
            world.is_provider(provider);
            world.calls.push(format!("create {flags:x}"));
            if let Some(status) = world.create_fails {
                return Err(status);
            }
            if world.containers.contains_key(name) && flags & OVERWRITE == 0 {
                return Err(Status::EXISTS);
            }
            let new = Object::New(name.into(), flags, BTreeMap::new());
            Ok(world.add_key(provider, new))
        })
    }

    unsafe fn set_property(
        &self,
        key: usize,
        property: Property,
        value: u32,
    ) -> Result<(), Status> {
        self.with(|world| match world.objects.get_mut(&key) {
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
        self.with(|world| {
            let kept = world.key(key);
            let value = match property {
                Property::ExportPolicy => match world.policy_fails {
                    Some(status) => return Err(status),
                    None => kept.export_policy?.to_le_bytes().to_vec(),
                },
                Property::VirtualIsolation => kept.isolation.clone()?,
                Property::AlgorithmGroup => {
                    let units = kept.group?.encode_utf16().chain([0]);
                    units.flat_map(u16::to_le_bytes).collect()
                }
                Property::Length | Property::KeyUsage => return Err(Status::NOT_SUPPORTED),
            };
            into[..value.len()].copy_from_slice(&value);
            Ok(value.len())
        })
    }

    unsafe fn finalize(&self, key: usize) -> Result<(), Status> {
        self.with(|world| {
            let Some(Object::New(name, flags, properties)) = world.objects.remove(&key) else {
                panic!("{key} is not a new key");
            };
            world.calls.push(format!("finalize {properties:?}"));
            if let Some(rival) = world.rival.take() {
                world.containers.insert(name.clone(), rival);
            }
            if world.containers.contains_key(&name) && flags & OVERWRITE == 0 {
                world
                    .objects
                    .insert(key, Object::New(name, flags, properties));
                return Err(Status::EXISTS);
            }
            world.made += 1;
            let mut kept = Kept::with_key(world.made);
            if !world.isolates {
                kept.isolation = Ok(vec![]);
            }
            kept.export_policy = Ok(properties[&Property::ExportPolicy]);
            let in_place = world.overwrites_ours.take().unwrap_or_else(|| kept.clone());
            world.containers.insert(name.clone(), in_place);
            world.objects.insert(key, Object::Key(name, kept));
            Ok(())
        })
    }

    unsafe fn export_public(&self, key: usize, into: &mut [u8]) -> Result<usize, Status> {
        self.with(|world| {
            if let Some(status) = world.export_fails {
                return Err(status);
            }
            let kept = world.key(key);
            let mut blob = blob_of(kept.key.public_key_der());
            blob[4..8].copy_from_slice(&kept.exports?.to_le_bytes());
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
        self.with(|world| {
            let kept = world.key(key);
            kept.signs?;
            let signature = kept
                .key
                .sign(scheme, digest)
                .map_err(|_| Status::NOT_SUPPORTED)?;
            into[..signature.len()].copy_from_slice(&signature);
            Ok(signature.len())
        })
    }

    unsafe fn delete(&self, key: usize) -> Result<(), Status> {
        self.with(|world| match world.close(key) {
            Some(Object::Key(name, _)) => {
                world.calls.push("delete".into());
                world.containers.remove(&name);
                Ok(())
            }
            _ => panic!("{key} is not an open key"),
        })
    }

    unsafe fn free(&self, object: usize) {
        let freed = self.with(|world| world.close(object));
        assert!(freed.is_some(), "{object} is not open");
    }

    fn lock(&self, name: &MutexName, _: Duration) -> Lock {
        self.with(|world| {
            world.calls.push(format!("lock {name:?}"));
            if let Some(kept) = world.while_waiting.take() {
                for container in world.containers.values_mut() {
                    *container = kept.clone();
                }
            }
            if let Some(fails) = world.lock_fails {
                return fails();
            }
            world.held += 1;
            Lock::Held(Box::new(HeldHere(Arc::clone(self))))
        })
    }

    fn purge_certificates(&self, place: &KeyPlace, public_key: &[u8]) {
        self.with(|world| {
            world.calls.push("purge".into());
            world.purged.push((place.clone(), public_key.to_vec()));
        });
    }
}

struct HeldHere(Arc<FakeNcrypt>);

impl Held for HeldHere {}

impl Drop for HeldHere {
    fn drop(&mut self) {
        self.0.with(|world| world.held -= 1);
    }
}

impl fmt::Debug for FakeNcrypt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FakeNcrypt")
    }
}
