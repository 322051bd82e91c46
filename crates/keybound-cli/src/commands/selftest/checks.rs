use super::conceal::Conceal;
use super::flow;
use super::report::Step;
use crate::args::SelftestArgs;
use crate::failure::Failure;
use crate::report::{BufferedResponse, check_response};
use crate::steps::Recorder;
use crate::text::printable_line;
use crate::{emulation, session, vaults};
use keybound::attestation::native::{LibraryTrust, NativeProbe};
use keybound::http::ConnectionInfo;
use keybound::http::ResourceClient;
use keybound::keys::{KeyError, KeyErrorKind, ProviderStatus};
use keybound::{
    AccessToken, Environment, Error, ErrorKind, KeyStrength, ManagedIdentityClient,
    ManagedIdentityClientBuilder, Scope, Stage, TokenRequest, TokenSource,
};
use serde::Serialize;
use std::time::{Duration, Instant};
use url::Url;

/// The checks of this host.
pub(super) struct Checks<'a> {
    args: &'a SelftestArgs,
    client: ManagedIdentityClient,
    request: TokenRequest,
    scope: Scope,
    call: Option<Url>,
    recorder: Recorder,
    conceal: Conceal,
    started: Instant,
}

/// The request, as it is in the report.
#[derive(Debug, Serialize)]
pub(super) struct RequestSummary {
    identity: String,
    resource: String,
    min_strength: &'static str,
    attestation: bool,
    fresh: bool,
    call: Option<String>,
}

impl RequestSummary {
    /// For people.
    pub(super) fn text(&self) -> String {
        let attested = match self.attestation {
            true => "attested",
            false => "not attested",
        };
        let call = match &self.call {
            Some(origin) => format!(", call of {origin}"),
            None => String::new(),
        };
        let fresh = match self.fresh {
            true => ", new certificate",
            false => "",
        };
        format!(
            "request: identity {}, token for {}, key at least {}, {attested}{fresh}{call}",
            self.identity, self.resource, self.min_strength
        )
    }
}

impl<'a> Checks<'a> {
    /// Resolves flags and environment.
    ///
    /// # Errors
    /// Those of [`session::client_builder`], and of the URL to call.
    pub(super) fn new(args: &'a SelftestArgs, recorder: Recorder) -> Result<Self, Failure> {
        let call = args.call()?;
        let builder = session::client_builder(&args.host, call.as_ref())?;
        Self::with(args, recorder, builder)
    }

