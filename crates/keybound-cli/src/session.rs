//! From options to a client and a request: all options are resolved and checked before a request is sent.
use crate::args::{HostArgs, LibraryArgs, Source, TokenArgs};
use crate::failure::Failure;
use crate::steps::StepLog;
use crate::{app_client, emulation, out, text};
use keybound::attestation::native::NativeAttestation;
use keybound::confidential::TokenClient;
use keybound::http::ResourceClient;
use keybound::tls::{ProxyConfig, TrustAnchors, VersionPolicy};
use keybound::{
    AccessToken, Environment, Error, ErrorKind, KeyRequirements, KeyStrength,
    ManagedIdentityClient, ManagedIdentityClientBuilder, Stage, TokenRequest,
};
use keybound_core::tls::Host;
use keybound_transport::{HttpsClient, HttpsSettings};
use std::borrow::Cow;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use url::Url;

/// A client, its request, and the timeout of the command.
pub(crate) struct Session {
    client: TokenClient,
    request: TokenRequest,
    pub(crate) steps: StepLog,
    timeout: Duration,
    started: Instant,
}

impl Session {
    /// Resolves the options and the environment. The token is for the resource of the options, otherwise for `fallback`,
    /// otherwise for Microsoft Graph in the cloud of the options. `called` is the resource that is called with it, if any.
    ///
    /// # Errors
    /// [`Failure::Usage`] if a value is malformed or a file cannot be read; [`Failure::Flow`] if simulated keys are requested
    /// without an emulator.
    pub(crate) fn new(
        args: &TokenArgs,
        steps: StepLog,
        fallback: Option<&str>,
        called: Option<&Url>,
    ) -> Result<Self, Failure> {
        check_effects(args)?;
        let authorities = app_client::named_authorities(args);
        // The variable is for the services of an emulator, of which a plain bearer token of an identity needs none with TLS.
        let trust = match args.bearer && called.is_none() && authorities.is_empty() {
            true => named_trust(&args.host)?.unwrap_or_else(TrustAnchors::system),
            false => trust(&args.host, called.into_iter().chain(&authorities))?,
        };
        Ok(Self {
            client: app_client::client(args, trust, &steps)?,
            request: request(args, fallback),
            steps,
            timeout: args.host.timeout,
            started: Instant::now(),
        })
    }

    /// Acquires the token.
    ///
    /// # Errors
    /// Those of the library.
    pub(crate) async fn acquire(&self) -> Result<AccessToken, Error> {
        let request = self.request.clone().timeout(self.remaining());
        self.client.acquire_token(&request).await
    }

    /// The client for the call of a resource, within the time until the deadline. It follows no redirects.
    ///
    /// # Errors
    /// If the host's TLS configuration does not allow it.
    pub(crate) fn resource_client(&self) -> Result<ResourceClient, Error> {
        ResourceClient::builder(&self.client, self.request.clone())
            .timeout(self.remaining())
            .follow_redirects(false)
            .build()
    }

    /// The time until the deadline.
    fn remaining(&self) -> Duration {
        self.timeout.saturating_sub(self.started.elapsed())
    }

    /// The time since the start.
    pub(crate) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }
}

/// The builder of the client, with the options for identity, key and connections.
///
/// # Errors
/// As [`Session::new`].
pub(crate) fn client_builder(
    args: &HostArgs,
    trust: TrustAnchors,
) -> Result<ManagedIdentityClientBuilder, Failure> {
    let mut builder = ManagedIdentityClient::builder()
        .identity(args.identity())
        .trust(trust.clone())
        .tls_versions(tls_versions(args))
        .tls_engine(args.tls_engine.into());
    if let Some(url) = args.imds() {
        builder = builder.imds_endpoint(url);
    }
    if !args.allowed_hosts.is_empty() {
        builder = builder.allowed_hosts(&args.allowed_hosts);
    }
    if args.library.is_set() {
        builder = builder.attestation(Arc::new(native_attestation(&args.library)));
    }
    if args.simulated {
        check_simulated(args, &trust)?;
        builder = emulation::simulate(builder, trust)?;
    }
    Ok(builder)
}

