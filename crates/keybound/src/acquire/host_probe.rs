//! The probe of the host, for its capabilities: which versions of IMDS it has, what the virtual machine is, and whether there is an
//! attestation library. It creates no key and requests no token.
use super::{ClientContext, Flow, Progress};
use crate::attestor::Attestor;
use crate::capabilities::{Capabilities, ImdsVersions};
use keybound_core::{ComputeDocument, Error, ErrorKind, ManagedIdentitySource, Result, Stage};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use tracing::Instrument as _;
use uuid::Uuid;

/// What a probe found.
#[derive(Debug)]
pub(crate) struct HostFacts {
    /// `None` if another source is used, so that IMDS was not asked.
    pub(crate) imds: Option<ImdsVersions>,
    /// `None` if IMDS was not asked for it.
    pub(crate) compute: Option<Result<ComputeDocument>>,
    /// The native library of the attestation provider, if it calls one.
    pub(crate) library: Option<Result<PathBuf>>,
}

impl HostFacts {
    /// What is known if the probe failed as a whole.
    fn unknown(context: &ClientContext, error: &Error) -> Self {
        let shared = &context.settings.shared;
        let calls_library = shared
            .attestation
            .as_ref()
            .is_some_and(Attestor::is_platform);
        Self {
            imds: context.uses_imds().then(|| ImdsVersions {
                error: Some(error.clone()),
                ..ImdsVersions::default()
            }),
            compute: None,
            library: calls_library.then(|| Err(error.clone())),
        }
    }

    /// Whether a request to IMDS failed.
    pub(crate) fn has_failed(&self) -> bool {
        let imds_failed = self.imds.as_ref().is_some_and(|imds| imds.error.is_some());
        imds_failed || matches!(self.compute, Some(Err(_)))
    }
}

impl ClientContext {
    /// The capabilities of the host: from the cache, otherwise by a probe that concurrent callers share.
    pub(crate) async fn capabilities(self: &Arc<Self>, wait: Duration) -> Capabilities {
        let host = &self.state.inner().host;
        let v2_disabled = self.settings.imds_v2_disabled;
        if let Some(facts) = host.get(v2_disabled, self.now()) {
            return Capabilities::new(&self.settings, &facts);
        }
        let context = Arc::clone(self);
        let waiter = host.flights.join(&v2_disabled, move |progress| {
            let span = tracing::debug_span!("keybound_step", step = "capabilities");
            Box::pin(probe(Arc::clone(&context), progress).instrument(span))
        });
        let facts = match timeout(wait, waiter.work).await {
            Ok(facts) => facts,
            Err(_) => Arc::new(HostFacts::unknown(self, &waiter.progress.deadline_error())),
        };
        Capabilities::new(&self.settings, &facts)
    }

    fn uses_imds(&self) -> bool {
        self.settings.shared.source.kind() == ManagedIdentitySource::Imds
    }
}

/// Probes the host and caches what it found, unless another probe has just done so.
async fn probe(context: Arc<ClientContext>, progress: Arc<Progress>) -> Arc<HostFacts> {
    let v2_disabled = context.settings.imds_v2_disabled;
    let host = &context.state.inner().host;
    if let Some(facts) = host.get(v2_disabled, context.now()) {
        return facts;
    }
    let attestor = context.settings.shared.attestation.clone();
    let probe = Probe {
        context: Arc::clone(&context),
        progress,
    };
    let ((imds, compute), library) = tokio::join!(probe.imds(), find_library(attestor));
    let facts = Arc::new(HostFacts {
        imds,
        compute,
        library,
    });
    tracing::debug!(?facts, "host probed");
    host.put(v2_disabled, &facts, context.now());
    facts
}

struct Probe {
    context: Arc<ClientContext>,
    progress: Arc<Progress>,
}

