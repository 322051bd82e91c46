//! The clock of this host, compared with those of services.
use crate::diagnosis::Finding;
use crate::text::span;
use http::header::{DATE, HeaderMap, SERVER};
use http::{Request, Uri};
use keybound::{Clock as _, SystemClock};
use keybound_core::is_imds_server;
use keybound_transport::{RequestBody, send_plain};
use std::time::{Duration, SystemTime};
use url::Url;

/// The time of a service, by its header `Date`, and the time of this host when it arrived.
#[derive(Clone, Copy, Debug)]
pub(super) struct ServiceTime {
    pub(super) service: &'static str,
    pub(super) date: SystemTime,
    pub(super) received: SystemTime,
}

impl ServiceTime {
    /// `None` without a valid header.
    pub(super) fn of(service: &'static str, headers: &HeaderMap) -> Option<Self> {
        let date = headers.get(DATE)?.to_str().ok()?;
        Some(Self {
            service,
            date: httpdate::parse_http_date(date.trim()).ok()?,
            received: SystemClock.now(),
        })
    }

    /// That of IMDS. `None` if the response does not name IMDS: another server may have any time.
    pub(super) fn of_imds(headers: &HeaderMap) -> Option<Self> {
        let mut servers = headers.get_all(SERVER).iter();
        let is_imds = servers.any(|server| is_imds_server(server.as_bytes()));
        Self::of("IMDS", headers).filter(|_| is_imds)
    }

    /// The difference, and whether this host is ahead.
    fn skew(&self) -> (Duration, bool) {
        match self.received.duration_since(self.date) {
            Ok(ahead) => (ahead, true),
            Err(behind) => (behind.duration(), false),
        }
    }

    fn difference(&self) -> String {
        let (skew, ahead) = self.skew();
        let direction = match ahead {
            true => "ahead of",
            false => "behind",
        };
        format!("{} {direction} {}", span(skew), self.service)
    }

    /// The difference of two services' clocks.
    fn apart(&self, other: &Self) -> Duration {
        let ((skew, ahead), (of_other, other_ahead)) = (self.skew(), other.skew());
        match ahead == other_ahead {
            true => skew.abs_diff(of_other),
            false => skew.saturating_add(of_other),
        }
    }
}

/// Judges the largest difference: certificates and tokens are valid by the clock of the services. Services that disagree with each
/// other show no error of this host's clock alone.
pub(super) fn judge(times: impl IntoIterator<Item = ServiceTime>) -> Finding {
    let mut times: Vec<_> = times.into_iter().collect();
    times.sort_by_key(|time| std::cmp::Reverse(time.skew().0));
    let Some(worst) = times.first() else {
        return Finding::skipped("no service sent its time");
    };
    let (skew, _) = worst.skew();
    if skew < WARNING {
        return Finding::ok(format!(
            "this host agrees with {} within {} s",
            worst.service,
            WARNING.as_secs()
        ));
    }
    // A difference of hundreds of years is an attack or a defect; days are precise enough.
    let differences: Vec<_> = times.iter().map(ServiceTime::difference).collect();
    if times.iter().any(|time| time.apart(worst) >= WARNING) {
        let detail = format!("this host is {}: they disagree", differences.join(", and "));
        return match times.iter().all(|time| time.skew().0 >= PROBLEM) {
            true => Finding::problem(detail, COMPARE),
            false => Finding::warning(detail, COMPARE),
        };
    }
    let detail = format!("this host is {}", differences[0]);
    match skew >= PROBLEM {
        true => Finding::problem(detail, SYNCHRONIZE),
        false => Finding::warning(detail, SYNCHRONIZE),
    }
}

/// Requests IMDS for what it rejects with 400, since the header `Metadata` is missing. `None` if it does not respond, or another server does, or
/// no valid time is sent.
pub(super) async fn time_of_imds(imds: &Url, limit: Duration) -> Option<ServiceTime> {
    let mut url = imds.clone();
    url.set_path("/metadata/versions");
    url.set_query(None);
    let uri: Uri = url.as_str().parse().ok()?;
    let mut request = Request::get(uri).body(RequestBody::empty()).ok()?;
    let response = send_plain(&mut request, limit).await.ok()?;
    ServiceTime::of_imds(response.headers())
}

/// Certificates and tokens are backdated by five minutes.
const PROBLEM: Duration = Duration::from_secs(5 * 60);
const WARNING: Duration = Duration::from_secs(30);
const SYNCHRONIZE: &str = match cfg!(windows) {
    true => "synchronize the clock: w32tm /resync, and check w32tm /query /status",
    false => "synchronize the clock: check timedatectl or chronyc tracking",
};
const COMPARE: &str = "find out which clock is wrong: compare this host with another time server";
