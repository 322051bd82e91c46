use super::bypass::Bypass;
use super::server::Proxy;
use super::settings::{Place, Settings, Unfollowed, text};
use super::winhttp::{ForHttps, exceptions, https_proxy};
use crate::target::Target;
use std::fmt;
use std::sync::{Arc, OnceLock};

/// The settings of the system: read once, when they are first needed.
#[derive(Clone)]
pub(super) struct System(Arc<Inner>);

struct Inner {
    read: Box<Read>,
    found: OnceLock<Found>,
}

type Read = dyn Fn(Place) -> Result<Settings, Unfollowed> + Send + Sync;

impl System {
    pub(super) fn new(
        read: impl Fn(Place) -> Result<Settings, Unfollowed> + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(Inner {
            read: Box::new(read),
            found: OnceLock::new(),
        }))
    }

    /// With these settings of the user.
    pub(super) fn of_texts(proxies: &[u16], bypass: &[u16]) -> Self {
        let [proxies, bypass] = [proxies, bypass].map(<[u16]>::to_vec);
        Self::new(move |place| match place {
            Place::User => Ok(Settings {
                proxies: Some(text(&proxies)?),
                bypass: Some(text(&bypass)?),
                ..Settings::default()
            }),
            Place::Machine => Ok(Settings::default()),
        })
    }

    /// The proxy for a target, where there is one.
    pub(super) fn for_target(&self, target: &Target) -> Option<&Arc<Proxy>> {
        match self.found() {
            Found::Proxy(proxy, bypass) => {
                let direct = bypass.iter().any(|entry| entry.matches(target));
                (!direct).then_some(proxy)
            }
            Found::None(_) => None,
        }
    }

    /// What was left aside, where that leaves connections without a proxy.
    pub(super) fn left_aside(&self) -> Option<&str> {
        match self.found() {
            Found::Proxy(..) => None,
            Found::None(notes) => notes.as_deref(),
        }
    }

    fn found(&self) -> &Found {
        self.0.found.get_or_init(|| look(&*self.0.read))
    }
}

/// There is one system. Clients made at different times may share what they have read, whatever its settings were.
impl PartialEq for System {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for System {}

impl fmt::Debug for System {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("System").field(&self.0.found.get()).finish()
    }
}

/// What the settings come to.
#[derive(Debug)]
enum Found {
    Proxy(Arc<Proxy>, Vec<Bypass>),
    /// With what was left aside.
    None(Option<String>),
}

/// The user's settings, or else the machine's.
fn look(read: &Read) -> Found {
    let mut notes = Notes::default();
    let chosen = [Place::User, Place::Machine]
        .into_iter()
        .find_map(|place| match read(place) {
            Ok(settings) => choose(place, &settings, &mut notes),
            Err(cause) => {
                notes.add(place, cause);
                None
            }
        });
    notes.log();
    chosen.unwrap_or_else(|| Found::None(notes.text()))
}

/// `None` where this place leaves the choice to others.
fn choose(place: Place, settings: &Settings, notes: &mut Notes) -> Option<Found> {
    if settings.names_script {
        notes.add(place, Unfollowed::Script);
    }
    if settings.asks_for_detection {
        notes.add(place, Unfollowed::Detection);
    }
    let list = settings.proxies.as_deref()?;
    match https_proxy(list) {
        Ok(ForHttps::Proxy(proxy)) => {
            tracing::debug!(proxy = %proxy.host, port = proxy.port, "{place} name a proxy");
            let bypass = settings.bypass.as_deref().unwrap_or_default();
            Some(Found::Proxy(Arc::new(proxy), exceptions(bypass)))
        }
        Ok(ForHttps::NoProxy) => Some(Found::None(notes.text())),
        Ok(ForHttps::Unsaid) => None,
        Err(error) => {
            notes.add(place, Unfollowed::Proxies(error));
            None
        }
    }
}

/// What is left aside.
#[derive(Default)]
struct Notes {
    notes: Vec<String>,
    are_notable: bool,
}

impl Notes {
    fn add(&mut self, place: Place, cause: Unfollowed) {
        // Windows comes with detection switched on, mostly where there is nothing to detect.
        self.are_notable |= !matches!(cause, Unfollowed::Detection);
        self.notes.push(format!("{place} {cause}"));
    }

    fn log(&self) {
        let Some(text) = self.text() else {
            return;
        };
        if self.are_notable {
            tracing::warn!("{text}; HTTPS_PROXY can name a proxy");
        } else {
            tracing::debug!("{text}");
        }
    }

