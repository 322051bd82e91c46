use super::*;
use crate::service::Service;
use std::net::IpAddr;

const TENANT: &str = "22222222-2222-4222-8222-222222222222";

fn config_error(text: &str) -> String {
    match Config::from_toml(text) {
        Err(error) => error.to_string(),
        Ok(_) => panic!("{text} was accepted"),
    }
}

#[test]
fn empty_text_is_the_default() {
    let (config, default) = (Config::from_toml("").unwrap(), Config::default());
    default.check().unwrap();
    assert_eq!(format!("{config:?}"), format!("{default:?}"));
    assert_eq!(config.identities.len(), 2);
    assert_eq!(config.imds.attestation, AttestationRule::Required);
    assert_eq!(config.tls.vault, TlsVersionRange::Tls12);
    assert_eq!(config.network.bind, "127.0.0.1".parse::<IpAddr>().unwrap());
    assert_eq!(
        config.entra.unbound_resources,
        ["https://management.azure.com"]
    );
    assert!(config.vault.secrets.contains_key("demo-secret"));
}

#[test]
fn parses_all_keys() {
    let config = Config::from_toml(
        r#"
        tenant_id = "22222222-2222-4222-8222-22222222222B"
        region = "northeurope"
        clock_offset_seconds = -3600
        faults = ["token=aadsts:1000610*2", "vault=hang"]

        [[identities]]
        kind = "user"
        client_id = "11111111-1111-4111-8111-111111111111"
        object_id = "11111111-1111-4111-8111-111111111112"
        resource_id = "/subscriptions/s/resourceGroups/g/providers/p/userAssignedIdentities/i"

        [identities.roles]
        "api://bills" = ["Bills.Read"]

        [[resources]]
        uri = "api://bills"
        client_id = "11111111-1111-4111-8111-111111111113"

        [[tenants]]
        id = "22222222-2222-4222-8222-222222222222"

        [imds]
        vm_id = ""
        vmss_id = "set"
        attestation = "optional"
        lenient_csr = true
        certificate_lifetime_seconds = 28800
        token_not_after_seconds = 28799
        token_not_after_encoding = "utc-time"
        bypass_cache = "refused"
        token_url = "token_endpoint"

        [entra]
        token_lifetime_seconds = 3600
        unbound_resources = []

        [vault.secrets]
        one = "1"

        [graph]
        forbidden = true

        [network]
        bind = "::1"
        host = "localhost"
        imds_port = 1
        sts_port = 2
        maa_port = 3
        vault_port = 4
        graph_port = 5
        control_port = 6

        [tls]
        sts = "1.2"
        maa = "1.3"
        vault = "1.2-1.3"
        graph = "1.3"
        "#,
    )
    .unwrap();
    assert_eq!(
        config.tenant_id.as_str(),
        "22222222-2222-4222-8222-22222222222B"
    );
    assert_eq!(config.tenants[0].id.as_str(), TENANT);
    assert_eq!(config.resources[0].token_version, TokenVersion::V1);
    assert_eq!(config.identities[0].roles["api://bills"], ["Bills.Read"]);
    assert_eq!(config.region, "northeurope");
    assert_eq!(config.clock_offset_seconds, -3600);
    assert_eq!(config.identities[0].kind, IdentityType::User);
    assert_eq!(config.imds.vmss_id.as_deref(), Some("set"));
    assert_eq!(config.imds.attestation, AttestationRule::Optional);
    assert_eq!(config.imds.token_url, TokenUrlMember::TokenEndpoint);
    assert!(config.imds.lenient_csr && config.graph.forbidden);
    assert_eq!(config.imds.certificate_lifetime_seconds, 28800);
    assert_eq!(config.imds.token_not_after_seconds, Some(28799));
    assert_eq!(
        config.imds.token_not_after_encoding,
        TokenNotAfterEncoding::UtcTime
    );
    assert_eq!(config.imds.bypass_cache, BypassCache::Refused);
    assert_eq!(config.entra.token_lifetime_seconds, 3600);
    assert_eq!(config.network.host, HostName::Localhost);
    assert_eq!(config.network.control_port, 6);
    assert_eq!(config.tls.vault, TlsVersionRange::Tls12To13);
    assert_eq!(config.faults[0].to_string(), "token=aadsts:1000610*2");
    assert_eq!(config.vault.secrets["one"], "1");
}