impl Probe {
    /// The versions of IMDS and the compute document, which needs one of them.
    async fn imds(&self) -> (Option<ImdsVersions>, Option<Result<ComputeDocument>>) {
        if !self.context.uses_imds() {
            return (None, None);
        }
        let versions = self.versions().await;
        let found = versions.v1 == Some(true) || versions.v2.is_some();
        let compute = match found {
            true => Some(self.compute_document().await),
            false => None,
        };
        (Some(versions), compute)
    }

    /// v2 is probed first: the probe of v1 succeeds on hosts of both versions.
    async fn versions(&self) -> ImdsVersions {
        let mut versions = ImdsVersions::default();
        if !self.context.settings.imds_v2_disabled {
            let probe = |flow: Flow| async move { flow.supports_imds_v2().await };
            match self.request("imds_v2", V2_LIMIT, probe).await {
                Ok(supported) => versions.v2 = Some(supported),
                Err(error) => versions.error = Some(error),
            }
        }
        if versions.v2 == Some(true) {
            versions.v1 = Some(true);
            return versions;
        }
        // Nothing listens there.
        let is_silent =
            |error: &Error| error.kind() == ErrorKind::Unreachable || error.deadline_exceeded();
        if versions.error.as_ref().is_some_and(is_silent) {
            return versions;
        }
        let probe = |flow: Flow| async move { flow.supports_imds_v1().await };
        match self.request("imds_v1", LIMIT, probe).await {
            Ok(supported) => versions.v1 = Some(supported),
            Err(error) => {
                versions.error.get_or_insert(error);
            }
        }
        versions
    }

    /// The compute document, in an older version if IMDS rejects the one that has the security type by Microsoft's reference.
    async fn compute_document(&self) -> Result<ComputeDocument> {
        match self.compute_document_of(COMPUTE_VERSION).await {
            Err(error) if error.kind() == ErrorKind::Refused && error.status() == Some(400) => {
                self.compute_document_of(OLDER_COMPUTE_VERSION).await
            }
            result => result,
        }
    }

    async fn compute_document_of(&self, version: &'static str) -> Result<ComputeDocument> {
        let fetch = |flow: Flow| async move { flow.compute_document(version).await };
        self.request("compute", LIMIT, fetch).await
    }

    /// Sends a request with its retries, for as long as `limit`.
    async fn request<T, F: Future<Output = Result<T>>>(
        &self,
        step: &'static str,
        limit: Duration,
        send: impl FnOnce(Flow) -> F,
    ) -> Result<T> {
        let (progress, request_id) = (Arc::<Progress>::default(), Uuid::new_v4());
        progress.enter(Stage::Metadata);
        self.progress.begin_nested(&progress);
        let flow = Flow::new(Arc::clone(&self.context), Arc::clone(&progress), request_id);
        let span = tracing::debug_span!("keybound_step", step, %request_id);
        let result = timeout(limit, send(flow)).instrument(span).await;
        self.progress.end_nested();
        result.unwrap_or_else(|_| Err(progress.deadline_error()))
    }
}

async fn find_library(attestor: Option<Attestor>) -> Option<Result<PathBuf>> {
    let attestor = attestor?;
    let find = spawn_blocking(move || attestor.provider().find_library());
    let failed = |kind, message| Some(Err(Error::new(kind, Stage::Attestation, message)));
    match timeout(LIMIT, find).await {
        Ok(Ok(found)) => found,
        Ok(Err(_)) => failed(
            ErrorKind::AttestationFailed,
            "the search for the attestation library panicked",
        ),
        Err(_) => failed(
            ErrorKind::DeadlineExceeded,
            "the search for the attestation library did not end before the deadline",
        ),
    }
}

const COMPUTE_VERSION: &str = "2021-12-13";
/// The version that MSAL requests.
const OLDER_COMPUTE_VERSION: &str = "2021-02-01";
/// For the probe of v2 with its retries, which wait 7 s.
const V2_LIMIT: Duration = Duration::from_secs(10);
/// For each further request: IMDS has responded before.
const LIMIT: Duration = Duration::from_secs(5);
