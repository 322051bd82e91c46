use std::fmt;
use std::str::FromStr;

/// A cloud of Azure: the hosts of Entra, Key Vault and Graph in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Cloud {
    /// Azure.
    Public,
    /// Azure Government.
    UsGovernment,
    /// Azure operated by 21Vianet.
    China,
    /// The sovereign cloud of France.
    France,
    /// The sovereign cloud of Germany.
    Germany,
    /// The government cloud of Singapore.
    Singapore,
}

/// One row of the table of clouds.
struct Row {
    name: &'static str,
    authority: &'static str,
    /// Further names of the authority.
    aliases: &'static [&'static str],
    mtls: &'static str,
    exchange_audience: &'static str,
    vault: &'static str,
    managed_hsm: &'static str,
    graph: &'static str,
}

impl Cloud {
    /// Every cloud.
    pub const ALL: [Self; 6] = [
        Self::Public,
        Self::UsGovernment,
        Self::China,
        Self::France,
        Self::Germany,
        Self::Singapore,
    ];

    fn row(self) -> &'static Row {
        match self {
            Self::Public => &PUBLIC,
            Self::UsGovernment => &US_GOVERNMENT,
            Self::China => &CHINA,
            Self::France => &FRANCE,
            Self::Germany => &GERMANY,
            Self::Singapore => &SINGAPORE,
        }
    }

    /// The cloud whose authority has this host, or had it in earlier versions of Azure. Case is ignored.
    pub fn of_authority(host: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|cloud| {
            let row = cloud.row();
            let mut names = std::iter::once(&row.authority).chain(row.aliases);
            names.any(|name| name.eq_ignore_ascii_case(host))
        })
    }

    /// The name of the cloud: `public`, `us-government`, `china`, `france`, `germany` or `singapore`.
    pub fn name(self) -> &'static str {
        self.row().name
    }

    /// The host of Entra's authority, such as `login.microsoftonline.com`.
    pub fn authority_host(self) -> &'static str {
        self.row().authority
    }

    /// The host of Entra's token endpoint for mutual TLS, such as `mtlsauth.microsoft.com`. Regions have hosts below it.
    pub fn mtls_host(self) -> &'static str {
        self.row().mtls
    }

    /// The audience of assertions that Entra exchanges for tokens of an app registration, such as
    /// `api://AzureADTokenExchange`.
    pub fn exchange_audience(self) -> &'static str {
        self.row().exchange_audience
    }

    /// The domain of key vaults, such as `vault.azure.net`.
    pub fn vault_domain(self) -> &'static str {
        self.row().vault
    }

    /// The domain of managed HSMs, such as `managedhsm.azure.net`.
    pub fn managed_hsm_domain(self) -> &'static str {
        self.row().managed_hsm
    }

    /// The origin of Microsoft Graph, which is also its resource, such as `https://graph.microsoft.com`.
    pub fn graph(self) -> &'static str {
        self.row().graph
    }
}

/// Parses the [name](Cloud::name).
impl FromStr for Cloud {
    type Err = crate::Error;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let mut clouds = Self::ALL.into_iter();
        clouds.find(|cloud| cloud.name() == name).ok_or_else(|| {
            crate::Error::invalid_request(
                "a cloud is public, us-government, china, france, germany or singapore",
            )
        })
    }
}