/// Each key of the sources with another value than the default.
#[test]
fn parses_each_key_of_the_sources() {
    type Parsed = fn(&Config) -> bool;
    let cases: [(&str, Parsed); 17] = [
        ("[compute]\nos_type = \"Linux\"", |config| {
            config.compute.os_type == OsType::Linux
        }),
        ("[compute]\nsecurity_type = \"ConfidentialVM\"", |config| {
            config.compute.security_type == "ConfidentialVM"
        }),
        ("[compute]\nsecurity_type = \"\"", |config| {
            config.compute.security_type.is_empty()
        }),
        ("[compute]\nsecure_boot_enabled = false", |config| {
            !config.compute.secure_boot_enabled
        }),
        ("[compute]\nvirtual_tpm_enabled = false", |config| {
            !config.compute.virtual_tpm_enabled
        }),
        ("[vault]\nbearer_tokens = false", |config| {
            !config.vault.bearer_tokens
        }),
        ("[arc]\ntokens_dir = \"/a b\"", |config| {
            config.arc.tokens_dir == Some("/a b".into())
        }),
        (
            "[arc]\ntokens_dir = \"/a\"\nclient_tokens_dir = \"/ü\"",
            |config| config.arc.client_tokens_dir == Some("/ü".into()),
        ),
        ("[arc]\nuser_assigned = false", |config| {
            !config.arc.user_assigned
        }),
        ("[network]\napp_service_port = 7", |config| {
            config.network.port(Service::AppService) == 7
        }),
        ("[network]\nservice_fabric_port = 7", |config| {
            config.network.port(Service::ServiceFabric) == 7
        }),
        ("[network]\narc_port = 7", |config| {
            config.network.port(Service::Arc) == 7
        }),
        ("[network]\nmachine_learning_port = 7", |config| {
            config.network.port(Service::MachineLearning) == 7
        }),
        ("[network]\ncloud_shell_port = 65535", |config| {
            config.network.port(Service::CloudShell) == 65535
        }),
        ("[tls]\nservice_fabric = \"1.2\"", |config| {
            config.tls.versions(Service::ServiceFabric) == Some(TlsVersionRange::Tls12)
        }),
        ("[tls]\nservice_fabric = \"1.3\"", |config| {
            config.tls.versions(Service::ServiceFabric) == Some(TlsVersionRange::Tls13)
        }),
        ("faults = [\"arc-challenge=key-file:link*1\"]", |config| {
            config.faults.len() == 1
        }),
    ];
    for (text, parsed) in cases {
        assert!(parsed(&Config::from_toml(text).unwrap()), "{text}");
        assert!(!parsed(&Config::default()), "{text} is the default");
    }
}

#[test]
fn names_the_key_of_an_invalid_value_of_the_sources() {
    let arc = "an absolute path in UTF-8 without control characters and quotes";
    for (text, part) in [
        ("[compute]\nos_type = \"linux\"", "unknown variant `linux`"),
        (
            "[compute]\nsecure_boot_enabled = \"true\"",
            "secure_boot_enabled",
        ),
        ("[compute]\nvirtual_tpm_enabled = 1", "virtual_tpm_enabled"),
        ("[compute]\nsecurity_type = 1", "security_type"),
        ("[vault]\nbearer_tokens = \"no\"", "bearer_tokens"),
        ("[arc]\ntokens_dir = \"tokens\"", arc),
        ("[arc]\ntokens_dir = \"\"", arc),
        ("[arc]\ntokens_dir = \"/a\\nb\"", arc),
        ("[arc]\ntokens_dir = '/a\"b'", arc),
        ("[arc]\ntokens_dir = [\"/a\"]", "tokens_dir"),
        (
            "[arc]\ntokens_dir = \"/a\"\nclient_tokens_dir = \"b\"",
            "arc.client_tokens_dir",
        ),
        (
            "[arc]\nclient_tokens_dir = \"/b\"",
            "arc.client_tokens_dir: requires arc.tokens_dir",
        ),
        ("[arc]\nuser_assigned = \"yes\"", "user_assigned"),
        ("[network]\napp_service_port = 65536", "app_service_port"),
        ("[network]\nservice_fabric_port = -1", "service_fabric_port"),
        ("[network]\narc_port = \"80\"", "arc_port"),
        (
            "[network]\nmachine_learning_port = 1.5",
            "machine_learning_port",
        ),
        ("[network]\ncloud_shell_port = true", "cloud_shell_port"),
        (
            "[network]\narc_port = 7\ncloud_shell_port = 7",
            "share a port",
        ),
        ("[tls]\nservice_fabric = \"1.1\"", "unknown variant `1.1`"),
        (
            "faults = [\"arc=key-file:link\"]",
            "key-file is not supported on arc",
        ),
    ] {
        let error = config_error(text);
        assert!(error.contains(part), "{text}: {error}");
    }
}