    fn text(&self) -> Option<String> {
        (!self.notes.is_empty()).then(|| self.notes.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use keybound_core::tls::Host;
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use tracing::{Event, Level, Subscriber};
    use tracing_subscriber::Layer;
    use tracing_subscriber::layer::{Context, SubscriberExt as _};

    type Outcome = Result<Settings, Unfollowed>;

    /// The system with these settings of the user and the machine.
    fn system(
        user: impl Fn() -> Outcome + Send + Sync + 'static,
        machine: impl Fn() -> Outcome + Send + Sync + 'static,
    ) -> System {
        System::new(move |place| match place {
            Place::User => user(),
            Place::Machine => machine(),
        })
    }

    fn nothing() -> Outcome {
        Ok(Settings::default())
    }

    fn named(proxies: &str) -> Outcome {
        Ok(Settings {
            proxies: Some(proxies.to_owned()),
            bypass: Some("<local>".to_owned()),
            ..Settings::default()
        })
    }

    fn script() -> Outcome {
        Ok(Settings {
            names_script: true,
            ..Settings::default()
        })
    }

    fn detection() -> Outcome {
        Ok(Settings {
            asks_for_detection: true,
            ..Settings::default()
        })
    }

    fn unreadable() -> Outcome {
        Err(Unfollowed::Unreadable("error 12178".into()))
    }

    fn target(host: &str) -> Target {
        Target {
            host: Host::parse(host).unwrap(),
            port: 443,
        }
    }

    fn proxy_of(system: &System) -> Option<&str> {
        let proxy = system.for_target(&target("a.contoso.com"))?;
        Some(proxy.host.as_str())
    }

    #[test]
    fn the_users_proxy_goes_before_the_machines() {
        let user = || named("user:1");
        let machine = || named("machine:2");
        for (system, expected) in [
            (system(user, machine), Some("user")),
            (system(nothing, machine), Some("machine")),
            (system(|| named(" "), machine), Some("machine")),
            (system(detection, machine), Some("machine")),
            (system(script, machine), Some("machine")),
            (system(unreadable, machine), Some("machine")),
            (system(|| named("socks=s:1"), machine), Some("machine")),
            // The user wants none for https.
            (system(|| named("http=h:1"), machine), None),
            (system(nothing, nothing), None),
        ] {
            assert_eq!(proxy_of(&system), expected);
        }
    }

    #[test]
    fn exceptions_are_those_of_the_place_that_names_the_proxy() {
        let machine = || {
            Ok(Settings {
                proxies: Some("machine:2".to_owned()),
                bypass: Some("*.contoso.com".to_owned()),
                ..Settings::default()
            })
        };
        let of_user = system(|| named("user:1"), machine);
        assert!(of_user.for_target(&target("a.contoso.com")).is_some());
        assert!(of_user.for_target(&target("intranet")).is_none());
        let of_machine = system(nothing, machine);
        assert!(of_machine.for_target(&target("a.contoso.com")).is_none());
        assert!(of_machine.for_target(&target("intranet")).is_some());
    }

    #[test]
    fn settings_are_read_once_when_first_needed() {
        let reads = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&reads);
        let system = System::new(move |_| {
            counter.fetch_add(1, Ordering::Relaxed);
            named("user:1")
        });
        let other = system.clone();
        assert_eq!(reads.load(Ordering::Relaxed), 0);
        assert_eq!(proxy_of(&system), Some("user"));
        assert_eq!(proxy_of(&other), Some("user"));
        assert_eq!(reads.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn settings_that_are_not_used_are_logged_once() {
        for (system, level, words) in [
            (
                system(script, nothing),
                Level::WARN,
                "the user's proxy settings name a script, which is not followed",
            ),
            (
                system(unreadable, nothing),
                Level::WARN,
                "the user's proxy settings cannot be read (error 12178)",
            ),
            (
                system(
                    || {
                        Ok(Settings {
                            names_script: true,
                            ..named("http=h:1")?
                        })
                    },
                    || named("machine:2"),
                ),
                Level::WARN,
                "the user's proxy settings name a script, which is not followed",
            ),
            (
                system(detection, || Err(Unfollowed::TooLong)),
                Level::WARN,
                "the user's proxy settings ask for automatic detection, which is not followed; \
                 the machine's proxy settings are longer than allowed",
            ),
            (
                system(nothing, || named("https=https://user:swordfish@p:1")),
                Level::WARN,
                "the machine's proxy settings name no proxy that can be used \
                 (only proxies with an http URL are supported)",
            ),
            (
                system(detection, nothing),
                Level::DEBUG,
                "the user's proxy settings ask for automatic detection, which is not followed",
            ),
        ] {
            let log = Log::default();
            tracing::subscriber::with_default(
                tracing_subscriber::registry().with(log.clone()),
                || {
                    assert_eq!(proxy_of(&system), None);
                    assert_eq!(proxy_of(&system), None);
                },
            );
            let logged = log.0.lock().unwrap();
            assert_eq!(logged.len(), 1, "{logged:?}");
            assert_eq!(logged[0].0, level, "{logged:?}");
            assert!(logged[0].1.starts_with(words), "{logged:?}");
            assert_eq!(system.left_aside(), Some(words));
            assert!(!format!("{system:?}{logged:?}").contains("swordfish"));
        }
    }

    #[test]
    fn a_script_is_logged_where_a_proxy_is_named_too() {
        let both = || {
            Ok(Settings {
                names_script: true,
                ..named("user:1")?
            })
        };
        let log = Log::default();
        tracing::subscriber::with_default(tracing_subscriber::registry().with(log.clone()), || {
            assert_eq!(proxy_of(&system(both, unreadable)), Some("user"))
        });
        let logged = log.0.lock().unwrap();
        let warnings = logged.iter().filter(|(level, _)| *level == Level::WARN);
        assert_eq!(warnings.count(), 1, "{logged:?}");
        assert_eq!(system(both, nothing).left_aside(), None);
    }

    /// Levels and messages.
    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<(Level, String)>>>);

    impl<S: Subscriber> Layer<S> for Log {
        fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
            let mut message = String::new();
            event.record(
                &mut |field: &tracing::field::Field, value: &dyn fmt::Debug| {
                    if field.name() == "message" {
                        message = format!("{value:?}");
                    }
                },
            );
            let level = *event.metadata().level();
            self.0.lock().unwrap().push((level, message));
        }
    }
}
