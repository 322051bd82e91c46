use super::flow;
use super::report::StepResult;
use super::request_summary::RequestSummary;
use crate::args::SelftestArgs;
use crate::diagnosis::{Conceal, Finding, attestation_library, imds_version};
use crate::failure::Failure;
use crate::steps::StepLog;
use crate::{session, vaults};
use keybound::capabilities::Capabilities;
use keybound::{
    AccessToken, Error, ManagedIdentityClient, ManagedIdentityClientBuilder, Scope, TokenRequest,
    TokenSource,
};
use std::time::{Duration, Instant};
use url::Url;

/// The checks of this host.
pub(super) struct Checks<'a> {
    pub(super) args: &'a SelftestArgs,
    pub(super) client: ManagedIdentityClient,
    pub(super) request: TokenRequest,
    pub(super) call: Option<Url>,
    pub(super) conceal: Conceal,
    scope: Scope,
    steps: StepLog,
    started: Instant,
}

impl<'a> Checks<'a> {
    /// Resolves flags and environment.
    ///
    /// # Errors
    /// Those of [`session::client_builder`], and of the URL to call.
    pub(super) fn new(args: &'a SelftestArgs, steps: StepLog) -> Result<Self, Failure> {
        let call = args.call()?;
        let builder =
            session::client_builder(&args.host, session::trust(&args.host, call.as_ref())?)?;
        Self::with(args, steps, builder)
    }

    /// With this builder of the client.
    ///
    /// # Errors
    /// Those of [`Checks::new`].
    pub(super) fn with(
        args: &'a SelftestArgs,
        steps: StepLog,
        client: ManagedIdentityClientBuilder,
    ) -> Result<Self, Failure> {
        let client = match args.fresh {
            true => client.persistence(false),
            false => client,
        };
        let call = args.call()?;
        let vault = call
            .as_ref()
            .and_then(|url| vaults::resource(url, args.host.simulated));
        let target = args.target.scope().or(vault.as_deref());
        let scope = Scope::for_resource(target.unwrap_or(session::DEFAULT_SCOPE));
        let scope = scope.map_err(Failure::before_work)?;
        Ok(Self {
            args,
            client: client
                .on_step(steps.listener())
                .build()
                .map_err(Failure::before_work)?,
            request: TokenRequest::pop(scope.as_str(), session::key_requirements(&args.host)),
            scope,
            call,
            steps,
            conceal: Conceal {
                show_ids: args.show_ids,
            },
            started: Instant::now(),
        })
    }

    /// The request, for the report.
    pub(super) fn request_summary(&self) -> RequestSummary {
        RequestSummary::new(self.args, &self.scope, self.call.as_ref())
    }

    /// Runs all steps that can run.
    pub(super) async fn run(&self) -> Vec<StepResult> {
        let started = Instant::now();
        let capabilities = self.client.capabilities_within(self.remaining()).await;
        let probe = StepResult::of("probe", probe(&capabilities));
        let mut results = vec![
            probe.elapsed(Some(started.elapsed())),
            timed(self.key_providers()).await,
            timed(self.attestation_library()).await,
        ];
        let token = if has_no_v2(&capabilities) {
            results.extend(flow::skipped("IMDS does not support v2 on this host"));
            None
        } else {
            let acquired = self.acquire().await;
            let attested = !self.args.host.no_attestation;
            let events = self.steps.events();
            results.extend(flow::results(&acquired, &events, attested, self.conceal));
            acquired.ok()
        };
        results.push(timed(self.cache(token.as_ref())).await);
        results.push(timed(self.resource(token.as_ref())).await);
        results
    }

    async fn acquire(&self) -> Result<AccessToken, Error> {
        let request = self.request.clone().timeout(self.remaining());
        self.client.acquire_token(&request).await
    }

    async fn cache(&self, token: Option<&AccessToken>) -> StepResult {
        const NAME: &str = "cache";
        let Some(first) = token else {
            return StepResult::skipped(NAME, NO_TOKEN);
        };
        match self.acquire().await {
            Err(error) => StepResult::failed(NAME, "the second acquisition failed", Some(error)),
            Ok(second)
                if second.source() == TokenSource::Cache
                    && second.secret().expose() == first.secret().expose() =>
            {
                let detail = "the second acquisition returned the same token from the cache";
                StepResult::ok(NAME, detail)
            }
            Ok(second) => {
                let source = second.source();
                let detail = format!("the second acquisition returned a token from {source}");
                StepResult::failed(NAME, detail, None)
            }
        }
    }

    async fn attestation_library(&self) -> StepResult {
        let finding = attestation_library(&self.args.host, self.remaining());
        StepResult::of("attestation_library", finding.await)
    }

    pub(super) fn remaining(&self) -> Duration {
        let timeout = self.args.host.timeout;
        timeout.saturating_sub(self.started.elapsed())
    }
}

/// The probe for v2; another source than IMDS issues no certificates.
fn probe(found: &Capabilities) -> Finding {
    match (&found.imds, &found.why_not_stronger) {
        (None, Some(error)) => Finding::failed("IMDS was not asked", error.clone()),
        _ => imds_version(found, false),
    }
}

/// Whether the flow would fail at its first step for a known reason.
fn has_no_v2(found: &Capabilities) -> bool {
    let supported = found
        .imds
        .as_ref()
        .is_some_and(|imds| imds.v2 != Some(false));
    !supported && !found.imds_v2_disabled
}

/// Adds the duration of a check to its result.
async fn timed(check: impl Future<Output = StepResult>) -> StepResult {
    let started = Instant::now();
    let result = check.await;
    result.elapsed(Some(started.elapsed()))
}

pub(super) const NO_TOKEN: &str = "there is no token";