#[test]
fn rejects_unknown_keys_in_every_table() {
    for (table, key) in [
        ("", "tenantid"),
        ("[imds]\n", "atestation"),
        ("[compute]\n", "securitytype"),
        ("[entra]\n", "life"),
        ("[vault]\n", "secret"),
        ("[vault]\n", "bearer_token"),
        ("[arc]\n", "tokens"),
        ("[tls]\n", "app_service"),
        ("[network]\n", "container_apps_port"),
        ("[graph]\n", "forbid"),
        ("[network]\n", "port"),
        ("[tls]\n", "imds"),
        ("[[identities]]\n", "id"),
    ] {
        let error = config_error(&format!("{table}{key} = 1\n"));
        assert!(error.contains(&format!("unknown field `{key}`")), "{error}");
    }
    assert!(config_error("[imd]\n").contains("unknown field `imd`"));
}

#[test]
fn names_the_key_of_an_invalid_value() {
    let identity = |kind: &str, number: u8, more: &str| {
        format!(
            "[[identities]]\nkind = \"{kind}\"\nclient_id = \"11111111-1111-4111-8111-1111111111{number:02}\"\n\
             object_id = \"11111111-1111-4111-8111-1111111112{number:02}\"\n{more}\n"
        )
    };
    let api = |uri: &str, number: u8, more: &str| {
        format!(
            "[[resources]]\nuri = \"{uri}\"\nclient_id = \"11111111-1111-4111-8111-111111111{number:03}\"\n{more}\n"
        )
    };
    let resource = "resource_id = \"/subscriptions/s\"";
    let other = "resource_id = \"/SUBSCRIPTIONS/S\"";
    for (text, part) in [
        ("tenant_id = \"x\"".to_owned(), "expected a GUID"),
        (
            "[[tenants]]\nid = \"5a5a5a5a-0000-4000-8000-00000000000A\"".into(),
            "tenants: two of them, or one and tenant_id, are the same",
        ),
        (
            format!("[[tenants]]\nid = \"{TENANT}\"\n").repeat(2),
            "tenants: two of them",
        ),
        (
            (0..17)
                .map(|number| format!("[[tenants]]\nid = \"{}{number:02}\"\n", &TENANT[..34]))
                .collect(),
            "tenants: at most 16",
        ),
        ("[[tenants]]\nid = 7".into(), "expected a string"),
        (
            format!("[[tenants]]\nid = \"{TENANT}\"\n")
                + &format!(
                    "[[tenants.apps]]\nclient_id = \"{TENANT}\"\nobject_id = \"{TENANT}\"\n"
                )
                .repeat(2),
            "tenants.apps: two of them share a client_id",
        ),
        (
            format!("[[tenants]]\nid = \"{TENANT}\"\n[[tenants.apps]]\nclient_id = \"x\""),
            "expected a GUID",
        ),
        (
            identity("system", 1, "[identities.roles]\na = [\"\"]"),
            "identities: a resource and a role",
        ),
        (
            api("api://a", 1, "") + &api("API://a/", 2, ""),
            "resources: two of them share",
        ),
        (
            api("api://a", 1, "") + &api("api://b", 1, ""),
            "resources: two of them share",
        ),
        (api("", 1, ""), "resources: a uri has"),
        (api("a b", 1, ""), "resources: a uri has"),
        (api("a", 1, "token_version = 3"), "token_version is 1 or 2"),
        (
            (0..101)
                .map(|number| api(&format!("api://{number}"), number, ""))
                .collect(),
            "resources: at most 100",
        ),
        ("region = \"West US\"".into(), "region:"),
        ("region = \"\"".into(), "region:"),
        (
            "clock_offset_seconds = 3162240001".into(),
            "clock_offset_seconds:",
        ),
        ("identities = []".into(), "identities: between 1 and 100"),
        (
            identity("system", 1, "") + &identity("system", 2, ""),
            "at most one system-assigned",
        ),
        (identity("system", 1, resource), "no resource_id"),
        (identity("user", 1, ""), "requires a resource_id"),
        (
            identity("user", 1, "resource_id = \"subscriptions\""),
            "begins with /subscriptions/",
        ),
        (
            identity("user", 1, resource) + &identity("user", 1, "resource_id = \"/other\""),
            "share",
        ),
        (
            identity("user", 1, resource) + &identity("user", 2, other),
            "share",
        ),
        (identity("owner", 1, ""), "unknown variant `owner`"),
        ("[imds]\nvm_id = \"\"".into(), "imds: vm_id or vmss_id"),
        (
            "[imds]\nvm_id = \"a\\nb\"".into(),
            "imds: vm_id and vmss_id",
        ),
        (
            format!("[imds]\nvmss_id = \"{}\"", "x".repeat(129)),
            "imds: vm_id and vmss_id",
        ),
        (
            "[imds]\nattestation = \"maybe\"".into(),
            "unknown variant `maybe`",
        ),
        (
            "[imds]\ncertificate_lifetime_seconds = 59".into(),
            "imds.certificate_lifetime_seconds: 59",
        ),
        (
            "[imds]\ncertificate_lifetime_seconds = 600\ntoken_not_after_seconds = 600".into(),
            "imds.token_not_after_seconds: 600 is not between 60 and 599",
        ),
        (
            "[imds]\ntoken_not_after_seconds = 59".into(),
            "imds.token_not_after_seconds: 59",
        ),
        (
            "[imds]\ntoken_not_after_encoding = \"der\"".into(),
            "unknown variant `der`",
        ),
        (
            "[compute]\nos_type = \"windows\"".into(),
            "unknown variant `windows`",
        ),
        (
            "[compute]\nsecurity_type = \"Trusted Launch\"".into(),
            "compute.security_type",
        ),
        (
            "[network]\nbind = \"127.0.0.2\"\nhost = \"localhost\"".into(),
            "network.host: localhost requires network.bind",
        ),
        (
            "[network]\nbind = \"::ffff:127.0.0.1\"".into(),
            "network.bind",
        ),
        ("[imds]\nbypass_cache = true".into(), "bypass_cache"),
        (
            "[imds]\ncertificate_lifetime_seconds = -1".into(),
            "invalid value",
        ),
        (
            "[entra]\ntoken_lifetime_seconds = 31536001".into(),
            "entra.token_lifetime_seconds",
        ),
        (
            "[vault.secrets]\n\"a b\" = \"\"".into(),
            "vault.secrets.a b:",
        ),
        (
            "[vault.secrets]\na = \"\"\nA = \"\"".into(),
            "differ only in case",
        ),
        (
            format!("[vault.secrets]\na = \"{}\"", "x".repeat(26_000)),
            "at most 25 KiB",
        ),
        (
            "[network]\nbind = \"0.0.0.0\"".into(),
            "0.0.0.0 is not a loopback address",
        ),
        ("[network]\nbind = \"10.0.0.1\"".into(), "network.bind"),
        ("[network]\nbind = \"::\"".into(), "network.bind"),
        (
            "[network]\nbind = \"::ffff:10.0.0.1\"".into(),
            "network.bind",
        ),
        (
            "[network]\nsts_port = 7\nmaa_port = 7".into(),
            "share a port",
        ),
        ("[network]\nsts_port = 65536".into(), "65536"),
        ("[tls]\nvault = \"1.1\"".into(), "unknown variant `1.1`"),
        (
            "faults = [\"token=hang\", \"token=explode\"]".into(),
            "faults[1], \"token=explode\": no such action: explode; known on token: status",
        ),
        ("faults = \"token=hang\"".into(), "expected a sequence"),
        ("x".repeat(1024 * 1024 + 1), "longer than 1 MiB"),
        ("= nonsense".into(), "TOML parse error"),
    ] {
        let error = config_error(&text);
        assert!(error.contains(part), "{part}: {error}");
    }
}
