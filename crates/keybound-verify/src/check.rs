//! The decision about one request, whatever the protocol that asks for it.
mod denial;
mod identity;

pub(crate) use denial::{Denial, DenialReason};
pub use identity::IDENTITY_HEADERS;
pub(crate) use identity::{IdentityValues, identity_headers};

use crate::apis::Api;
use crate::decision_log::Entry;
use crate::metrics::Metrics;
use crate::{Apis, Config, DecisionLog, Engine};
use arc_swap::ArcSwap;
use keybound_resource::source::{ForwardedCertificate, TrustedPeers};
use keybound_resource::{Authorization, Caller, CertificateError, ClientCertificate};
use std::fmt;
use std::sync::Arc;
use std::time::Instant;

/// Decides about the requests that a proxy asks for, with the policies that are current.
#[derive(Clone)]
pub(crate) struct CheckService(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) engine: Engine,
    pub(crate) source: ArcSwap<ForwardedCertificate>,
    pub(crate) apis: ArcSwap<Apis>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) log: DecisionLog,
}

/// A request as the proxy describes it.
pub(crate) struct Check<'a> {
    pub(crate) host: &'a str,
    pub(crate) method: &'a str,
    /// With its query.
    pub(crate) path: &'a str,
    pub(crate) authorization: Authorization<'a>,
    pub(crate) certificate: &'a Result<Option<ClientCertificate>, CertificateError>,
}

impl CheckService {
    pub(crate) fn new(
        config: &Config,
        apis: Apis,
        trusted: TrustedPeers,
        metrics: Arc<Metrics>,
        log: DecisionLog,
    ) -> Self {
        Self(Arc::new(Inner {
            engine: config.proxy.engine,
            source: ArcSwap::from_pointee(config.proxy.engine.certificate_source(trusted)),
            apis: ArcSwap::from_pointee(apis),
            metrics,
            log,
        }))
    }

    pub(crate) fn replace_apis(&self, apis: Apis) {
        self.0.apis.store(Arc::new(apis));
    }

    /// Replaces the peers whose headers with certificates are trusted.
    pub(crate) fn replace_trusted(&self, trusted: TrustedPeers) {
        let source = self.0.source.load().with_trusted(trusted);
        self.0.source.store(Arc::new(source));
    }

    /// Verifies the token of a request and its binding to the certificate.
    pub(crate) async fn decide(&self, check: &Check<'_>) -> Result<Arc<Caller>, Denial> {
        let started = Instant::now();
        let apis = self.0.apis.load_full();
        let Some(api) = apis.find(check.host) else {
            let denial = Denial::of_unknown_host();
            self.0.metrics.count_unknown_host();
            self.log(check, None, &Err(&denial));
            return Err(denial);
        };
        let decided = api
            .verifier
            .authenticate(check.authorization, check.certificate)
            .await
            .map_err(|refusal| Denial::of_refusal(&refusal));
        let reason = decided.as_ref().err().map(Denial::reason);
        api.metrics.count(reason, started.elapsed());
        self.log(check, Some(api), &decided.as_ref());
        decided
    }

    fn log(&self, check: &Check<'_>, api: Option<&Api>, decided: &Result<&Arc<Caller>, &Denial>) {
        if self.0.log.records(decided.is_err()) {
            self.0.log.write(&Entry::new(check, api, decided));
        }
    }
}

impl fmt::Debug for CheckService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CheckService")
            .field("engine", &self.0.engine)
            .finish_non_exhaustive()
    }
}
