use crate::endpoint::{parse_https, tenant_url};
use crate::tls::Host;
use crate::{Cloud, Error, Guid, Result};
use std::fmt;
use url::Url;

/// The authority of an app registration: the hosts of Entra that exchange assertions for tokens, of one [`Cloud`] or others.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Authority {
    origin: Url,
    /// `None`: the host is unknown, and none was named.
    mtls_origin: Option<Url>,
    exchange_audience: String,
}

impl Authority {
    /// The authority of a cloud.
    pub fn of_cloud(cloud: Cloud) -> Self {
        let origin = |host: &str| {
            Url::parse(&format!("https://{host}"))
                .expect("a host of the table that the tests parse")
        };
        Self {
            origin: origin(cloud.authority_host()),
            mtls_origin: Some(origin(cloud.mtls_host())),
            exchange_audience: cloud.exchange_audience().to_owned(),
        }
    }

    /// Parses an authority such as `https://login.microsoftonline.com`: https, without a tenant. An earlier name of a cloud's
    /// authority is replaced by the current one. Another host is used as it is: its host for mutual TLS is `mtlsauth.DOMAIN` for
    /// `login.DOMAIN`, itself on loopback, and otherwise unknown; assertions have the audience of the public cloud.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidRequest`](crate::ErrorKind::InvalidRequest).
    pub fn parse(text: &str) -> Result<Self> {
        let origin = origin_of(text, "the authority")?;
        let host = origin.host_str().unwrap_or_default();
        if let Some(cloud) = Cloud::of_authority(host).filter(|_| origin.port().is_none()) {
            return Ok(Self::of_cloud(cloud));
        }
        let is_loopback = Host::from_url(&origin).is_some_and(|host| host.is_loopback());
        let mtls_origin = match host.strip_prefix("login.") {
            _ if is_loopback => Some(origin.clone()),
            Some(domain) => Some(with_host(&origin, &format!("mtlsauth.{domain}"))?),
            None => None,
        };
        Ok(Self {
            origin,
            mtls_origin,
            exchange_audience: Cloud::Public.exchange_audience().to_owned(),
        })
    }

    /// Sets the origin of the token endpoint for mutual TLS, such as `https://mtlsauth.microsoft.com`.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidRequest`](crate::ErrorKind::InvalidRequest) if it is not an https origin.
    pub fn with_mtls_authority(mut self, text: &str) -> Result<Self> {
        self.mtls_origin = Some(origin_of(text, "the authority for mutual TLS")?);
        Ok(self)
    }

    /// Sends requests over mutual TLS to the host of a region, such as `westus2.mtlsauth.microsoft.com`.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidRequest`](crate::ErrorKind::InvalidRequest) if it is no name of a region, or the host for mutual TLS is
    /// unknown.
    pub fn with_region(mut self, region: &str) -> Result<Self> {
        let well_formed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        if region.is_empty() || region.len() > 63 || !region.bytes().all(well_formed) {
            return Err(Error::invalid_request(
                "a region has lower-case letters and digits, as in westus2",
            ));
        }
        let origin = self.mtls_origin()?;
        let host = format!("{region}.{}", origin.host_str().unwrap_or_default());
        self.mtls_origin = Some(with_host(origin, &host)?);
        Ok(self)
    }

    /// Sets the audience of assertions.
    #[must_use]
    pub fn with_exchange_audience(mut self, audience: &str) -> Self {
        audience.clone_into(&mut self.exchange_audience);
        self
    }

    /// The origin, `https://host[:port]/`.
    pub fn origin(&self) -> &Url {
        &self.origin
    }

    /// The audience of assertions.
    pub fn exchange_audience(&self) -> &str {
        &self.exchange_audience
    }

    /// The token endpoint of a tenant, for assertions that are not bound to a certificate.
    pub fn token_url(&self, tenant: &Guid) -> Url {
        tenant_url(&self.origin, tenant)
    }

    /// The token endpoint of a tenant for mutual TLS, for assertions that are bound to a certificate.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidRequest`](crate::ErrorKind::InvalidRequest) if it is unknown.
    pub fn mtls_token_url(&self, tenant: &Guid) -> Result<Url> {
        Ok(tenant_url(self.mtls_origin()?, tenant))
    }

    /// The origin of the token endpoint for mutual TLS.
    ///
    /// # Errors
    /// As [`mtls_token_url`](Self::mtls_token_url).
    pub fn mtls_origin(&self) -> Result<&Url> {
        self.mtls_origin.as_ref().ok_or_else(|| {
            Error::invalid_request(
                "the host for mutual TLS of this authority is unknown: name the authority for mutual TLS too",
            )
        })
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Authority({})", self.origin)
    }
}

