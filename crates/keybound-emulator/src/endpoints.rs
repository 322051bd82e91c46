use crate::service::Service;
use std::collections::BTreeMap;
use url::Url;

/// The URLs of all services.
#[derive(Clone, Debug)]
pub(crate) struct Endpoints(pub BTreeMap<Service, Url>);

impl Endpoints {
    /// The origin of a service, as tokens and documents contain it: `https://127.0.0.1:8443`, without a trailing slash.
    pub fn origin(&self, service: Service) -> &str {
        self.0[&service].as_str().trim_end_matches('/')
    }
}
