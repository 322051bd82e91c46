use super::conceal::Conceal;
use super::flow;
use super::report::StepResult;
use super::request_summary::RequestSummary;
use crate::args::SelftestArgs;
use crate::failure::Failure;
use crate::steps::StepLog;
use crate::{session, vaults};
use keybound::{
    AccessToken, Environment, Error, ErrorKind, ManagedIdentityClient,
    ManagedIdentityClientBuilder, Scope, Stage, TokenRequest, TokenSource,
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
        let supported = self.client.supports_imds_v2(self.remaining()).await;
        let disabled = Environment::from_process().imds_v2_disabled();
        let v1_only = matches!(supported, Ok(false)) && !disabled;
        let mut results = vec![
            probe(supported, disabled).elapsed(Some(started.elapsed())),
            timed(self.key_providers()).await,
            timed(self.attestation_library()).await,
        ];
        let token = if v1_only {
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

    /// Runs blocking work on another thread, until the deadline.
    pub(super) async fn run_blocking<T: Send + 'static>(
        &self,
        stage: Stage,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Error> {
        let work = tokio::task::spawn_blocking(work);
        match tokio::time::timeout(self.remaining(), work).await {
            Ok(Ok(done)) => Ok(done),
            Ok(Err(panicked)) => {
                Err(Error::new(ErrorKind::KeyFailed, stage, "the step panicked")
                    .with_source(panicked))
            }
            Err(_) => Err(Error::new(
                ErrorKind::DeadlineExceeded,
                stage,
                "the step did not end before the deadline",
            )),
        }
    }

    pub(super) fn remaining(&self) -> Duration {
        let timeout = self.args.host.timeout;
        timeout.saturating_sub(self.started.elapsed())
    }
}

fn probe(supported: Result<bool, Error>, disabled: bool) -> StepResult {
    const NAME: &str = "probe";
    let (detail, error) = match supported {
        Ok(true) => {
            let detail = "IMDS supports v2: HTTP 400 for a request without the Metadata header";
            return StepResult::ok(NAME, detail);
        }
        Ok(false) if disabled => (
            "no request was sent to IMDS: managed identity v2 is disabled",
            Error::new(
                ErrorKind::ImdsV2Disabled,
                Stage::Request,
                "managed identity v2 is disabled by MSAL_MI_DISABLE_IMDS_V2",
            ),
        ),
        Ok(false) => (
            "IMDS does not support v2",
            Error::new(
                ErrorKind::ImdsV2Unavailable,
                Stage::Metadata,
                "this host's IMDS does not offer managed identity v2 (only v1)",
            )
            .with_status(404),
        ),
        Err(error) => ("the probe for IMDS v2 failed", error),
    };
    StepResult::failed(NAME, detail, Some(error))
}

/// Adds the duration of a check to its result.
async fn timed(check: impl Future<Output = StepResult>) -> StepResult {
    let started = Instant::now();
    let result = check.await;
    result.elapsed(Some(started.elapsed()))
}

pub(super) const NO_TOKEN: &str = "there is no token";