fn origin_of(text: &str, what: &str) -> Result<Url> {
    let invalid =
        |reason: &str| Error::invalid_request(format!("{what} {reason}; it is https://HOST"));
    let url = parse_https(text).map_err(invalid)?;
    if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
        return Err(invalid("has a path, query or fragment"));
    }
    Ok(url)
}

fn with_host(origin: &Url, host: &str) -> Result<Url> {
    let mut url = origin.clone();
    match url.set_host(Some(host)) {
        Ok(()) => Ok(url),
        Err(error) => Err(Error::invalid_request(
            "the authority for mutual TLS has no valid host name",
        )
        .with_source(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tenant() -> Guid {
        Guid::parse("22222222-2222-2222-2222-222222222222").unwrap()
    }

    fn urls(authority: &Authority) -> [String; 2] {
        let path = "/22222222-2222-2222-2222-222222222222/oauth2/v2.0/token";
        let mtls = authority.mtls_token_url(&tenant());
        let mtls = mtls.map_or_else(|error| error.to_string(), |url| url.to_string());
        let bearer = authority.token_url(&tenant()).to_string();
        [bearer, mtls].map(|url| url.replace(path, ""))
    }

    #[test]
    fn has_the_hosts_and_the_audience_of_each_cloud() {
        for cloud in Cloud::ALL {
            let authority = Authority::of_cloud(cloud);
            let expected = [cloud.authority_host(), cloud.mtls_host()];
            assert_eq!(
                urls(&authority),
                expected.map(|host| format!("https://{host}"))
            );
            assert_eq!(authority.exchange_audience(), cloud.exchange_audience());
            let parsed = Authority::parse(&format!("https://{}/", cloud.authority_host()));
            assert_eq!(parsed.unwrap(), authority);
        }
    }

    #[test]
    fn replaces_earlier_names() {
        for (text, cloud) in [
            ("https://login.windows.net/", Cloud::Public),
            ("https://STS.windows.net", Cloud::Public),
            ("login.microsoft.com", Cloud::Public),
            ("https://login.usgovcloudapi.net", Cloud::UsGovernment),
            ("https://login.chinacloudapi.cn:443/", Cloud::China),
        ] {
            assert_eq!(
                Authority::parse(text).unwrap(),
                Authority::of_cloud(cloud),
                "{text}"
            );
        }
    }

    #[test]
    fn accepts_other_hosts() {
        for (text, mtls) in [
            (
                "https://login.cloud.example",
                "https://mtlsauth.cloud.example",
            ),
            ("https://127.0.0.1:8443", "https://127.0.0.1:8443"),
            ("https://localhost:8443", "https://localhost:8443"),
            (
                "https://login.microsoftonline.com:8443",
                "https://mtlsauth.microsoftonline.com:8443",
            ),
            (
                "https://entra.example",
                "the host for mutual TLS of this authority is unknown: name the authority for mutual TLS too",
            ),
        ] {
            let authority = Authority::parse(text).unwrap();
            assert_eq!(urls(&authority), [text, mtls]);
            assert_eq!(authority.exchange_audience(), "api://AzureADTokenExchange");
        }
        let named = Authority::parse("https://entra.example").unwrap();
        let named = named.with_mtls_authority("https://mtls.example/").unwrap();
        assert_eq!(urls(&named)[1], "https://mtls.example");
        assert_eq!(
            named
                .with_exchange_audience("api://other")
                .exchange_audience(),
            "api://other"
        );
    }

    #[test]
    fn uses_the_host_of_a_region_for_mutual_tls() {
        let public = Authority::of_cloud(Cloud::Public);
        assert_eq!(
            urls(&public.clone().with_region("westus2").unwrap()),
            [
                "https://login.microsoftonline.com",
                "https://westus2.mtlsauth.microsoft.com"
            ]
        );
        for region in ["", "West US", "a.b", "WESTUS", &"a".repeat(64)] {
            assert!(public.clone().with_region(region).is_err(), "{region:?}");
        }
        let unknown = Authority::parse("https://entra.example").unwrap();
        assert!(unknown.with_region("westus2").is_err());
    }

    #[test]
    fn https_only_no_redirects() {
        for text in [
            "",
            "http://login.microsoftonline.com",
            "https://login.microsoftonline.com/common",
            "https://login.microsoftonline.com?x",
            "https://login.microsoftonline.com#x",
            "https://user@login.microsoftonline.com",
            "https://login.microsoftonline.com\\@evil.example",
            "https://login.microsoftonline.com%40evil.example",
            "ftp://login.microsoftonline.com",
            "https://a b",
        ] {
            assert!(Authority::parse(text).is_err(), "{text:?}");
            let public = Authority::of_cloud(Cloud::Public);
            assert!(public.with_mtls_authority(text).is_err(), "{text:?}");
        }
    }
}