/// An HTTPS client without a certificate, with the options for connections.
///
/// # Errors
/// If the host's TLS does not allow it.
pub(crate) fn https_client(
    args: &HostArgs,
    trust: TrustAnchors,
    proxy: ProxyConfig,
) -> keybound::Result<HttpsClient> {
    let settings = HttpsSettings {
        trust,
        versions: tls_versions(args),
        engine: args.tls_engine.into(),
        proxy,
        ..HttpsSettings::default()
    };
    Ok(HttpsClient::new(None, settings)?)
}

/// The native attestation library of the options and the environment.
pub(crate) fn native_attestation(args: &LibraryArgs) -> NativeAttestation {
    let mut native = Environment::from_process().native_attestation();
    if let Some(path) = &args.attestation_library {
        native = native.library(path);
    }
    if args.attestation_null_arguments {
        native = native.null_arguments();
    }
    match &args.attestation_library_sha256 {
        Some(sha256) => native.pinned_sha256(sha256.0),
        None => native,
    }
}

/// Runs a future on a new runtime. Blocking work that has not finished then (creating a key, resolving a name) is not waited
/// for: it may take longer than the timeout.
///
/// # Errors
/// If the host has no more threads or file descriptors.
pub(crate) fn run_to_end<T>(work: impl Future<Output = T>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::Host(format!("the runtime could not start: {error}")))?;
    let result = runtime.block_on(work);
    runtime.shutdown_background();
    Ok(result)
}

/// Reads a file of at most `limit` bytes that an option or variable named.
///
/// # Errors
/// [`Failure::Usage`], with both names.
pub(crate) fn read_file(named_by: &str, path: &Path, limit: usize) -> Result<Vec<u8>, Failure> {
    let file = File::open(path).and_then(|file| read_bounded(file, limit));
    file.map_err(|error| misnamed(named_by, path, &error))
}

fn misnamed(named_by: &str, path: &Path, error: &dyn std::error::Error) -> Failure {
    Failure::Usage(format!(
        "{named_by} {}: {error}",
        text::printable_line(&path.to_string_lossy())
    ))
}

/// Reads at most `limit` bytes; more is an error.
pub(crate) fn read_bounded(from: impl io::Read, limit: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(limit as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > limit {
        return Err(io::Error::other(format!("longer than {limit} bytes")));
    }
    Ok(bytes)
}

fn request(args: &TokenArgs, fallback: Option<&str>) -> TokenRequest {
    let requirements = key_requirements(&args.host);
    let graph = app_client::cloud(args).map(|cloud| cloud.graph());
    let target = args.target.scope().or(fallback);
    let target = target.or(graph).unwrap_or(DEFAULT_SCOPE);
    let request = match (args.bearer, args.bearer_over_mtls) {
        (true, _) => TokenRequest::bearer(target),
        (false, true) => TokenRequest::bearer_over_mtls(target, requirements),
        (false, false) => TokenRequest::pop(target, requirements),
    };
    let request = request.force_refresh(args.force_refresh);
    match &args.claims {
        Some(claims) => request.claims(claims.clone()),
        None => request,
    }
}

/// The requirements that the options state.
pub(crate) fn key_requirements(args: &HostArgs) -> KeyRequirements {
    let requirements = if args.no_attestation {
        KeyRequirements::unattested()
    } else {
        KeyRequirements::attested()
    };
    requirements.min_strength(KeyStrength::from(args.min_strength))
}

/// The TLS versions that the options name.
pub(crate) fn tls_versions(args: &HostArgs) -> VersionPolicy {
    let add = |policy: VersionPolicy, choice: &crate::args::TlsChoice| {
        policy.with_host(&choice.host, choice.versions)
    };
    args.tls.iter().fold(VersionPolicy::default(), add)
}

/// The system's CAs, and those of `--ca-file` for all hosts; without the option, those of `KEYBOUND_CA_FILE` for loopback
/// hosts, read only if one is connected to. `named` are the services that options name: the called resource and the authority.
///
/// # Errors
/// [`Failure::Usage`] if a file cannot be read.
pub(crate) fn trust<'a>(
    args: &HostArgs,
    named: impl IntoIterator<Item = &'a Url>,
) -> Result<TrustAnchors, Failure> {
    if let Some(trust) = named_trust(args)? {
        return Ok(trust);
    }
    let system = TrustAnchors::system();
    if !has_loopback_imds(args) && !named.into_iter().any(is_loopback) {
        return Ok(system);
    }
    let Some(path) = std::env::var_os(CA_FILE_VARIABLE).filter(|path| !path.is_empty()) else {
        return Ok(system);
    };
    let path = Path::new(&path);
    let pem = read_file(CA_FILE_VARIABLE, path, MAX_PEM_BYTES)?;
    let trust = system
        .with_loopback_pem(&pem)
        .map_err(|error| misnamed(CA_FILE_VARIABLE, path, &error))?;
    out::log(&format!(
        "warning: {CA_FILE_VARIABLE} is set: the CA certificates of {} are trusted for loopback hosts",
        text::printable_line(&path.to_string_lossy())
    ));
    Ok(trust)
}

