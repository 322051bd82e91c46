use super::bypass::Bypass;
use super::http_proxy::HttpProxy;
use super::settings::{Settings, SettingsSource, SkippedSetting, text};
use super::winhttp_lists::{HttpsProxy, exceptions, https_proxy};
use crate::origin::Origin;
use std::fmt;
use std::sync::{Arc, OnceLock};

/// The proxy of the system's settings, which are read once, when first needed.
#[derive(Clone)]
pub(super) struct SystemProxy(Arc<Inner>);

struct Inner {
    read: Box<Read>,
    selection: OnceLock<Selection>,
}

type Read = dyn Fn(SettingsSource) -> Result<Settings, SkippedSetting> + Send + Sync;

/// The result of reading the settings.
#[derive(Debug)]
enum Selection {
    Proxy(Arc<HttpProxy>, Vec<Bypass>),
    /// No proxy, with the skipped settings.
    Direct(Skipped),
}

impl SystemProxy {
    pub(super) fn new(
        read: impl Fn(SettingsSource) -> Result<Settings, SkippedSetting> + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(Inner {
            read: Box::new(read),
            selection: OnceLock::new(),
        }))
    }

    /// Uses these lists as the user's settings.
    pub(super) fn from_lists(proxies: &[u16], bypass: &[u16]) -> Self {
        let [proxies, bypass] = [proxies, bypass].map(<[u16]>::to_vec);
        Self::new(move |source| match source {
            SettingsSource::User => Ok(Settings {
                proxies: Some(text(&proxies)?),
                bypass: Some(text(&bypass)?),
                ..Settings::default()
            }),
            SettingsSource::Machine => Ok(Settings::default()),
        })
    }

    /// The proxy for an origin; `None` for a direct connection.
    pub(super) fn for_origin(&self, origin: &Origin) -> Option<&Arc<HttpProxy>> {
        match self.selection() {
            Selection::Proxy(proxy, bypass) => {
                let is_exempt = bypass.iter().any(|entry| entry.matches(origin));
                (!is_exempt).then_some(proxy)
            }
            Selection::Direct(_) => None,
        }
    }

    /// The skipped settings, if no proxy is used.
    pub(super) fn skipped_settings(&self) -> Option<String> {
        self.skipped()?.text()
    }

    /// The same, unless there is only automatic detection.
    pub(super) fn skipped_proxies(&self) -> Option<String> {
        let skipped = self.skipped().filter(|skipped| skipped.is_warning);
        skipped?.text()
    }

    fn skipped(&self) -> Option<&Skipped> {
        match self.selection() {
            Selection::Proxy(..) => None,
            Selection::Direct(skipped) => Some(skipped),
        }
    }

    fn selection(&self) -> &Selection {
        self.0.selection.get_or_init(|| select(&*self.0.read))
    }
}

/// All values stand for the one system, whatever its settings were when they were read.
impl PartialEq for SystemProxy {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for SystemProxy {}

impl fmt::Debug for SystemProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SystemProxy")
            .field(&self.0.selection.get())
            .finish()
    }
}

/// Uses the user's settings, or the machine's if the user's name no proxy.
fn select(read: &Read) -> Selection {
    let mut skipped = Skipped::default();
    let selection = [SettingsSource::User, SettingsSource::Machine]
        .into_iter()
        .find_map(|source| match read(source) {
            Ok(settings) => select_from(source, &settings, &mut skipped),
            Err(reason) => {
                skipped.add(source, reason);
                None
            }
        });
    skipped.log();
    selection.unwrap_or(Selection::Direct(skipped))
}

/// `None` if the settings name no proxy that can be used.
fn select_from(
    source: SettingsSource,
    settings: &Settings,
    skipped: &mut Skipped,
) -> Option<Selection> {
    if settings.has_script {
        skipped.add(source, SkippedSetting::Script);
    }
    if settings.has_detection {
        skipped.add(source, SkippedSetting::Detection);
    }
    let list = settings.proxies.as_deref()?;
    match https_proxy(list) {
        Ok(HttpsProxy::Proxy(proxy)) => {
            tracing::debug!(proxy = %proxy.host, port = proxy.port, "{source} name a proxy");
            let bypass = settings.bypass.as_deref().unwrap_or_default();
            Some(Selection::Proxy(Arc::new(proxy), exceptions(bypass)))
        }
        Ok(HttpsProxy::None) => Some(Selection::Direct(skipped.clone())),
        Ok(HttpsProxy::NotSet) => None,
        Err(error) => {
            skipped.add(source, SkippedSetting::Proxies(error));
            None
        }
    }
}

/// The settings that are not used.
#[derive(Clone, Debug, Default)]
struct Skipped {
    messages: Vec<String>,
    is_warning: bool,
}

impl Skipped {
    fn add(&mut self, source: SettingsSource, reason: SkippedSetting) {
        // Windows enables automatic detection by default, mostly on hosts where nothing can be detected.
        self.is_warning |= !matches!(reason, SkippedSetting::Detection);
        self.messages.push(format!("{source} {reason}"));
    }

    fn log(&self) {
        let Some(text) = self.text() else {
            return;
        };
        if self.is_warning {
            tracing::warn!("{text}; HTTPS_PROXY can name a proxy");
        } else {
            tracing::debug!("{text}");
        }
    }

