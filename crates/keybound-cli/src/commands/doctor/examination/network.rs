//! Stored certificates, and the token endpoint, which they may name.
use super::super::certificates;
use super::super::clock::ServiceTime;
use super::super::target::Target;
use super::super::token_endpoint::Connection;
use super::{Examination, Timed, variable};
use crate::diagnosis::Finding;
use crate::session;
use keybound::store::StoredCertificate;
use keybound::{Attestation, Error, ErrorKind, KeyStrength, ManagedIdentitySource, Stage};
use keybound_core::EndpointPolicy;
use url::Url;

/// What the checks of certificates, names and connections found.
pub(super) struct Network {
    pub(super) certificates: Timed<Finding>,
    pub(super) proxied: keybound::Result<bool>,
    pub(super) dns: Timed<Finding>,
    pub(super) tls: Timed<Finding>,
    pub(super) time: Option<ServiceTime>,
}

impl Examination<'_> {
    /// The stored certificates, and the token endpoint, which they may name.
    pub(super) async fn network(&self) -> Network {
        let stored = self.timed("certificates", self.stored());
        let (stored, elapsed) = stored.await;
        let certificates = certificates::judge(&stored, self.args.bearer);
        let target = self.target(&stored.ok().flatten().unwrap_or_default());
        let connection = Connection {
            target: &target,
            allowed: target.check(&self.policy()),
            proxied: target.uses(&self.proxy),
        };
        let dns = self
            .timed(
                "dns",
                connection.resolve(|name| self.variables.mask(name), self.limit()),
            )
            .await;
        let tls = connection.connect(&dns.0, || self.https(), self.limit());
        let ((tls, time), tls_elapsed) = self.timed("tls", tls).await;
        Network {
            certificates: (certificates, elapsed),
            dns: (connection.of_guess(dns.0), dns.1),
            proxied: connection.proxied,
            tls: (tls, tls_elapsed),
            time,
        }
    }

    async fn stored(&self) -> keybound::Result<Option<Vec<StoredCertificate>>> {
        let stored = self.client.stored_certificates();
        let stored = tokio::time::timeout(self.limit(), stored).await;
        let late = || {
            let message = "the certificate store did not respond in time";
            Error::new(ErrorKind::DeadlineExceeded, Stage::Credential, message)
        };
        let stored = stored.unwrap_or_else(|_| Err(late()))?;
        let host = &self.args.host;
        let attestation = match (host.simulated, host.no_attestation) {
            (_, true) => Attestation::None,
            (true, false) => Attestation::Simulated,
            (false, false) => Attestation::Attested,
        };
        // Weaker keys have other names.
        let needs_keyguard = KeyStrength::from(host.min_strength) == KeyStrength::KeyGuard;
        let named = std::env::var("MSAL_MSI_V2_KEY_NAME").ok();
        let key_name = named.filter(|name| !name.is_empty() && needs_keyguard && !host.simulated);
        Ok(stored.map(|all| certificates::of_request(all, attestation, key_name.as_deref())))
    }

    /// The token endpoint of the first certificate request or token request.
    fn target(&self, stored: &[StoredCertificate]) -> Target {
        if self.args.bearer {
            let is_required = self.args.workload_identity;
            let is_configured =
                variable("AZURE_FEDERATED_TOKEN_FILE").is_some_and(|file| !file.is_empty());
            return match is_required || is_configured {
                true => Target::of_workload_identity(&self.authority, is_required),
                false => Target::None("plain bearer tokens need no token endpoint"),
            };
        }
        if self.client.managed_identity_source() != ManagedIdentitySource::Imds {
            return Target::None("only IMDS has certificates for a token endpoint");
        }
        let of_stored = || {
            let newest = stored
                .iter()
                .max_by_key(|stored| stored.binding.certificate.effective_not_after())?;
            Url::parse(&newest.binding.endpoint).ok()
        };
        let named = self.token_endpoint.clone().or_else(of_stored);
        Target::of(
            named,
            session::has_loopback_imds(&self.args.host),
            &self.authority,
        )
    }

    /// The rule for endpoints from IMDS, as the client has it.
    fn policy(&self) -> EndpointPolicy {
        let host = &self.args.host;
        let mut policy = EndpointPolicy::new(session::has_loopback_imds(host));
        if !host.allowed_hosts.is_empty() {
            policy = policy.with_allowed_hosts(host.allowed_hosts.clone());
        }
        match std::env::var_os("MSAL_MI_IMDSV2_ALLOWED_HOSTS") {
            Some(list) => policy.with_operator_hosts(&list.to_string_lossy()),
            None => policy,
        }
    }

    fn https(&self) -> keybound::Result<keybound_transport::HttpsClient> {
        session::https_client(&self.args.host, self.trust.clone(), self.proxy.clone())
    }
}
