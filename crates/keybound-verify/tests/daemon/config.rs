//! Which configurations are usable.
use keybound_verify::Config;

const CONFIG: &str = r#"
[listen]
tcp = "127.0.0.1:0"
[proxy]
engine = "haproxy"
[[api]]
hosts = ["orders.contoso.com"]
audiences = ["api://orders.contoso.com"]
tenants = ["72f988bf-86f1-41af-91ab-2d7cd011db47"]
"#;

#[cfg(unix)]
#[test]
fn listens_on_a_unix_socket_by_default() {
    let without = CONFIG.replace("[listen]\ntcp = \"127.0.0.1:0\"\n", "");
    let with_mode = CONFIG.replace("tcp = \"127.0.0.1:0\"", "mode = 0o600");
    for text in [&without, &with_mode] {
        let config = Config::from_toml(text).unwrap();
        let socket = config.listen.unix.unwrap();
        assert_eq!(socket.to_str(), Some("/run/keybound/verify.sock"));
    }
}

/// A template whose variable is empty must not open an API to everybody.
#[test]
fn rejects_empty_lists_and_texts() {
    for (setting, why) in [
        ("clients = []", "the list of clients is empty"),
        ("clients = [\"\"]", "an empty text is among the clients"),
        ("roles = []", "the list of roles is empty"),
        ("roles = [\"\"]", "an empty text is among the roles"),
        ("scopes = []", "the list of scopes is empty"),
        ("scopes = [\"\"]", "an empty text is among the scopes"),
        ("issuers = []", "the list of issuers is empty"),
        (
            "issuers = [{ version = 1, name = \"\", metadata = \"https://a\" }]",
            "an empty text is among the names of issuers",
        ),
        (
            "issuers = [{ version = 1, name = \"{tenantid}\", metadata = \"https://a\", tenant = \"\" }]",
            "the issuer {tenantid}: tenant: \"\" is not a GUID",
        ),
        (
            "users = false\nscopes = [\"a\"]",
            "are accepted, and other settings refuse users",
        ),
        (
            "users = true\napp_only = true",
            "are accepted, and other settings refuse users",
        ),
    ] {
        let text = CONFIG.replace("tenants =", &format!("{setting}\ntenants ="));
        let error = Config::from_toml(&text).unwrap_err().to_string();
        assert!(error.contains("the API orders.contoso.com: "), "{error}");
        assert!(error.contains(why), "{setting}: {error}");
    }
}

/// Each names the line, the setting, the value and what to write instead, in the words of the documentation.
#[test]
fn errors_name_the_place_and_the_next_step() {
    for (from, to, expected) in [
        (
            "tenants =",
            "skew = -5\ntenants =",
            "line 9: [[api]] skew: expected a whole number that is not negative, found -5",
        ),
        (
            "[\"api://orders.contoso.com\"]",
            "\"api://orders.contoso.com\"",
            "line 8: [[api]] audiences: expected a list, found \"api://orders.contoso.com\"",
        ),
        (
            "[[api]]",
            "[limits]\ncache_mib = -1\n[[api]]",
            "line 7: [limits] cache_mib: expected a whole number that is not negative, found -1",
        ),
        (
            "tenants =",
            "bearer = 1\ntenants =",
            "line 9: [[api]] bearer: expected true or false, found 1",
        ),
        (
            "[proxy]\nengine = \"haproxy\"\n",
            "",
            "the section [proxy] is missing",
        ),
        (
            "\"orders.contoso.com\"",
            "\"Orders.contoso.com:443\"",
            "line 7: [[api]]: \"Orders.contoso.com:443\" is not the name of a host in lower case without a port: write \"orders.contoso.com\"",
        ),
        (
            "\"orders.contoso.com\"",
            "\"*.contoso.com\"",
            "there are no wildcards: list each host",
        ),
        (
            "\"orders.contoso.com\"",
            "\"bücher.example\"",
            "which begins with xn--",
        ),
        (
            "\"orders.contoso.com\"",
            "\n\"a\",\n\"a\"",
            "line 9: the host a occurs twice",
        ),
        (
            "[[api]]",
            "[keys]\nmax_age = 60\n[[api]]",
            "line 7: [keys]: max_age = 60 is not between 3600 and 604800",
        ),
        (
            "tenants =",
            "issuers = [{ version = 2, name = \"https://u:swordfish@a/\", metadata = \"https://a\" }]\ntenants =",
            "line 9: the API orders.contoso.com: the name of an issuer has user information before the host: remove it",
        ),
    ] {
        assert!(CONFIG.contains(from), "{from}");
        let error = Config::from_toml(&CONFIG.replacen(from, to, 1));
        let error = error.unwrap_err().to_string();
        assert!(error.contains(expected), "{to}: {error}");
        for hidden in ["u64", "usize", "sequence", "i128", "swordfish"] {
            assert!(!error.contains(hidden), "{to}: {error}");
        }
    }
}

