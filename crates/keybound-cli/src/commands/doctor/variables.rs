//! The environment variables that matter: their names for the report, and their values to remove from it.
use keybound::Environment;
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
        Self::new(names, |name| std::env::var_os(name)?.into_string().ok())
    }

    /// Of the variables that the library reads (`library`) and of the other ones that matter, those that `lookup` finds.
    pub(super) fn new(
        library: impl IntoIterator<Item = &'static str>,
        lookup: impl Fn(&str) -> Option<String>,
    ) -> Self {
        let others = OTHERS.iter().copied().filter(|name| lookup(name).is_some());
        let mut names: Vec<_> = library.into_iter().chain(others).collect();
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
            .flat_map(|(name, value)| texts_of(&value).into_iter().map(move |text| (text, name)))
            .collect();
        masked.sort_by_key(|(text, _)| std::cmp::Reverse(text.len()));
        Self { names, masked }
    }

    /// The names, in alphabetical order.
    pub(super) fn names(&self) -> &[&'static str] {
        &self.names
    }

    /// Replaces values, and hosts in values, by the names of their variables.
    pub(super) fn mask(&self, text: &str) -> String {
        let mask = |text: String, (value, name): &(String, &str)| {
            text.replace(value.as_str(), &format!("[{name}]"))
        };
        self.masked.iter().fold(text.to_owned(), mask)
    }
}

/// The value, and host and port of a URL, as errors name them.
fn texts_of(value: &str) -> Vec<String> {
    let value = value.trim();
    let url = match value.contains("://") {
        true => Url::parse(value),
        false => Url::parse(&format!("http://{value}")),
    };
    let origin = url.ok().and_then(|url| {
        let port = url.port_or_known_default()?;
        Some(format!("{}:{port}", url.host_str()?))
    });
    let texts = [Some(value.to_owned()), origin];
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