/// The system's CAs and those of `--ca-file`, if it is given.
fn named_trust(args: &HostArgs) -> Result<Option<TrustAnchors>, Failure> {
    let Some(path) = &args.ca_file else {
        return Ok(None);
    };
    let pem = read_file("--ca-file", path, MAX_PEM_BYTES)?;
    let trust = TrustAnchors::system().with_pem(&pem);
    trust
        .map(Some)
        .map_err(|error| misnamed("--ca-file", path, &error))
}

/// Rejects options that have no effect beside others, as far as their parser cannot.
fn check_effects(args: &TokenArgs) -> Result<(), Failure> {
    check_host_effects(&args.host, args.source)?;
    if args.bearer && args.claims.is_some() && !args.app.is_set() {
        return Err(Failure::Usage(
            "--claims has no effect with --bearer: sources of bearer tokens get no claims"
                .to_owned(),
        ));
    }
    if args.bearer && !args.host.allowed_hosts.is_empty() && !args.app.is_set() {
        return Err(Failure::Usage(
            "--allowed-host has no effect with --bearer: the source is on this host".to_owned(),
        ));
    }
    app_client::check_effects(args)
}

/// The same for the options of the host.
pub(crate) fn check_host_effects(args: &HostArgs, source: Option<Source>) -> Result<(), Failure> {
    if args.imds().is_some() && source.is_some_and(|source| source != Source::Imds) {
        return Err(Failure::Usage(
            "--imds is the address of another source than --source names".to_owned(),
        ));
    }
    if args.library.is_set() && (args.no_attestation || args.simulated) {
        return Err(Failure::Usage(
            "the attestation library is not used with --no-attestation or --simulated".to_owned(),
        ));
    }
    Ok(())
}

/// The library checks this too, but only after requests.
fn check_simulated(args: &HostArgs, trust: &TrustAnchors) -> Result<(), Failure> {
    // The library rejects a malformed address with a better error.
    let is_malformed =
        |imds: Cow<'_, str>| Url::parse(&imds).map_or(true, |url| url.scheme() != "http");
    if args.configured_imds().is_some_and(is_malformed)
        || (has_loopback_imds(args) && trust.is_extended())
    {
        return Ok(());
    }
    Err(Failure::Flow(Error::new(
        ErrorKind::SimulatedNotAllowed,
        Stage::Request,
        "a simulated key needs an IMDS on loopback (--imds) and a CA file (--ca-file)",
    )))
}

