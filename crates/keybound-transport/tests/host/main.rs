//! The host's openssl.cnf. OpenSSL reads that file once for a process, so each case runs in a separate process: this test binary
//! with another `OPENSSL_CONF`.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#[path = "../support/mod.rs"]
mod support;

use keybound_transport::{TlsEngine, TlsVersions, TransportError, VersionPolicy};
use std::path::{Path, PathBuf};
use std::process::Command;
use support::keys::shared_key;
use support::pki::{Authority, ClientIdentities as _};
use support::server::{ClientAuth, ServerConfig, anonymous, resource_server};
use support::{ClientBuilder, client_builder, get};

const CASE: &str = "KEYBOUND_TEST_CASE";

/// The result of a case, run by [`case`], under a configuration.
fn under(configuration: &str, case: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("openssl.cnf");
    std::fs::write(&file, configuration).unwrap();
    run(file.to_str().unwrap(), case)
}

fn run(file: &str, case: &str) -> String {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["case", "--exact", "--ignored", "--nocapture"])
        .env(CASE, case)
        .env("OPENSSL_CONF", file)
        .env("SSL_CERT_FILE", trust_file(file))
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let message = text
        .lines()
        .find_map(|line| line.split_once("result: "))
        .map(|(_, message)| message.to_owned());
    message.unwrap_or_else(|| panic!("{text} {}", String::from_utf8_lossy(&output.stderr)))
}

/// The file of `SSL_CERT_FILE`, beside the configuration.
fn trust_file(configuration: &str) -> PathBuf {
    Path::new(configuration).with_file_name("trusted.pem")
}

/// Runs the case that the environment names.
#[test]
#[ignore = "the child process of the other tests"]
fn case() {
    let case = std::env::var(CASE).expect("the parent process names the case");
    let results = match case.as_str() {
        "build" => match ClientBuilder::default().engine(TlsEngine::OpenSsl).build() {
            Ok(_) => "built".to_owned(),
            Err(error) => message_of(&error),
        },
        "environment" => runtime().block_on(environment()),
        "call" => runtime().block_on(call()),
        "anonymous" => runtime().block_on(unauthenticated()),
        other => panic!("no case {other}"),
    };
    println!("\nresult: {results}");
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}

/// Calls a server whose authority only an environment variable names.
async fn environment() -> String {
    let authority = Authority::new("test authority");
    let file = std::env::var("SSL_CERT_FILE").unwrap();
    std::fs::write(file, authority.pem()).unwrap();
    let server_config = ServerConfig {
        leaf: authority.server("localhost"),
        version: None,
        client_auth: ClientAuth::None,
        client_ca: authority.clone(),
    };
    let server = resource_server(server_config.context()).await;
    let client = ClientBuilder::default()
        .engine(TlsEngine::OpenSsl)
        .build()
        .unwrap();
    match get(&client, &server.uri("/")).await {
        Ok(_) => "trusted".to_owned(),
        Err(error) => message_of(&error),
    }
}

/// Calls servers without a certificate, each with other suites.
async fn unauthenticated() -> String {
    let authority = Authority::new("test authority");
    let mut results = vec![];
    for suites in ["AECDH", "ADH"] {
        let server = resource_server(anonymous(suites)).await;
        for identity in [None, Some(authority.client("client", shared_key()))] {
            let client = client_builder(&authority)
                .identity(identity)
                .build()
                .unwrap();
            results.push(match get(&client, &server.uri("/")).await {
                Ok(response) => response.status.to_string(),
                Err(error) => format!("{:?}", error.kind()),
            });
        }
        assert_eq!(server.requests(), 0);
    }
    results.join(", ")
}

/// Calls a server that requires a certificate, with each choice of versions.
async fn call() -> String {
    let authority = Authority::new("test authority");
    let server_config = ServerConfig {
        leaf: authority.server("localhost"),
        version: None,
        client_auth: ClientAuth::Required,
        client_ca: authority.clone(),
    };
    let server = resource_server(server_config.context()).await;
    let mut results = vec![];
    for versions in [
        TlsVersions::Tls12Or13,
        TlsVersions::Tls12,
        TlsVersions::Tls13,
    ] {
        let client = client_builder(&authority)
            .identity(authority.client("client", shared_key()))
            .versions(VersionPolicy::default().with_host("localhost", versions))
            .build();
        results.push(match client {
            Err(error) => message_of(&error),
            Ok(client) => match get(&client, &server.uri("/")).await {
                Ok(response) => response.info().tls_version.to_owned(),
                Err(error) => message_of(&error),
            },
        });
    }
    results.join(", ")
}