    fn text(&self) -> Option<String> {
        (!self.messages.is_empty()).then(|| self.messages.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use keybound_core::tls::Host;
    use keybound_testing::CapturedLog;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use tracing::Level;

    type Outcome = Result<Settings, SkippedSetting>;

    /// A system proxy with these settings of the user and the machine.
    fn system(
        user: impl Fn() -> Outcome + Send + Sync + 'static,
        machine: impl Fn() -> Outcome + Send + Sync + 'static,
    ) -> SystemProxy {
        SystemProxy::new(move |source| match source {
            SettingsSource::User => user(),
            SettingsSource::Machine => machine(),
        })
    }

    fn unset() -> Outcome {
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
            has_script: true,
            ..Settings::default()
        })
    }

    fn detection() -> Outcome {
        Ok(Settings {
            has_detection: true,
            ..Settings::default()
        })
    }

    fn unreadable() -> Outcome {
        Err(SkippedSetting::Unreadable("error 12178".into()))
    }

    fn origin(host: &str) -> Origin {
        Origin {
            host: Host::parse(host).unwrap(),
            port: 443,
        }
    }

    fn proxy_of(system: &SystemProxy) -> Option<&str> {
        let proxy = system.for_origin(&origin("a.contoso.com"))?;
        Some(proxy.host.as_str())
    }

    #[test]
    fn user_settings_precede_machine_settings() {
        let user = || named("user:1");
        let machine = || named("machine:2");
        for (system, expected) in [
            (system(user, machine), Some("user")),
            (system(unset, machine), Some("machine")),
            (system(|| named(" "), machine), Some("machine")),
            (system(detection, machine), Some("machine")),
            (system(script, machine), Some("machine")),
            (system(unreadable, machine), Some("machine")),
            (system(|| named("socks=s:1"), machine), Some("machine")),
            // The user's settings exclude https.
            (system(|| named("http=h:1"), machine), None),
            (system(unset, unset), None),
        ] {
            assert_eq!(proxy_of(&system), expected);
        }
    }

    #[test]
    fn exceptions_come_from_the_source_of_the_proxy() {
        let machine = || {
            Ok(Settings {
                proxies: Some("machine:2".to_owned()),
                bypass: Some("*.contoso.com".to_owned()),
                ..Settings::default()
            })
        };
        let from_user = system(|| named("user:1"), machine);
        assert!(from_user.for_origin(&origin("a.contoso.com")).is_some());
        assert!(from_user.for_origin(&origin("intranet")).is_none());
        let from_machine = system(unset, machine);
        assert!(from_machine.for_origin(&origin("a.contoso.com")).is_none());
        assert!(from_machine.for_origin(&origin("intranet")).is_some());
    }

    #[test]
    fn reads_settings_once() {
        let reads = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&reads);
        let system = SystemProxy::new(move |_| {
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
    fn logs_skipped_settings_once() {
        for (system, level, message) in [
            (
                system(script, unset),
                Level::WARN,
                "the user's proxy settings name a script, which is not followed",
            ),
            (
                system(unreadable, unset),
                Level::WARN,
                "the user's proxy settings cannot be read (error 12178)",
            ),
            (
                system(
                    || {
                        Ok(Settings {
                            has_script: true,
                            ..named("http=h:1")?
                        })
                    },
                    || named("machine:2"),
                ),
                Level::WARN,
                "the user's proxy settings name a script, which is not followed",
            ),
            (
                system(detection, || Err(SkippedSetting::TooLong)),
                Level::WARN,
                "the user's proxy settings ask for automatic detection, which is not followed; \
                 the machine's proxy settings are longer than allowed",
            ),
            (
                system(unset, || named("https=https://user:swordfish@p:1")),
                Level::WARN,
                "the machine's proxy settings name no proxy that can be used \
                 (only proxies with an http URL are supported)",
            ),
            (
                system(detection, unset),
                Level::DEBUG,
                "the user's proxy settings ask for automatic detection, which is not followed",
            ),
        ] {
            let log = CapturedLog::default();
            log.during(|| {
                assert_eq!(proxy_of(&system), None);
                assert_eq!(proxy_of(&system), None);
            });
            let logged = log.lines();
            assert_eq!(logged.len(), 1, "{logged:?}");
            assert_eq!(logged[0].level, level, "{logged:?}");
            assert!(logged[0].name.starts_with(message), "{logged:?}");
            assert_eq!(system.skipped_settings().as_deref(), Some(message));
            let is_warning = level == Level::WARN;
            assert_eq!(system.skipped_proxies().is_some(), is_warning, "{message}");
            assert!(!format!("{system:?}{logged:?}").contains("swordfish"));
        }
    }

    #[test]
    fn logs_a_script_beside_a_proxy() {
        let both = || {
            Ok(Settings {
                has_script: true,
                ..named("user:1")?
            })
        };
        let log = CapturedLog::default();
        log.during(|| assert_eq!(proxy_of(&system(both, unreadable)), Some("user")));
        let logged = log.lines();
        let warnings = logged.iter().filter(|line| line.level == Level::WARN);
        assert_eq!(warnings.count(), 1, "{logged:?}");
        assert_eq!(system(both, unset).skipped_settings(), None);
    }
}
