use super::*;
use std::sync::mpsc::channel;
use std::thread::{scope, spawn};
use windows::Win32::Foundation::ERROR_ALREADY_EXISTS;
use windows::Win32::System::Threading::CreateEventW;

/// A name of this run's own: names are the whole host's.
fn own(name: &str) -> MutexName {
    MutexName::OfAccount(format!("KeyboundTest-{}-{name}", std::process::id()))
}

fn shared(name: &str) -> MutexName {
    MutexName::Shared(format!("KeyboundTest-{}-{name}", std::process::id()))
}

fn now(name: &MutexName) -> Lock {
    lock(name, Duration::ZERO)
}

/// Longer than a machine under load stands still.
fn at_last(name: &MutexName) -> Lock {
    lock(name, Duration::from_secs(60))
}

/// An object that somebody made before.
fn planted(space: &str, name: &MutexName, protection: &str) -> Mutex {
    let path = path(space, name, &Account::current().unwrap());
    Mutex::open(&path, &Protection::from_sddl(protection).unwrap()).unwrap()
}

fn user() -> String {
    Account::current().unwrap().user
}

#[test]
fn one_thread_holds_it_at_a_time_and_the_next_one_where_its_holder_is_gone() {
    for name in &[own("held"), shared("held")] {
        let held = now(name);
        assert!(matches!(held, Lock::Held(_)));
        scope(|scope| {
            let other = scope.spawn(|| matches!(now(name), Lock::Busy));
            assert!(other.join().unwrap());
        });
        drop(held);
        // A thread that ends with the mutex in its hands.
        scope(|scope| {
            scope.spawn(|| std::mem::forget(now(name)));
        });
        assert!(matches!(at_last(name), Lock::Held(_)));
    }
    assert_eq!(counted::open(), 0);
}

#[test]
fn what_was_not_acquired_is_not_released() {
    let name = &own("not-acquired");
    let _held = now(name);
    scope(|scope| {
        let other = scope.spawn(|| {
            // A release that Windows refuses is logged.
            tracing::subscriber::with_default(Silence, || {
                assert!(matches!(now(name), Lock::Busy));
            });
        });
        other.join().unwrap();
    });
}

#[test]
fn ours_carry_the_account_in_their_names_and_those_of_msal_do_not() {
    let (own, shared) = (own("names"), shared("names"));
    let _held = [now(&own), now(&shared)];
    for (name, end) in [(&own, format!("_{}", user())), (&shared, String::new())] {
        let (MutexName::OfAccount(text) | MutexName::Shared(text)) = name;
        let text = format!(r"Global\{text}{end}");
        // SAFETY: the name ends with a zero; the handle is closed with the process.
        let opened = unsafe { CreateMutexExW(None, &HSTRING::from(&text), 0, 0x0010_0000) };
        opened.unwrap();
        let status = windows::core::Error::from_thread().code();
        assert_eq!(status, ERROR_ALREADY_EXISTS.to_hresult(), "{text}");
    }
}

#[test]
fn ours_belong_to_the_account_and_admit_no_other() {
    let account = Account::current().unwrap();
    let sddl = Protection::of(&account).unwrap().to_sddl();
    let user = &account.user;
    assert!(user.starts_with("S-1-"), "{user}");
    assert_eq!(sddl, format!("O:{user}D:P(A;;GA;;;{user})"));
    for name in [own("owner"), shared("owner")] {
        let path = path("Global", &name, &account);
        let made = Mutex::open(&path, &Protection::of(&account).unwrap()).unwrap();
        // SAFETY: the handle is open.
        let owner = unsafe { owner_of(made.0, SE_KERNEL_OBJECT) }.unwrap();
        assert_eq!(owner.as_ref(), Some(user));
    }
}

/// Wine lets a program name any owner of what it makes.
#[test]
fn a_mutex_of_another_account_is_not_waited_for() {
    for name in [own("foreign"), shared("foreign")] {
        let (give, take) = channel();
        let (done, wait_until_done) = channel::<()>();
        let held = name.clone();
        let holder = spawn(move || {
            let planted = planted("Global", &held, "O:WDD:(A;;GA;;;WD)");
            let _held = planted.wait(Duration::ZERO).unwrap();
            give.send(()).unwrap();
            let _ = wait_until_done.recv();
        });
        take.recv().unwrap();
        // In the session's own names there is none.
        assert!(matches!(at_last(&name), Lock::Held(_)));
        let _planted = planted("Local", &name, "O:WDD:(A;;GA;;;WD)");
        assert!(matches!(at_last(&name), Lock::Unusable));
        drop(done);
        holder.join().unwrap();
    }
}

#[test]
fn what_denies_access_or_is_no_mutex_is_passed_over() {
    let name = own("denied");
    let _denied = planted("Global", &name, &format!("O:{}D:P", user()));
    assert!(matches!(now(&name), Lock::Held(_)));

    let name = shared("event");
    for (space, is_usable) in [("Global", true), ("Local", false)] {
        let path = HSTRING::from(path(space, &name, &Account::current().unwrap()));
        // SAFETY: the name ends with a zero; the handle is closed with the process.
        unsafe { CreateEventW(None, true, false, &path) }.unwrap();
        assert_eq!(matches!(now(&name), Lock::Held(_)), is_usable);
    }
    assert!(matches!(now(&name), Lock::Unusable));
}

/// Other programs of this account make it without naming an owner: Windows then takes the account's default one.
#[test]
fn a_mutex_of_msal_is_shared_with_the_default_owner_and_ours_is_not() {
    let name = "default-owner";
    let account = Account {
        default_owner: "S-1-1-0".to_owned(),
        ..Account::current().unwrap()
    };
    for (name, belongs) in [(shared(name), true), (own(name), false)] {
        let mutex = planted("Global", &name, "O:WDD:(A;;GA;;;WD)");
        assert_eq!(mutex.belongs_to(&name, &account), belongs, "{name:?}");
    }
}

/// Fails the test for every word.
struct Silence;

impl tracing::Subscriber for Silence {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }
    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }
    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}
    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
    fn event(&self, event: &tracing::Event<'_>) {
        panic!("something was logged: {event:?}");
    }
    fn enter(&self, _: &tracing::span::Id) {}
    fn exit(&self, _: &tracing::span::Id) {}
}