    /// With this builder of the client.
    ///
    /// # Errors
    /// Those of [`Checks::new`].
    pub(super) fn with(
        args: &'a SelftestArgs,
        recorder: Recorder,
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
            client: client.build().map_err(Failure::before_work)?,
            request: TokenRequest::pop(scope.as_str(), session::key_requirements(&args.host)),
            scope,
            call,
            recorder,
            conceal: Conceal {
                show_ids: args.show_ids,
            },
            started: Instant::now(),
        })
    }

    /// The request, for the report. Of the URL it holds the origin only: the rest may be a secret.
    pub(super) fn request_summary(&self) -> RequestSummary {
        let identity = self.args.host.identity();
        let identity = match identity.v2_selector() {
            None => "system_assigned".to_owned(),
            // Its parts are ids too.
            Some(("mi_res_id", _)) if !self.args.show_ids => "mi_res_id …".to_owned(),
            Some((name, id)) => self.conceal.ids(&format!("{name} {id}")),
        };
        RequestSummary {
            identity,
            resource: self.scope.resource().to_owned(),
            min_strength: self.min_strength().as_str(),
            attestation: !self.args.host.no_attestation,
            fresh: self.args.fresh,
            call: self
                .call
                .as_ref()
                .map(|url| url.origin().ascii_serialization()),
        }
    }

    /// Runs all steps that can run.
    pub(super) async fn run(&self) -> Vec<Step> {
        let (probe, supports_imds_v2) = self.probe().await;
        let mut steps = vec![
            probe,
            self.key_providers().await,
            self.attestation_library().await,
        ];
        let token = match supports_imds_v2 {
            Some(false) => {
                steps.extend(flow::skipped("IMDS does not support v2 on this host"));
                None
            }
            _ => {
                let request = self.request.clone().timeout(self.remaining());
                let acquired = self.client.acquire_token(&request).await;
                let attested = !self.args.host.no_attestation;
                steps.extend(flow::steps_of(
                    &acquired,
                    &self.recorder,
                    attested,
                    self.conceal,
                ));
                acquired.ok()
            }
        };
        steps.push(self.cache(token.as_ref()).await);
        steps.push(self.resource(token.as_ref()).await);
        steps
    }

    async fn probe(&self) -> (Step, Option<bool>) {
        let started = Instant::now();
        let supports_imds_v2 = self.client.supports_imds_v2(self.remaining()).await;
        let elapsed = Some(started.elapsed());
        match supports_imds_v2 {
            Ok(true) => (
                Step::ok(
                    "probe",
                    "IMDS supports v2: HTTP 400 for a request without the Metadata header",
                    elapsed,
                ),
                Some(true),
            ),
            Ok(false) if Environment::from_process().imds_v2_disabled() => {
                let error = Error::new(
                    ErrorKind::ImdsV2Disabled,
                    Stage::Request,
                    "managed identity v2 is disabled by MSAL_MI_DISABLE_IMDS_V2",
                );
                let detail = "no request was sent to IMDS: managed identity v2 is disabled";
                (Step::failed("probe", detail, Some(error), elapsed), None)
            }
            Ok(false) => {
                let error = Error::new(
                    ErrorKind::ImdsV2Unavailable,
                    Stage::Metadata,
                    "this host's IMDS does not offer managed identity v2 (only v1)",
                );
                let error = error.with_status(404);
                (
                    Step::failed("probe", "IMDS does not support v2", Some(error), elapsed),
                    Some(false),
                )
            }
            Err(error) => (
                Step::failed(
                    "probe",
                    "the probe for IMDS v2 failed",
                    Some(error),
                    elapsed,
                ),
                None,
            ),
        }
    }

    async fn key_providers(&self) -> Step {
        let started = Instant::now();
        let providers = match self.args.host.simulated {
            true => emulation::key_providers(),
            false => Environment::from_process().key_providers(),
        };
        let statuses = self
            .run_blocking(Stage::Key, move || providers.probe_all())
            .await;
        let elapsed = Some(started.elapsed());
        match statuses {
            Ok(statuses) => key_step(statuses, self.min_strength(), self.conceal, elapsed),
            Err(error) => Step::failed(
                "key_providers",
                "the key providers could not be probed",
                Some(error),
                elapsed,
            ),
        }
    }

    async fn attestation_library(&self) -> Step {
        const NAME: &str = "attestation_library";
        if self.args.host.no_attestation {
            return Step::skipped(NAME, "attestation was not requested");
        }
        if self.args.host.simulated {
            return Step::skipped(NAME, "attestation is simulated");
        }
        let started = Instant::now();
        let native = session::native_attestation(&self.args.host.library);
        let probe = self
            .run_blocking(Stage::Attestation, move || native.probe())
            .await;
        let elapsed = Some(started.elapsed());
        let probe = match probe {
            Ok(probe) => probe,
            Err(error) => {
                return Step::failed(
                    NAME,
                    "the library did not return in time",
                    Some(error),
                    elapsed,
                );
            }
        };
        let detail = library_detail(&probe);
        match probe.failure {
            None => Step::ok(NAME, detail, elapsed),
            Some(error) => Step::failed(NAME, detail, Some(error), elapsed),
        }
    }

    async fn cache(&self, token: Option<&AccessToken>) -> Step {
        const NAME: &str = "cache";
        let Some(first) = token else {
            return Step::skipped(NAME, NO_TOKEN);
        };
        let started = Instant::now();
        let request = self.request.clone().timeout(self.remaining());
        let second = self.client.acquire_token(&request).await;
        let elapsed = Some(started.elapsed());
        match second {
            Err(error) => Step::failed(NAME, "the second acquisition failed", Some(error), elapsed),
            Ok(second)
                if second.source() == TokenSource::Cache
                    && second.secret().expose() == first.secret().expose() =>
            {
                Step::ok(
                    NAME,
                    "the second acquisition returned the same token from the cache",
                    elapsed,
                )
            }
            Ok(second) => Step::failed(
                NAME,
                format!(
                    "the second acquisition returned a token from {}",
                    second.source().as_str()
                ),
                None,
                elapsed,
            ),
        }
    }

    async fn resource(&self, token: Option<&AccessToken>) -> Step {
        const NAME: &str = "resource";
        let Some(url) = &self.call else {
            return Step::skipped(NAME, "no resource to call (--call)");
        };
        if token.is_none() {
            return Step::skipped(NAME, NO_TOKEN);
        }
        let started = Instant::now();
        let result = self.call_resource(url).await;
        let elapsed = Some(started.elapsed());
        match result {
            Err(error) => Step::failed(NAME, "the call failed", Some(error), elapsed),
            Ok((response, connection)) => {
                let detail = response_detail(&response, connection.as_ref());
                match check_response(&response) {
                    Ok(()) => Step::ok(NAME, detail, elapsed),
                    Err(error) => Step::failed(NAME, detail, Some(error), elapsed),
                }
            }
        }
    }

    async fn call_resource(
        &self,
        url: &Url,
    ) -> Result<(BufferedResponse, Option<ConnectionInfo>), Error> {
        let client = ResourceClient::builder(&self.client, self.request.clone())
            .timeout(self.remaining())
            .follow_redirects(false)
            .build()?;
        let response = client.get(url.as_str()).send().await?;
        let connection = response.connection().cloned();
        let response = BufferedResponse::read(response, MAX_RESPONSE_BYTES).await?;
        Ok((response, connection))
    }

    /// Runs blocking work on another thread, until the deadline.
    async fn run_blocking<T: Send + 'static>(
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
                ErrorKind::DeadlineReached,
                stage,
                "the step did not end before the deadline",
            )),
        }
    }

    fn min_strength(&self) -> KeyStrength {
        KeyStrength::from(self.args.host.min_strength)
    }

    fn remaining(&self) -> Duration {
        let timeout = self.args.host.timeout;
        timeout.saturating_sub(self.started.elapsed())
    }
}

