//! The document of instance metadata by version. Members and their first versions are those of Azure's reference.
use crate::config::{ComputeConfig, OsType};
use crate::state::State;
use serde_json::{Map, Value, json};

/// The document with the members of this version.
pub(super) fn document(state: &State, version: &str) -> Value {
    let since = |(_, since, _): &(&str, &str, Value)| *since <= version;
    let members = compute(state).into_iter().filter(since);
    let compute: Map<String, Value> = members
        .map(|(name, _, value)| (name.to_owned(), value))
        .collect();
    json!({"compute": compute, "network": network()})
}

/// The members of `compute` with the versions in which they appeared.
fn compute(state: &State) -> Vec<(&'static str, &'static str, Value)> {
    let config = &state.config.compute;
    let resource_id = format!(
        "/subscriptions/{SUBSCRIPTION}/resourceGroups/{GROUP}/providers/Microsoft.Compute/virtualMachines/{NAME}"
    );
    let (publisher, offer, sku) = match config.os_type {
        OsType::Linux => ("Debian", "debian-12", "12-gen2"),
        OsType::Windows => (
            "MicrosoftWindowsServer",
            "WindowsServer",
            "2022-datacenter-g2",
        ),
    };
    vec![
        ("azEnvironment", "2018-10-01", json!("AzurePublicCloud")),
        ("customData", "2019-02-01", json!("")),
        ("evictionPolicy", "2020-12-01", json!("")),
        ("isHostCompatibilityLayerVm", "2020-06-01", json!("false")),
        ("licenseType", "2020-09-01", json!("")),
        ("location", "2017-04-02", json!(state.config.region)),
        ("name", "2017-04-02", json!(NAME)),
        ("offer", "2017-04-02", json!(offer)),
        ("osProfile", "2020-07-15", os_profile()),
        ("osType", "2017-04-02", json!(config.os_type.wire_name())),
        ("placementGroupId", "2017-08-01", json!("")),
        (
            "plan",
            "2018-04-02",
            json!({"name": "", "product": "", "publisher": ""}),
        ),
        ("platformFaultDomain", "2017-04-02", json!("0")),
        ("platformUpdateDomain", "2017-04-02", json!("0")),
        ("priority", "2020-12-01", json!("")),
        ("provider", "2018-10-01", json!("Microsoft.Compute")),
        ("publicKeys", "2018-04-02", json!([])),
        ("publisher", "2017-04-02", json!(publisher)),
        ("resourceGroupName", "2017-08-01", json!(GROUP)),
        ("resourceId", "2019-03-11", json!(resource_id)),
        ("securityProfile", "2020-06-01", security_profile(config)),
        ("sku", "2017-04-02", json!(sku)),
        ("subscriptionId", "2017-08-01", json!(SUBSCRIPTION)),
        ("tags", "2017-08-01", json!("")),
        ("tagsList", "2019-06-04", json!([])),
        ("userData", "2021-01-01", json!("")),
        ("version", "2017-04-02", json!("1.0.0")),
        ("vmId", "2017-04-02", json!(state.config.imds.vm_id)),
        ("vmScaleSetName", "2017-12-01", json!("")),
        ("vmSize", "2017-04-02", json!("Standard_D2s_v5")),
        ("zone", "2017-12-01", json!("1")),
    ]
}

/// The reference dates `securityType` to 2021-12-13; client libraries read it with 2021-02-01.
fn security_profile(config: &ComputeConfig) -> Value {
    let mut security = json!({
        "secureBootEnabled": config.secure_boot_enabled.to_string(),
        "virtualTpmEnabled": config.virtual_tpm_enabled.to_string(),
    });
    if !config.security_type.is_empty() {
        security["securityType"] = json!(config.security_type);
    }
    security
}

fn os_profile() -> Value {
    json!({
        "adminUsername": "azureuser",
        "computerName": NAME,
        "disablePasswordAuthentication": "true",
    })
}

/// An interface with the address that the documentation of networks uses (RFC 5737).
fn network() -> Value {
    json!({"interface": [{
        "ipv4": {
            "ipAddress": [{"privateIpAddress": "192.0.2.4", "publicIpAddress": ""}],
            "subnet": [{"address": "192.0.2.0", "prefix": "24"}],
        },
        "ipv6": {"ipAddress": []},
        "macAddress": "00005E005301",
    }]})
}

/// The supported versions, newest first.
pub(super) const VERSIONS: [&str; 32] = [
    "2023-11-15",
    "2023-07-01",
    "2021-12-13",
    "2021-11-15",
    "2021-11-01",
    "2021-10-01",
    "2021-08-01",
    "2021-05-01",
    "2021-03-01",
    "2021-02-01",
    "2021-01-01",
    "2020-12-01",
    "2020-10-01",
    "2020-09-01",
    "2020-07-15",
    "2020-06-01",
    "2019-11-01",
    "2019-08-15",
    "2019-08-01",
    "2019-06-04",
    "2019-06-01",
    "2019-04-30",
    "2019-03-11",
    "2019-02-01",
    "2018-10-01",
    "2018-04-02",
    "2018-02-01",
    "2017-12-01",
    "2017-10-01",
    "2017-08-01",
    "2017-04-02",
    "2017-03-01",
];

const SUBSCRIPTION: &str = "5a5a5a5a-0000-4000-8000-0000000000aa";
const GROUP: &str = "keybound";
const NAME: &str = "keybound-vm";
