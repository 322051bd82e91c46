use crate::args::SelftestArgs;
use crate::diagnosis::Conceal;
use keybound::{KeyStrength, Scope};
use serde::Serialize;
use url::Url;

/// The request in the report.
#[derive(Debug, Serialize)]
pub(super) struct RequestSummary {
    identity: String,
    resource: String,
    min_strength: &'static str,
    attestation: bool,
    fresh: bool,
    call: Option<String>,
}

impl RequestSummary {
    /// Keeps only the origin of the URL to call: the rest may be a secret.
    pub(super) fn new(args: &SelftestArgs, scope: &Scope, call: Option<&Url>) -> Self {
        let conceal = Conceal {
            show_ids: args.show_ids,
        };
        let identity = match args.host.identity().v2_selector() {
            None => "system_assigned".to_owned(),
            // Its parts are ids too.
            Some(("mi_res_id", _)) if !args.show_ids => "mi_res_id …".to_owned(),
            Some((name, id)) => conceal.ids(&format!("{name} {id}")),
        };
        Self {
            identity,
            resource: scope.resource().to_owned(),
            min_strength: KeyStrength::from(args.host.min_strength).as_str(),
            attestation: !args.host.no_attestation,
            fresh: args.fresh,
            call: call.map(|url| url.origin().ascii_serialization()),
        }
    }

    /// The request as text.
    pub(super) fn text(&self) -> String {
        let attested = match self.attestation {
            true => "attested",
            false => "not attested",
        };
        let call = match &self.call {
            Some(origin) => format!(", call of {origin}"),
            None => String::new(),
        };
        let fresh = match self.fresh {
            true => ", new certificate",
            false => "",
        };
        format!(
            "request: identity {}, token for {}, key at least {}, {attested}{fresh}{call}",
            self.identity, self.resource, self.min_strength
        )
    }
}
