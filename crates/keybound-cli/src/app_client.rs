//! From options to the client of an app registration, or of the managed identity itself.
use crate::args::TokenArgs;
use crate::emulation;
use crate::failure::Failure;
use crate::session::{client_builder, tls_versions};
use crate::steps::StepLog;
use keybound::confidential::{ClientCredential, Cloud, ConfidentialClientBuilder, TokenClient};
use keybound::tls::TrustAnchors;
use keybound::{ConfidentialClient, Environment, ManagedIdentityClient};
use keybound_core::Authority;
use url::Url;

/// The client of the managed identity, or of the app registration.
///
/// # Errors
/// [`Failure::Usage`] if an option or variable is malformed.
pub(crate) fn client(
    args: &TokenArgs,
    trust: TrustAnchors,
    steps: &StepLog,
) -> Result<TokenClient, Failure> {
    let app = &args.app;
    if app.workload_identity {
        let builder = ConfidentialClient::workload_identity(Environment::from_process())
            .map_err(|error| Failure::Usage(format!("{error}: {CREATE_POD}")))?;
        return app_client(args, of_file(builder, args, trust), steps);
    }
    let (Some(client_id), Some(tenant)) = (&app.app_id, &app.tenant) else {
        return Ok(TokenClient::from(&identity_client(args, trust, steps)?));
    };
    let builder =
        |credential| ConfidentialClient::builder(tenant.as_str(), client_id.as_str(), credential);
    if let Some(path) = &app.federated_token_file {
        let builder = builder(ClientCredential::token_file(path));
        return app_client(args, of_file(builder, args, trust), steps);
    }
    let identity = identity_client(args, trust, steps)?;
    let builder = builder(ClientCredential::managed_identity(&identity));
    app_client(args, builder, steps)
}

fn identity_client(
    args: &TokenArgs,
    trust: TrustAnchors,
    steps: &StepLog,
) -> Result<ManagedIdentityClient, Failure> {
    let mut builder = client_builder(&args.host, trust)?;
    if let Some(source) = args.source {
        builder = builder.managed_identity_source(source.into());
    }
    let built = builder.on_step(steps.listener()).build();
    built.map_err(Failure::before_work)
}

/// The connections of a client whose assertions are not from a managed identity.
fn of_file(
    builder: ConfidentialClientBuilder,
    args: &TokenArgs,
    trust: TrustAnchors,
) -> ConfidentialClientBuilder {
    let builder = builder
        .trust(trust)
        .tls_versions(tls_versions(&args.host))
        .tls_engine(args.host.tls_engine.into());
    match &*args.host.allowed_hosts {
        [] => builder,
        hosts => builder.allowed_hosts(hosts),
    }
}

fn app_client(
    args: &TokenArgs,
    mut builder: ConfidentialClientBuilder,
    steps: &StepLog,
) -> Result<TokenClient, Failure> {
    let app = &args.app;
    if let Some(cloud) = app.cloud {
        builder = builder.cloud(cloud);
    }
    if let Some(authority) = authority(args) {
        builder = builder.authority(authority);
    }
    if let Some(authority) = &app.mtls_authority {
        builder = builder.mtls_authority(authority);
    }
    if let Some(region) = &app.region {
        builder = builder.region(region);
    }
    if let Some(audience) = &app.exchange_audience {
        builder = builder.exchange_audience(audience.resource());
    }
    let client = builder.on_step(steps.listener()).build();
    Ok(TokenClient::from(&client.map_err(Failure::before_work)?))
}

/// The authority that the options name: with `--simulated` by default that of the emulator.
fn authority(args: &TokenArgs) -> Option<String> {
    let app = &args.app;
    let emulated = || emulation::token_endpoint().map(|url| url.to_string());
    let is_emulated = args.host.simulated && app.cloud.is_none();
    let named = app.authority.clone();
    named.or_else(|| is_emulated.then(emulated).flatten())
}

/// The origins of the app registration's authority that options or the environment name, if there is an app registration.
/// Malformed ones are left out: the library rejects them.
pub(crate) fn named_authorities(args: &TokenArgs) -> Vec<Url> {
    if !args.app.is_set() {
        return Vec::new();
    }
    let of_bearer = authority(args).or_else(|| args.app.authority_of_environment());
    let named = of_bearer.iter().chain(&args.app.mtls_authority);
    let parsed = named.filter_map(|text| Authority::parse(text).ok());
    parsed.map(|authority| authority.origin().clone()).collect()
}

