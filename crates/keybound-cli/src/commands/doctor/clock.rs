//! The clock of this host, compared with those of services.
use crate::diagnosis::Finding;
use crate::text::span;
use http::header::{DATE, HeaderMap};
use http::{Request, Uri};
use keybound::{Clock as _, SystemClock};
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

    /// The difference, and whether this host is ahead.
    fn skew(&self) -> (Duration, bool) {
        match self.received.duration_since(self.date) {
            Ok(ahead) => (ahead, true),
            Err(behind) => (behind.duration(), false),
        }
    }
}

/// Judges the largest difference: certificates and tokens are valid by the clock of the services.
pub(super) fn judge(times: impl IntoIterator<Item = ServiceTime>) -> Finding {
    let largest = times.into_iter().max_by_key(|time| time.skew().0);
    let Some(time) = largest else {
        return Finding::skipped("no service sent its time");
    };
    let (skew, ahead) = time.skew();
    let direction = match ahead {
        true => "ahead of",
        false => "behind",
    };
    // A difference of hundreds of years is an attack or a defect; days are precise enough.
    let detail = format!("this host is {} {direction} {}", span(skew), time.service);
    match skew {
        skew if skew >= PROBLEM => Finding::problem(detail, SYNCHRONIZE),
        skew if skew >= WARNING => Finding::warning(detail, SYNCHRONIZE),
        _ => Finding::ok(format!(
            "this host agrees with {} within {} s",
            time.service,
            WARNING.as_secs()
        )),
    }
}

/// Requests IMDS for what it rejects with 400, since the header `Metadata` is missing. `None` if it does not respond or sends no
/// valid time.
pub(super) async fn time_of_imds(imds: &Url, limit: Duration) -> Option<ServiceTime> {
    let mut url = imds.clone();
    url.set_path("/metadata/versions");
    url.set_query(None);
    let uri: Uri = url.as_str().parse().ok()?;
    let mut request = Request::get(uri).body(RequestBody::empty()).ok()?;
    let response = send_plain(&mut request, limit).await.ok()?;
    ServiceTime::of("IMDS", response.headers())
}

/// Certificates and tokens are backdated by five minutes.
const PROBLEM: Duration = Duration::from_secs(5 * 60);
const WARNING: Duration = Duration::from_secs(30);
const SYNCHRONIZE: &str = match cfg!(windows) {
    true => "synchronize the clock: w32tm /resync, and check w32tm /query /status",
    false => "synchronize the clock: check timedatectl or chronyc tracking",
};