/// They would refuse every request.
#[test]
fn rejects_texts_that_no_token_has() {
    let audience = "\"api://orders.contoso.com\"";
    for (from, to, why) in [
        (audience, "\"*\"", "audiences: \"*\" has a wildcard"),
        (audience, "\"api://*.contoso.com\"", "has a wildcard"),
        (audience, "\"api://orders.contoso.com \"", "has a space"),
        (
            audience,
            "\"api://orders\\n.contoso.com\"",
            "has a space or a control character",
        ),
        (
            "tenants =",
            "clients = [\"x\"]\ntenants =",
            "clients: \"x\" is not a GUID",
        ),
        (
            "tenants =",
            "clients = [\"72f988bf-86f1-41af-91ab-2d7cd011db47 \"]\ntenants =",
            "is not a GUID",
        ),
        (
            "tenants =",
            "roles = [\"Orders.Read.All \"]\ntenants =",
            "roles: \"Orders.Read.All \" has a space",
        ),
        (
            "tenants =",
            "scopes = [\"a \"]\ntenants =",
            "scopes: \"a \" has a space",
        ),
        (
            "tenants =",
            "authorization_uri = \"ftp://x\"\ntenants =",
            "\"ftp://x\" is not an https URL",
        ),
    ] {
        let error = Config::from_toml(&CONFIG.replacen(from, to, 1));
        let error = error.unwrap_err().to_string();
        assert!(error.starts_with("line "), "{to}: {error}");
        assert!(error.contains(why), "{to}: {error}");
    }
}

#[cfg(unix)]
#[test]
fn rejects_sockets_that_no_proxy_can_connect_to() {
    for (listen, why) in [
        (
            "unix = \"verify.sock\"",
            "line 3: [listen]: unix = \"verify.sock\" is not an absolute path",
        ),
        ("unix = \"@verify\"", "is not an absolute path"),
        (
            "unix = \"/verify.sock\"\nmode = 0",
            "line 4: [listen]: mode = 0o000 lets no account connect",
        ),
        ("mode = 0o555", "lets no account connect"),
        (
            "unix = \"/verify.sock\"\n[admin]\nunix = \"admin.sock\"",
            "line 5: [admin]: unix = \"admin.sock\" is not an absolute path",
        ),
    ] {
        let text = CONFIG.replace("tcp = \"127.0.0.1:0\"", listen);
        let error = Config::from_toml(&text).unwrap_err().to_string();
        assert!(error.contains(why), "{listen}: {error}");
    }
}

