use super::*;
use std::sync::mpsc::channel;
use std::thread::{scope, spawn};
use windows::Win32::Foundation::ERROR_ALREADY_EXISTS;
use windows::Win32::System::Threading::CreateEventW;

/// A name that is unique to this run: names are the host's.
fn account_name(name: &str) -> MutexName {
    MutexName::Account(format!("KeyboundTest-{}-{name}", std::process::id()))
}

fn shared_name(name: &str) -> MutexName {
    MutexName::Shared(format!("KeyboundTest-{}-{name}", std::process::id()))
}

fn try_lock(name: &MutexName) -> Lock {
    lock(name, Duration::ZERO)
}

/// With a timeout that is longer than a machine under load may stall.
fn lock_patiently(name: &MutexName) -> Lock {
    lock(name, Duration::from_secs(60))
}

/// An existing object.
fn planted(space: &str, name: &MutexName, protection: &str) -> Mutex {
    let path = path(space, name, &Account::current().unwrap());
    Mutex::open(&path, &Protection::from_sddl(protection).unwrap()).unwrap()
}

fn user() -> String {
    Account::current().unwrap().user
}

#[test]
fn one_thread_at_a_time_holds_a_mutex_and_abandoned_ones_are_acquired() {
    for name in &[account_name("held"), shared_name("held")] {
        let held = try_lock(name);
        assert!(matches!(held, Lock::Held(_)));
        scope(|scope| {
            let other = scope.spawn(|| matches!(try_lock(name), Lock::Busy));
            assert!(other.join().unwrap());
        });
        drop(held);
        // A thread that ends without releasing the mutex.
        scope(|scope| {
            scope.spawn(|| std::mem::forget(try_lock(name)));
        });
        assert!(matches!(lock_patiently(name), Lock::Held(_)));
    }
    assert_eq!(counted::open(), 0);
}

#[test]
fn does_not_release_a_mutex_that_was_not_acquired() {
    let name = &account_name("not-acquired");
    let _held = try_lock(name);
    scope(|scope| {
        let other = scope.spawn(|| {
            // A rejected release is logged.
            tracing::subscriber::with_default(PanicOnLog, || {
                assert!(matches!(try_lock(name), Lock::Busy));
            });
        });
        other.join().unwrap();
    });
}

#[test]
fn names_contain_the_account_and_those_of_msal_do_not() {
    let (own, shared) = (account_name("names"), shared_name("names"));
    let _held = [try_lock(&own), try_lock(&shared)];
    for (name, end) in [(&own, format!("_{}", user())), (&shared, String::new())] {
        let (MutexName::Account(text) | MutexName::Shared(text)) = name;
        let text = format!(r"Global\{text}{end}");
        // SAFETY: the name is zero-terminated; the handle is closed with the process.
        let opened = unsafe { CreateMutexExW(None, &HSTRING::from(&text), 0, 0x0010_0000) };
        opened.unwrap();
        let status = windows::core::Error::from_thread().code();
        assert_eq!(status, ERROR_ALREADY_EXISTS.to_hresult(), "{text}");
    }
}

#[test]
fn mutexes_belong_to_the_account_and_deny_access_to_others() {
    let account = Account::current().unwrap();
    let sddl = Protection::of(&account).unwrap().to_sddl();
    let user = &account.user;
    assert!(user.starts_with("S-1-"), "{user}");
    assert_eq!(sddl, format!("O:{user}D:P(A;;GA;;;{user})"));
    for name in [account_name("owner"), shared_name("owner")] {
        let path = path("Global", &name, &account);
        let mutex = Mutex::open(&path, &Protection::of(&account).unwrap()).unwrap();
        // SAFETY: the handle is open.
        let owner = unsafe { owner_of(mutex.0, SE_KERNEL_OBJECT) }.unwrap();
        assert_eq!(owner.as_ref(), Some(user));
    }
}

/// Wine lets a program name any owner of its objects.
#[test]
fn does_not_wait_for_the_mutex_of_another_account() {
    for name in [account_name("foreign"), shared_name("foreign")] {
        let (send, receive) = channel();
        let (done, wait) = channel::<()>();
        let held = name.clone();
        let holder = spawn(move || {
            let planted = planted("Global", &held, "O:WDD:(A;;GA;;;WD)");
            let _held = planted.wait(Duration::ZERO).unwrap();
            send.send(()).unwrap();
            let _ = wait.recv();
        });
        receive.recv().unwrap();
        // `Local` has no object of this name.
        assert!(matches!(lock_patiently(&name), Lock::Held(_)));
        let _planted = planted("Local", &name, "O:WDD:(A;;GA;;;WD)");
        assert!(matches!(lock_patiently(&name), Lock::Unusable));
        drop(done);
        holder.join().unwrap();
    }
}

#[test]
fn skips_objects_that_deny_access_or_are_no_mutex() {
    let name = account_name("denied");
    let _denied = planted("Global", &name, &format!("O:{}D:P", user()));
    assert!(matches!(try_lock(&name), Lock::Held(_)));

    let name = shared_name("event");
    for (space, is_usable) in [("Global", true), ("Local", false)] {
        let path = HSTRING::from(path(space, &name, &Account::current().unwrap()));
        // SAFETY: the name is zero-terminated; the handle is closed with the process.
        unsafe { CreateEventW(None, true, false, &path) }.unwrap();
        assert_eq!(matches!(try_lock(&name), Lock::Held(_)), is_usable);
    }
    assert!(matches!(try_lock(&name), Lock::Unusable));
}

/// Other programs of this account create the mutex without naming an owner: it then has the account's default owner.
#[test]
fn accepts_the_default_owner_for_shared_mutexes_only() {
    let name = "default-owner";
    let account = Account {
        default_owner: "S-1-1-0".to_owned(),
        ..Account::current().unwrap()
    };
    for (name, belongs) in [(shared_name(name), true), (account_name(name), false)] {
        let mutex = planted("Global", &name, "O:WDD:(A;;GA;;;WD)");
        assert_eq!(mutex.belongs_to(&name, &account), belongs, "{name:?}");
    }
}

/// Fails the test on every log event.
struct PanicOnLog;

impl tracing::Subscriber for PanicOnLog {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }
    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }
    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}
    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
    fn event(&self, event: &tracing::Event<'_>) {
        panic!("unexpected log event: {event:?}");
    }
    fn enter(&self, _: &tracing::span::Id) {}
    fn exit(&self, _: &tracing::span::Id) {}
}
