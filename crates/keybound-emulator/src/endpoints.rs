use url::Url;

/// Where the services listen: origins without a trailing slash in their text form, see [`origin`].
#[derive(Clone, Debug)]
pub(crate) struct Endpoints {
    pub imds: Url,
    pub sts: Url,
    pub maa: Url,
    pub vault: Url,
    pub graph: Url,
    pub control: Url,
}

/// An endpoint as services and tokens write it: `https://127.0.0.1:8443`, without the trailing slash.
pub(crate) fn origin(url: &Url) -> &str {
    url.as_str().trim_end_matches('/')
}