#[test]
fn rejects_configurations_that_are_not_sound() {
    Config::from_toml(CONFIG).unwrap();
    let both = match cfg!(unix) {
        true => "expected either unix or tcp",
        false => "unix is not supported on this platform",
    };
    for (from, to, why) in [
        ("127.0.0.1:0", "0.0.0.0:8444", "is not on loopback"),
        ("127.0.0.1:0", "[::]:8444", "is not on loopback"),
        ("[proxy]", "unix = \"/verify.sock\"\n[proxy]", both),
        ("[proxy]", "mode = 0o660\n[proxy]", "mode is for unix only"),
        (
            "[proxy]",
            "[listen.tls]\ncertificate = \"a\"\nkey = \"b\"\nclients = []\n[proxy]",
            "clients names no certificate",
        ),
        (
            "haproxy",
            "squid",
            "line 5: [proxy] engine: `squid` is unknown, expected one of `envoy`",
        ),
        ("[proxy]", "[prxy]\na = 1\n[proxy]", "unknown field `prxy`"),
        ("[[api]]", "[[apis]]", "unknown field `apis`"),
        ("tenants", "tenant", "unknown field `tenant`"),
        (
            "tenants = [\"72f988bf-86f1-41af-91ab-2d7cd011db47\"]",
            "",
            "line 6: [[api]]: `tenants` is missing",
        ),
        (
            "\"72f988bf-86f1-41af-91ab-2d7cd011db47\"",
            "",
            "the list of tenants is empty",
        ),
        (
            "72f988bf-86f1-41af-91ab-2d7cd011db47",
            "contoso",
            "line 9: the API orders.contoso.com: tenants: \"contoso\" is not a GUID",
        ),
        (
            "[\"72f988bf-86f1-41af-91ab-2d7cd011db47\"]",
            "\"all\"",
            "\"any\"",
        ),
        (
            "\"api://orders.contoso.com\"",
            "",
            "the list of audiences is empty",
        ),
        (
            "\"api://orders.contoso.com\"",
            "\"\"",
            "an empty text is among the audiences",
        ),
        ("\"orders.contoso.com\"", "", "the list of hosts is empty"),
        (
            "\"orders.contoso.com\"",
            "\"\"",
            "in lower case without a port",
        ),
        (
            "\"orders.contoso.com\"",
            "\"Orders.contoso.com\"",
            "in lower case without a port",
        ),
        (
            "\"orders.contoso.com\"",
            "\"orders.contoso.com:443\"",
            "in lower case without a port",
        ),
        (
            "\"orders.contoso.com\"",
            "\"*.contoso.com\"",
            "in lower case without a port",
        ),
        (
            "\"orders.contoso.com\"",
            "\"a\", \"a\"",
            "the host a occurs twice",
        ),
        (
            "[[api]]",
            "[limits]\nconnections = 0\n[[api]]",
            "between 1 and 65536",
        ),
        (
            "[[api]]",
            "[log]\ndecisions = \"some\"\n[[api]]",
            "[log] decisions: `some` is unknown, expected one of `all`",
        ),
        (
            "[[api]]",
            "[admin]\n[[api]]",
            "[admin]: expected unix or tcp",
        ),
        (
            "[[api]]",
            "[keys]\nfile = \"a\"\nca_file = \"b\"\n[[api]]",
            "no effect beside file",
        ),
        (
            "[[api]]",
            "[keys]\nmax_age = 3599\n[[api]]",
            "between 3600 and 604800",
        ),
        (
            "tenants =",
            "skew = 86400\ntenants =",
            "the clock skew is longer than an hour",
        ),
        (
            "tenants =",
            "challenge_resource = \"a\\\"b\"\ntenants =",
            "without quotes",
        ),
        (
            "tenants =",
            "issuers = [{ version = 3, name = \"a\", metadata = \"https://a\" }]\ntenants =",
            "the issuer a: version = 3 is neither 1 nor 2",
        ),
        (
            "tenants =",
            "issuers = [{ version = 1, name = \"a\", metadata = \"http://a\" }]\ntenants =",
            "the metadata of the issuer a is not an https URL",
        ),
    ] {
        assert!(CONFIG.contains(from), "{from}");
        let error = Config::from_toml(&CONFIG.replacen(from, to, 1));
        let error = error.unwrap_err().to_string();
        assert!(error.contains(why), "{to}: {error}");
        assert!(!error.contains('\n'), "{error}");
    }
    let others: String = (1..=32)
        .map(|number| {
            let (_, api) = CONFIG.split_once("[[api]]").unwrap();
            format!(
                "[[api]]{}",
                api.replace("orders", &format!("orders{number}"))
            )
        })
        .collect();
    let small = format!("{CONFIG}{others}[limits]\ncache_mib = 1\n");
    let error = Config::from_toml(&small).unwrap_err().to_string();
    let why = "cache_mib = 1 is too small for 33 APIs, each of which would cache no token: raise it to at least 2, or set it to 0";
    assert!(error.contains(why), "{error}");
    for enough in ["cache_mib = 2", "cache_mib = 0"] {
        Config::from_toml(&small.replace("cache_mib = 1", enough)).unwrap();
    }
    let none = CONFIG.split("[[api]]").next().unwrap();
    let error = Config::from_toml(none).unwrap_err().to_string();
    assert!(error.contains("there is no [[api]]"), "{error}");
}

#[cfg(unix)]
#[test]
fn example_for_kubernetes_is_sound() {
    let objects = include_str!("../../../../deploy/kubernetes.yaml");
    let (_, value) = objects.split_once("  verify.toml: |\n").unwrap();
    let (value, _) = value.split_once("\n---\n").unwrap();
    let lines = value.lines().map(|line| line.strip_prefix("    ").unwrap());
    let config = Config::from_toml(&lines.collect::<Vec<_>>().join("\n")).unwrap();
    assert_eq!(config.apis.len(), 1);
}
