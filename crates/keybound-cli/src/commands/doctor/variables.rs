//! The environment variables that matter: their names for the report, and their values to remove from it.
use keybound::Environment;
use keybound_core::tls::Host;
use url::Url;

/// The variables that are set.
#[derive(Debug, Default)]
pub(super) struct Variables {
    names: Vec<&'static str>,
    /// Texts from values, and the names that replace them, the longest first.
    masked: Vec<(String, &'static str)>,
}

impl Variables {
    pub(super) fn of_process() -> Self {
        let environment = Environment::from_process();
        let names = environment.names().filter(|name| *name != SET_BY_WINDOWS);
        // Invalid Unicode is replaced: the name matters, and a value that is not shown cannot be masked either.
        let lookup = |name: &str| Some(std::env::var_os(name)?.to_string_lossy().into_owned());
        Self::new(names, lookup)
    }

    /// Of the variables that the library reads (`library`) and of the other ones that matter, those that `lookup` finds. An empty
    /// value counts as absent, as in the library: it is the usual way to switch a proxy off.
    pub(super) fn new(
        library: impl IntoIterator<Item = &'static str>,
        lookup: impl Fn(&str) -> Option<String>,
    ) -> Self {
        let lookup = |name: &str| lookup(name).filter(|value| !value.trim().is_empty());
        let candidates = library.into_iter().chain(OTHERS);
        let mut names: Vec<_> = candidates.filter(|name| lookup(name).is_some()).collect();
        names.sort_unstable();
        if cfg!(windows) {
            // Names have no case there.
            let upper = names.clone();
            let is_twin = |name: &str| upper.contains(&name.to_ascii_uppercase().as_str());
            names.retain(|name| name.to_ascii_uppercase() == *name || !is_twin(name));
        }
        let secret = names.iter().filter(|name| !HARMLESS.contains(name));
        let mut masked: Vec<_> = secret
            .filter_map(|name| Some((*name, lookup(name)?)))
            .flat_map(|(name, value)| {
                texts_of(name, &value)
                    .into_iter()
                    .map(move |text| (text, name))
            })
            .collect();
        masked.sort_by_key(|(text, _)| std::cmp::Reverse(text.len()));
        Self { names, masked }
    }

    /// The names, in alphabetical order.
    pub(super) fn names(&self) -> &[&'static str] {
        &self.names
    }

    /// Replaces values, and hosts in values, by the names of their variables. For texts from outside, such as those of errors: a
    /// value may be a word of the report's own texts.
    pub(super) fn mask(&self, text: &str) -> String {
        let mask = |text: String, (value, name): &(String, &str)| {
            replace_words(&text, value, &format!("[{name}]"))
        };
        self.masked.iter().fold(text.to_owned(), mask)
    }
}

/// Replaces a text where it is not a part of a longer word.
fn replace_words(text: &str, value: &str, by: &str) -> String {
    let is_part = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
    let mut out = String::with_capacity(text.len());
    let mut end = 0;
    for (start, _) in text.match_indices(value) {
        let next = start + value.len();
        let before = text[..start].chars().next_back();
        if start < end || is_part(before) || is_part(text[next..].chars().next()) {
            continue;
        }
        out.push_str(&text[end..start]);
        out.push_str(by);
        end = next;
    }
    out.push_str(&text[end..]);
    out
}

/// The value, and its host with and without port, as errors name them. A proxy that is one word is named with its port only: the
/// word may be one of the error's.
fn texts_of(name: &str, value: &str) -> Vec<String> {
    let value = value.trim();
    let url = match value.contains("://") {
        true => Url::parse(value),
        false => Url::parse(&format!("http://{value}")),
    };
    let url = url.ok();
    // The name of this host is no secret, and part of other addresses.
    let is_elsewhere = |url: &&Url| Host::from_url(url).is_some_and(|host| !host.is_loopback());
    let host = url.as_ref().filter(is_elsewhere).and_then(Url::host_str);
    let host = host.map(str::to_owned);
    let origin = url.as_ref().and_then(|url| {
        let port = url.port_or_known_default()?;
        Some(format!("{}:{port}", url.host_str()?))
    });
    let is_name = |text: &String| text.contains(['.', ':']);
    let is_proxy = name.to_ascii_uppercase().ends_with("_PROXY");
    let value = Some(value.to_owned()).filter(|value| !is_proxy || is_name(value));
    let texts = [value, origin, host.filter(is_name)];
    let texts = texts.into_iter().flatten();
    texts.filter(|text| text.len() >= MIN_MASKED).collect()
}

const SET_BY_WINDOWS: &str = "ProgramData";
/// Those that the library does not read: of the program, of other programs, and of OpenSSL.
const OTHERS: [&str; 10] = [
    "HTTP_PROXY",
    "http_proxy",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "OPENSSL_CONF",
    "KEYBOUND_CA_FILE",
    "KEYBOUND_LOG",
    "KEYBOUND_EMULATOR_GRAPH",
    "KEYBOUND_EMULATOR_STS",
    "KEYBOUND_EMULATOR_VAULT",
];
/// Switches and lists: their values are never part of a text, but words like them may be.
const HARMLESS: [&str; 7] = [
    "MSAL_MI_DISABLE_IMDS_V2",
    "MSAL_MI_DISABLE_PERSISTENT_CERT_CACHE",
    "MSAL_MI_IMDSV2_ALLOWED_HOSTS",
    "MSAL_MSI_V2_ATTESTATION_CACHE",
    "NO_PROXY",
    "no_proxy",
    "KEYBOUND_LOG",
];
/// Shorter texts may be part of any word.
const MIN_MASKED: usize = 4;