/// The cloud of the app registration, if there is one and its cloud is known.
pub(crate) fn cloud(args: &TokenArgs) -> Option<Cloud> {
    if !args.app.is_set() {
        return None;
    }
    let of_authority = || {
        let authority = authority(args).or_else(|| args.app.authority_of_environment())?;
        let authority = Authority::parse(&authority).ok()?;
        Cloud::of_authority(authority.origin().host_str()?)
    };
    args.app.cloud.or_else(of_authority)
}

/// Rejects options of an app registration that have no effect beside others, as far as their parser cannot.
///
/// # Errors
/// [`Failure::Usage`].
pub(crate) fn check_effects(args: &TokenArgs) -> Result<(), Failure> {
    let app = &args.app;
    let named = [
        ("--cloud", app.cloud.is_some()),
        ("--authority", app.authority.is_some()),
        ("--mtls-authority", app.mtls_authority.is_some()),
        ("--region", app.region.is_some()),
        ("--exchange-audience", app.exchange_audience.is_some()),
    ];
    let named = named.into_iter().filter(|(_, is_set)| *is_set);
    let named: Vec<_> = named.map(|(option, _)| option).collect();
    if let Some(option) = named.first().filter(|_| !app.is_set()) {
        return Err(Failure::Usage(format!(
            "{option} is an option of an app registration: --app-id or --workload-identity"
        )));
    }
    let parsed = authority(args).or_else(|| app.authority_of_environment());
    let parsed = parsed.and_then(|text| Authority::parse(&text).ok());
    let is_unknown = parsed.is_some_and(|authority| authority.mtls_origin().is_err());
    if is_unknown && app.is_set() && !args.bearer && app.mtls_authority.is_none() {
        return Err(Failure::Usage(
            "the host for mutual TLS of this authority is unknown: name it with --mtls-authority"
                .to_owned(),
        ));
    }
    let over_mtls = ["--mtls-authority", "--region"];
    if args.bearer
        && let Some(option) = named.iter().find(|option| over_mtls.contains(option))
    {
        return Err(Failure::Usage(format!(
            "{option} has no effect with --bearer: the assertion is not sent over mutual TLS"
        )));
    }
    Ok(())
}

/// The variables and the file are added when a pod is created.
pub(crate) const CREATE_POD: &str = "give the pod the label azure.workload.identity/use=true and its service account the annotation azure.workload.identity/client-id, and create the pod again";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::{Cli, Command};
    use clap::Parser as _;

    fn args(options: &[&str]) -> TokenArgs {
        let id = "22222222-2222-2222-2222-222222222222";
        let words = ["keybound", "get-token", "--app-id", id, "--tenant", id];
        let parsed = Cli::parse_from([&words[..], options].concat());
        match parsed.command {
            Command::GetToken(args) => args.token,
            _ => panic!("another command"),
        }
    }

    #[test]
    fn knows_the_cloud_of_an_option_or_its_authority() {
        for (options, expected) in [
            (&["--cloud", "china"][..], Some(Cloud::China)),
            (&["--cloud", "public"], Some(Cloud::Public)),
            (
                &["--authority", "https://login.sovcloud-identity.fr"],
                Some(Cloud::France),
            ),
            (
                &["--authority", "login.microsoftonline.us"],
                Some(Cloud::UsGovernment),
            ),
            (
                &["--authority", "https://login.chinacloudapi.cn/"],
                Some(Cloud::China),
            ),
            (&["--authority", "https://login.example"], None),
            (&["--authority", "https://login.example/common"], None),
            (&["--authority", "https://127.0.0.1:8443"], None),
        ] {
            assert_eq!(cloud(&args(options)), expected, "{options:?}");
        }
    }

    #[test]
    fn names_authorities_with_and_without_scheme() {
        let options = [
            "--authority",
            "127.0.0.1:8443",
            "--mtls-authority",
            "https://localhost:1",
        ];
        let urls = named_authorities(&args(&options));
        let urls: Vec<_> = urls.iter().map(Url::as_str).collect();
        assert_eq!(urls, ["https://127.0.0.1:8443/", "https://localhost:1/"]);
    }
}