/// The best key of this host, why there is no stronger one, and whether it is strong enough.
fn key_step(
    statuses: Vec<ProviderStatus>,
    min_strength: KeyStrength,
    conceal: Conceal,
    elapsed: Option<Duration>,
) -> Step {
    const NAME: &str = "key_providers";
    let mut details = Vec::new();
    let mut best = None;
    let mut reason = None;
    for ProviderStatus { strength, key, .. } in statuses {
        match key {
            Ok(key) if key.is_simulated() => {
                details.push("a simulated key in place of keyguard".to_owned());
                best = Some(key.strength());
            }
            Ok(key) => {
                details.push(format!("a key of strength {} is available", key.strength()));
                best = Some(key.strength());
            }
            Err(error) => {
                details.push(format!("{strength}: {}", conceal.text(&error.to_string())));
                reason.get_or_insert(error);
            }
        }
    }
    if !cfg!(windows) && best == Some(KeyStrength::Software) {
        details.push(
            "stronger keys: KeyGuard exists on Windows only, and keys in a TPM are not supported on this platform".into(),
        );
    }
    let detail = details.join("; ");
    match (best, reason) {
        (Some(best), _) if best >= min_strength => Step::ok(NAME, detail, elapsed),
        (Some(best), reason) => {
            let message = KeyError::too_weak(best, min_strength).to_string();
            let kind = match reason {
                Some(reason) if reason.kind() != KeyErrorKind::Unavailable => kind_of(&reason),
                _ => ErrorKind::KeyTooWeak,
            };
            Step::failed(
                NAME,
                detail,
                Some(Error::new(kind, Stage::Key, message)),
                elapsed,
            )
        }
        (None, Some(reason)) => {
            let error = Error::new(
                kind_of(&reason),
                Stage::Key,
                "no provider offers a binding key on this host",
            );
            Step::failed(NAME, detail, Some(error.with_source(reason)), elapsed)
        }
        (None, None) => Step::failed(
            NAME,
            detail,
            Some(Error::new(
                ErrorKind::KeyUnavailable,
                Stage::Key,
                "no provider offers a binding key on this host",
            )),
            elapsed,
        ),
    }
}

fn kind_of(error: &KeyError) -> ErrorKind {
    match error.kind() {
        KeyErrorKind::Unavailable => ErrorKind::KeyUnavailable,
        KeyErrorKind::IsolationUnavailable | KeyErrorKind::NotIsolated => {
            ErrorKind::KeyIsolationUnavailable
        }
        KeyErrorKind::TooWeak => ErrorKind::KeyTooWeak,
        _ => ErrorKind::KeyFailed,
    }
}

fn library_detail(probe: &NativeProbe) -> String {
    let Some(library) = &probe.library else {
        return "no usable attestation library".to_owned();
    };
    let trust = match &library.trust {
        Some(LibraryTrust::SignedBy(signer)) => format!("signed by {}", printable_line(signer)),
        Some(_) => "pinned by its SHA-256".to_owned(),
        None => "not trusted".to_owned(),
    };
    let state = match (library.loaded, library.started) {
        (_, true) => "loaded and started",
        (true, false) => "loaded, not started",
        (false, false) => "not loaded",
    };
    let hash = library.sha256.iter().map(|byte| format!("{byte:02x}"));
    format!("{trust}, {state}, SHA-256 {}", hash.collect::<String>())
}

fn response_detail(response: &BufferedResponse, connection: Option<&ConnectionInfo>) -> String {
    let head = format!(
        "HTTP {}, {} bytes",
        response.status.as_u16(),
        response.body.len()
    );
    let Some(connection) = connection else {
        return head;
    };
    let certificate = match connection.certificate_requested {
        true => "the server requested the certificate",
        false => "the server never requested the certificate",
    };
    format!(
        "{head}; {} by {}, {certificate}",
        connection.tls_version, connection.tls_engine
    )
}

const NO_TOKEN: &str = "there is no token";
/// The largest response body, in bytes.
const MAX_RESPONSE_BYTES: usize = 16 * 1024 * 1024;
