use super::*;
use crate::config::OsType;

fn request(target: &str) -> Request<Bytes> {
    let builder = Request::get(target).header("metadata", "true");
    builder.body(Bytes::new()).unwrap()
}

const COMPUTE: &str = "/metadata/instance/compute";

#[tokio::test]
async fn returns_the_security_profile_in_supported_versions() {
    let mut config = Config::default();
    config.compute.virtual_tpm_enabled = false;
    let state = state(config);
    for version in ["2021-12-13", "2021-02-01"] {
        for target in [
            format!("{COMPUTE}?api-version={version}"),
            format!("{COMPUTE}/?format=json&api-version={version}"),
        ] {
            let response = imds(&state, request(&target)).await;
            assert_eq!((response.status, response.text("osType")), (200, "Windows"));
            assert_eq!(response.headers["server"], super::super::SERVER);
            let expected = json!({
                "secureBootEnabled": "true",
                "virtualTpmEnabled": "false",
                "securityType": "TrustedLaunch",
            });
            assert_eq!(response.body["securityProfile"], expected, "{target}");
            assert_eq!(response.text("vmId"), state.config.imds.vm_id);
        }
        let whole = format!("/metadata/instance?api-version={version}");
        let whole = imds(&state, request(&whole)).await;
        assert_eq!(whole.body["compute"]["osType"], "Windows");
        assert!(whole.body["network"]["interface"].is_array());
    }
    assert_eq!(state.records.counts()["instance"], 6);
}

#[tokio::test]
async fn omits_an_empty_security_type() {
    let mut config = Config::default();
    config.compute.os_type = OsType::Linux;
    config.compute.security_type = String::new();
    config.compute.secure_boot_enabled = false;
    let state = state(config);
    let response = imds(
        &state,
        request(&format!("{COMPUTE}?api-version=2021-12-13")),
    )
    .await;
    assert_eq!(response.text("osType"), "Linux");
    let expected = json!({"secureBootEnabled": "false", "virtualTpmEnabled": "true"});
    assert_eq!(response.body["securityProfile"], expected);
}

#[tokio::test]
async fn rejects_invalid_instance_metadata_requests() {
    let state = state(Config::default());
    let valid = format!("{COMPUTE}?api-version=2021-12-13");
    for (request, status, part) in [
        (
            without("metadata", request(&valid)),
            400,
            "Required metadata header not specified",
        ),
        (
            with("metadata", "yes", request(&valid)),
            400,
            "Required metadata header not specified",
        ),
        (
            with("x-forwarded-for", "10.0.0.1", request(&valid)),
            400,
            "X-Forwarded-For",
        ),
        (
            request(COMPUTE),
            400,
            "api-version is invalid or was not specified",
        ),
        (
            request(&format!("{COMPUTE}?api-version=2020-06-02")),
            400,
            "api-version is invalid",
        ),
        (
            request(&format!("{COMPUTE}?api-version=")),
            400,
            "api-version is invalid",
        ),
        (
            request(&format!("{valid}&api-version=2021-12-13")),
            400,
            "twice",
        ),
        (request(&format!("{valid}&format=xml")), 400, "format"),
        (
            request("/metadata/instance/compute/osType?api-version=2021-12-13"),
            400,
            "use format=text",
        ),
        (
            request("/metadata/instance/compute/os?api-version=2021-12-13"),
            404,
            "Not found",
        ),
        (
            request("/metadata/instance/compute/zone/1?api-version=2021-12-13"),
            404,
            "Not found",
        ),
        (
            request("/metadata/instances?api-version=2021-12-13"),
            404,
            "not_found",
        ),
    ] {
        let shown = format!("{request:?}");
        let response = imds(&state, request).await;
        assert_eq!(response.status, status, "{shown}");
        assert!(response.text("error").contains(part), "{response:?}");
        assert_eq!(response.headers["server"], super::super::SERVER);
    }
    let mut post = request(&valid);
    *post.method_mut() = http::Method::POST;
    let response = imds(&state, post).await;
    assert_eq!(
        (response.status, &response.headers["allow"]),
        (405, &"GET".parse().unwrap())
    );
    // A host that knows the older version only.
    state
        .faults
        .add(vec!["instance=status:400*1".parse().unwrap()])
        .unwrap();
    assert_eq!(imds(&state, request(&valid)).await.status, 400);
    assert_eq!(imds(&state, request(&valid)).await.status, 200);
}

#[tokio::test]
async fn returns_the_members_of_each_version() {
    let state = state(Config::default());
    let first_versions = [
        ("osType", "2017-04-02"),
        ("subscriptionId", "2017-08-01"),
        ("zone", "2017-12-01"),
        ("azEnvironment", "2018-10-01"),
        ("resourceId", "2019-03-11"),
        ("securityProfile", "2020-06-01"),
        ("userData", "2021-01-01"),
    ];
    let versions = imds(&state, request("/metadata/versions")).await;
    let versions = versions.body["apiVersions"].as_array().unwrap().clone();
    assert!(versions.len() > 20, "{versions:?}");
    for version in versions {
        let version = version.as_str().unwrap();
        let response = imds(&state, request(&format!("{COMPUTE}?api-version={version}"))).await;
        for (member, since) in first_versions {
            let found = response.body.get(member).is_some();
            assert_eq!(found, since <= version, "{member} in {version}");
        }
    }
}

#[tokio::test]
async fn returns_single_values_as_text() {
    let state = state(Config::default());
    for (path, text) in [
        ("compute/osType", "Windows"),
        ("compute/OSTYPE/", "Windows"),
        ("compute/securityProfile/securityType", "TrustedLaunch"),
        (
            "network/interface/0/ipv4/ipAddress/0/privateIpAddress",
            "192.0.2.4",
        ),
        ("", "compute/\nnetwork/"),
        ("network/interface", "0/"),
    ] {
        let target = format!("/metadata/instance/{path}?api-version=2021-12-13&format=text");
        let Reply::Full(response) = handle(&state, Service::Imds, request(&target)).await else {
            panic!("{path}");
        };
        assert_eq!(response.status(), 200, "{path}");
        assert_eq!(response.body(), text, "{path}");
    }
}