fn message_of(error: &TransportError) -> String {
    format!("{:?} {error}", error.kind())
}

#[test]
fn default_configuration_allows_all_versions() {
    let expected = "TLSv1.3, TLSv1.2, TLSv1.3";
    assert_eq!(run("/nonexistent/openssl.cnf", "call"), expected);
    assert_eq!(under("", "call"), expected);
}

#[test]
fn no_environment_variable_extends_trust() {
    let lax = [
        "VerifyCAFile",
        "RequestCAFile",
        "ChainCAFile",
        "VerifyCAStore",
    ]
    .map(|name| tls(&format!("{name} = $ENV::SSL_CERT_FILE")));
    for configuration in lax
        .iter()
        .map(String::as_str)
        .chain(["", &tls("VerifyMode = ")])
    {
        let results = under(configuration, "environment");
        assert!(
            results.starts_with("ServerCertificate "),
            "{configuration} {results}"
        );
    }
}

#[test]
fn does_not_apply_process_settings_twice() {
    // Registering an object identifier twice would be an error.
    let configuration = "
        openssl_conf = init
        [init]
        oid_section = oids
        providers = providers
        ssl_conf = ssl
        [oids]
        keybound-test = 1.3.6.1.4.1.99999.1
        [providers]
        default = active
        legacy = inactive
        [active]
        activate = 1
        [inactive]
        activate = 0
        [ssl]
        system_default = tls
        [tls]
        Options = PrioritizeChaCha";
    assert_eq!(under(configuration, "call"), "TLSv1.3, TLSv1.2, TLSv1.3");
}

#[test]
fn honours_the_hosts_tls_versions() {
    let refused = "HostUnsupported the host's OpenSSL configuration does not allow the tls version for localhost";
    assert_eq!(
        under(&tls("MinProtocol = TLSv1.3"), "call"),
        format!("TLSv1.3, {refused}, TLSv1.3")
    );
    for limit in ["MaxProtocol = TLSv1.2", "Protocol = -TLSv1.3"] {
        assert_eq!(
            under(&tls(limit), "call"),
            format!("TLSv1.2, TLSv1.2, {refused}")
        );
    }
}

/// A configuration of TLS for the whole process.
fn tls(settings: &str) -> String {
    format!(
        "openssl_conf = init\n[init]\nssl_conf = ssl\n[ssl]\nsystem_default = tls\n[tls]\n{settings}"
    )
}

#[test]
fn rejects_anonymous_servers_whatever_the_configuration_allows() {
    let refused = "Tls, Tls, Tls, Tls";
    for settings in [
        "",
        "CipherString = ALL:aNULL:@SECLEVEL=0\nMaxProtocol = TLSv1.2",
        "CipherString = aNULL:ALL:COMPLEMENTOFALL:@SECLEVEL=0\nMaxProtocol = TLSv1.2\nVerifyMode = None",
    ] {
        assert_eq!(under(&tls(settings), "anonymous"), refused, "{settings}");
    }
}

/// They apply to the process. The private library context has the system's.
#[test]
fn ignores_providers_of_the_environments_configuration() {
    let base = "
        openssl_conf = init
        [init]
        providers = providers
        [providers]
        base = active
        [active]
        activate = 1";
    for configuration in [base, "[broken", "openssl_conf = nowhere"] {
        assert_eq!(under(configuration, "build"), "built", "{configuration}");
    }
}

#[test]
fn rejects_processes_with_fips_modules_only() {
    let configuration = "
        openssl_conf = init
        [init]
        providers = providers
        alg_section = algorithms
        [providers]
        default = active
        [active]
        activate = 1
        [algorithms]
        default_properties = fips=yes";
    let results = under(configuration, "build");
    assert!(
        results.starts_with("HostUnsupported the host's OpenSSL configuration"),
        "{results}"
    );
}