/// Only an IMDS on loopback may name endpoints on loopback.
pub(crate) fn has_loopback_imds(args: &HostArgs) -> bool {
    let imds = args.configured_imds().and_then(|url| Url::parse(&url).ok());
    imds.as_ref().is_some_and(is_loopback)
}

fn is_loopback(url: &Url) -> bool {
    Host::from_url(url).is_some_and(|host| host.is_loopback())
}

/// The default scope of a token.
pub(crate) const DEFAULT_SCOPE: &str = "https://graph.microsoft.com/.default";
const CA_FILE_VARIABLE: &str = "KEYBOUND_CA_FILE";
/// A bundle of CA certificates is a few hundred kilobytes at most.
const MAX_PEM_BYTES: usize = 4 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::{AttestationArgs, AttestationCommand, Cli, Command};
    use clap::{FromArgMatches as _, Parser as _};

    /// The options of the library, as `attestation probe` parses them.
    fn library(flags: &[&str]) -> LibraryArgs {
        let command =
            <AttestationArgs as clap::Args>::augment_args(clap::Command::new("attestation"));
        let words = [&["attestation", "probe"], flags].concat();
        let parsed = AttestationArgs::from_arg_matches(&command.get_matches_from(words)).unwrap();
        let AttestationCommand::Probe(probe) = parsed.command;
        probe.library
    }

    #[test]
    fn passes_options_to_attestation_library() {
        let default = library(&[]);
        assert!(!default.is_set());
        let debug = format!("{:?}", native_attestation(&default));
        assert!(debug.contains("null_arguments: false"), "{debug}");
        let null = library(&["--attestation-null-arguments"]);
        assert!(null.is_set());
        let debug = format!("{:?}", native_attestation(&null));
        assert!(debug.contains("null_arguments: true"), "{debug}");
        let named = library(&["--attestation-library", "x.dll"]);
        assert!(named.is_set());
        let debug = format!("{:?}", native_attestation(&named));
        assert!(debug.contains("x.dll"), "{debug}");
    }

    #[test]
    fn default_scope_is_graph_of_the_cloud() {
        let id = "22222222-2222-2222-2222-222222222222";
        let app = ["--app-id", id, "--tenant", id];
        let graph = "https://graph.microsoft.com";
        for (options, fallback, resource) in [
            (&[][..], None, graph),
            (&app, None, graph),
            (
                &[&app[..], &["--cloud", "us-government"]].concat(),
                None,
                "https://graph.microsoft.us",
            ),
            (
                &[
                    &app[..],
                    &["--authority", "login.chinacloudapi.cn", "--bearer"],
                ]
                .concat(),
                None,
                "https://microsoftgraph.chinacloudapi.cn",
            ),
            (
                &[&app[..], &["--cloud", "china"]].concat(),
                Some("https://vault.azure.cn"),
                "https://vault.azure.cn",
            ),
            (
                &[&app[..], &["--cloud", "china", "--resource", "api://x"]].concat(),
                None,
                "api://x",
            ),
        ] {
            let args = Cli::parse_from([&["keybound", "get-token"], options].concat());
            let Command::GetToken(args) = args.command else {
                panic!("another command");
            };
            let request = format!("{:?}", request(&args.token, fallback));
            let scope = format!("Ok({resource}/.default)");
            assert!(request.contains(&scope), "{options:?}: {request}");
        }
    }

    #[test]
    fn bounded_input() {
        assert_eq!(read_bounded(&b"abcd"[..], 4).unwrap(), b"abcd");
        assert!(read_bounded(&b"abcde"[..], 4).is_err());
        assert!(read_bounded(io::repeat(0), 1000).is_err());
    }

    #[test]
    fn does_not_wait_for_blocking_work() {
        let (release, held) = std::sync::mpsc::channel::<()>();
        let done = run_to_end(async {
            tokio::task::spawn_blocking(move || held.recv_timeout(Duration::from_secs(60)));
            7
        });
        assert_eq!(done.ok(), Some(7));
        assert!(release.send(()).is_ok(), "the blocking work was waited for");
    }
}