impl fmt::Display for Cloud {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

const PUBLIC: Row = Row {
    name: "public",
    authority: "login.microsoftonline.com",
    aliases: &[
        "login.windows.net",
        "login.microsoft.com",
        "sts.windows.net",
    ],
    mtls: "mtlsauth.microsoft.com",
    exchange_audience: "api://AzureADTokenExchange",
    vault: "vault.azure.net",
    managed_hsm: "managedhsm.azure.net",
    graph: "https://graph.microsoft.com",
};

const US_GOVERNMENT: Row = Row {
    name: "us-government",
    authority: "login.microsoftonline.us",
    aliases: &["login.usgovcloudapi.net"],
    mtls: "mtlsauth.microsoftonline.us",
    exchange_audience: "api://AzureADTokenExchangeUSGov",
    vault: "vault.usgovcloudapi.net",
    managed_hsm: "managedhsm.usgovcloudapi.net",
    graph: "https://graph.microsoft.us",
};

const CHINA: Row = Row {
    name: "china",
    authority: "login.partner.microsoftonline.cn",
    aliases: &["login.chinacloudapi.cn"],
    mtls: "mtlsauth.partner.microsoftonline.cn",
    exchange_audience: "api://AzureADTokenExchangeChina",
    vault: "vault.azure.cn",
    managed_hsm: "managedhsm.azure.cn",
    graph: "https://microsoftgraph.chinacloudapi.cn",
};

const FRANCE: Row = Row {
    name: "france",
    authority: "login.sovcloud-identity.fr",
    aliases: &[],
    mtls: "mtlsauth.sovcloud-identity.fr",
    exchange_audience: "api://AzureADTokenExchangeFrance",
    vault: "vault.sovcloud-api.fr",
    managed_hsm: "managedhsm.sovcloud-api.fr",
    graph: "https://graph.svc.sovcloud.fr",
};

const GERMANY: Row = Row {
    name: "germany",
    authority: "login.sovcloud-identity.de",
    aliases: &[],
    mtls: "mtlsauth.sovcloud-identity.de",
    exchange_audience: "api://AzureADTokenExchangeGermany",
    vault: "vault.sovcloud-api.de",
    managed_hsm: "managedhsm.sovcloud-api.de",
    graph: "https://graph.svc.sovcloud.de",
};

const SINGAPORE: Row = Row {
    name: "singapore",
    authority: "login.sovcloud-identity.sg",
    aliases: &[],
    mtls: "mtlsauth.sovcloud-identity.sg",
    exchange_audience: "api://AzureADTokenExchangeGovSG",
    // Not published: as in France and Germany.
    vault: "vault.sovcloud-api.sg",
    managed_hsm: "managedhsm.sovcloud-api.sg",
    graph: "https://graph.svc.sovcloud.sg",
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn has_the_hosts_of_each_cloud() {
        for (cloud, row) in [
            (
                Cloud::Public,
                "public login.microsoftonline.com mtlsauth.microsoft.com api://AzureADTokenExchange vault.azure.net \
                 managedhsm.azure.net https://graph.microsoft.com",
            ),
            (
                Cloud::UsGovernment,
                "us-government login.microsoftonline.us mtlsauth.microsoftonline.us api://AzureADTokenExchangeUSGov \
                 vault.usgovcloudapi.net managedhsm.usgovcloudapi.net https://graph.microsoft.us",
            ),
            (
                Cloud::China,
                "china login.partner.microsoftonline.cn mtlsauth.partner.microsoftonline.cn \
                 api://AzureADTokenExchangeChina vault.azure.cn managedhsm.azure.cn https://microsoftgraph.chinacloudapi.cn",
            ),
            (
                Cloud::France,
                "france login.sovcloud-identity.fr mtlsauth.sovcloud-identity.fr api://AzureADTokenExchangeFrance \
                 vault.sovcloud-api.fr managedhsm.sovcloud-api.fr https://graph.svc.sovcloud.fr",
            ),
            (
                Cloud::Germany,
                "germany login.sovcloud-identity.de mtlsauth.sovcloud-identity.de api://AzureADTokenExchangeGermany \
                 vault.sovcloud-api.de managedhsm.sovcloud-api.de https://graph.svc.sovcloud.de",
            ),
            (
                Cloud::Singapore,
                "singapore login.sovcloud-identity.sg mtlsauth.sovcloud-identity.sg api://AzureADTokenExchangeGovSG \
                 vault.sovcloud-api.sg managedhsm.sovcloud-api.sg https://graph.svc.sovcloud.sg",
            ),
        ] {
            let found = [
                cloud.name(),
                cloud.authority_host(),
                cloud.mtls_host(),
                cloud.exchange_audience(),
                cloud.vault_domain(),
                cloud.managed_hsm_domain(),
                cloud.graph(),
            ];
            assert_eq!(found.join(" "), row);
            assert_eq!(cloud.name().parse::<Cloud>().unwrap(), cloud);
            assert_eq!(Cloud::of_authority(cloud.authority_host()), Some(cloud));
        }
        assert!("Public".parse::<Cloud>().is_err());
    }

    #[test]
    fn knows_earlier_names_of_authorities() {
        for (host, cloud) in [
            ("login.windows.net", Some(Cloud::Public)),
            ("sts.windows.net", Some(Cloud::Public)),
            ("LOGIN.Microsoft.com", Some(Cloud::Public)),
            ("login.usgovcloudapi.net", Some(Cloud::UsGovernment)),
            ("login.chinacloudapi.cn", Some(Cloud::China)),
            ("login.microsoftonline.com.evil.example", None),
            ("mtlsauth.microsoft.com", None),
            ("", None),
        ] {
            assert_eq!(Cloud::of_authority(host), cloud, "{host}");
        }
    }
}
