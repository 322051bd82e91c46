//! The expiry of a token, in every form that sources send: seconds since the epoch or from now, as a number or as text, and
//! dates.
use der::DateTime;
use serde_json::value::RawValue;
use std::time::Duration;

/// A point in time, or a time from now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expiry {
    /// Since the Unix epoch.
    At(Duration),
    /// From the time of the response.
    In(Duration),
}

/// Neither a number nor a date.
#[derive(Clone, Copy, Debug)]
pub(super) struct Unreadable;

impl Expiry {
    /// Parses `expires_on`. `None` for zero and an empty text, which some servers send in place of nothing; an error for what is
    /// neither a number nor a date.
    pub(super) fn on(raw: &RawValue) -> Result<Option<Self>, Unreadable> {
        let text = text(raw);
        let time = match number(&text) {
            Some(0.0) => return Ok(None),
            None if text.is_empty() => return Ok(None),
            Some(value) => Some(since_epoch(value)),
            None => date(&text),
        };
        time.map(|time| Some(Self::At(time))).ok_or(Unreadable)
    }

    /// Parses `expires_in`, which some servers send as a date.
    pub(super) fn within(raw: &RawValue) -> Option<Self> {
        let text = text(raw);
        match number(&text) {
            Some(value) if value < 1.0 => None,
            Some(value) => Some(Self::In(Duration::from_secs(value as u64))),
            None => date(&text).map(Self::At),
        }
    }
}

/// The text of a JSON string, otherwise the JSON itself.
fn text(raw: &RawValue) -> String {
    let quoted: Option<String> = serde_json::from_str(raw.get()).ok();
    let text = quoted.unwrap_or_else(|| raw.get().to_owned());
    text.trim().to_owned()
}

/// A number, not negative.
fn number(text: &str) -> Option<f64> {
    let numeric = |byte: u8| b"0123456789.eE+-".contains(&byte);
    if text.is_empty() || text.len() > MAX_TEXT || !text.bytes().all(numeric) {
        return None;
    }
    let value: f64 = text.parse().ok()?;
    (value >= 0.0).then_some(value)
}

/// Seconds, or milliseconds if the number would be a time after the year 5000. The casts drop fractions and saturate.
fn since_epoch(value: f64) -> Duration {
    if value >= FIRST_MILLISECONDS {
        Duration::from_secs(value as u64 / 1000)
    } else {
        Duration::from_secs(value as u64)
    }
}

/// A date since the Unix epoch, without fractions of a second: `2026-01-16T05:24:12.0000000+00:00`, `2026-01-16 05:24:12Z`,
/// `01/16/2026 05:24:12 +00:00` (App Service on Linux), `1/16/2026 5:24:12 AM +00:00` (on Windows). Without an offset it is in
/// UTC.
fn date(text: &str) -> Option<Duration> {
    if text.len() > MAX_TEXT || !text.is_ascii() {
        return None;
    }
    let (day, rest) = text.split_once(['T', 't', ' '])?;
    let (year, month, day) = calendar_day(day)?;
    let end = rest.find(|c: char| !c.is_ascii_digit() && c != ':' && c != '.');
    let (time, rest) = rest.split_at(end.unwrap_or(rest.len()));
    let (hour, minute, second) = time_of_day(time)?;
    let (hour, rest) = half_of_day(hour, rest.trim_start())?;
    let local = DateTime::new(year, month, day, hour, minute, second).ok()?;
    let local = local.unix_duration();
    match offset(rest.trim())? {
        (b'-', offset) => local.checked_add(offset),
        (_, offset) => local.checked_sub(offset),
    }
}

/// Year, month and day of `2026-01-16` or `1/16/2026`.
fn calendar_day(text: &str) -> Option<(u16, u8, u8)> {
    let parts = |separator| -> Option<[&str; 3]> {
        let parts: Vec<_> = text.split(separator).collect();
        parts.try_into().ok()
    };
    let [year, month, day] = if text.contains('/') {
        let [month, day, year] = parts('/')?;
        [year, month, day]
    } else {
        parts('-')?
    };
    if year.len() != 4 {
        return None;
    }
    Some((digits(year)?, digits(month)?, digits(day)?))
}

/// Hour, minute and second; a fraction is dropped.
fn time_of_day(text: &str) -> Option<(u8, u8, u8)> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let mut parts = whole.split(':');
    let time = (
        digits(parts.next()?)?,
        digits(parts.next()?)?,
        digits(parts.next()?)?,
    );
    let is_fraction = !fraction.is_empty() && fraction.bytes().all(|byte| byte.is_ascii_digit());
    (parts.next().is_none() && is_fraction).then_some(time)
}

/// Applies AM or PM; returns the hour and the rest of the text.
fn half_of_day(hour: u8, text: &str) -> Option<(u8, &str)> {
    let half = text.get(..2).map(str::to_ascii_uppercase);
    let hour = match half.as_deref() {
        Some("AM" | "PM") if !(1..=12).contains(&hour) => return None,
        Some("AM") => hour % 12,
        Some("PM") => hour % 12 + 12,
        _ => return Some((hour, text)),
    };
    Some((hour, &text[2..]))
}

/// The offset from UTC, with its sign.
fn offset(text: &str) -> Option<(u8, Duration)> {
    if ["", "Z", "z", "UTC", "GMT"].contains(&text) {
        return Some((b'+', Duration::ZERO));
    }
    let (&sign, rest) = text.as_bytes().split_first()?;
    let rest = std::str::from_utf8(rest).ok()?;
    let (hours, minutes) = match rest.len() {
        5 => rest.split_once(':')?,
        4 => rest.split_at(2),
        _ => return None,
    };
    let (hours, minutes): (u8, u8) = (digits(hours)?, digits(minutes)?);
    let seconds = u64::from(hours) * 3600 + u64::from(minutes) * 60;
    let valid = (sign == b'+' || sign == b'-') && hours <= 14 && minutes < 60;
    valid.then_some((sign, Duration::from_secs(seconds)))
}

fn digits<T: std::str::FromStr>(text: &str) -> Option<T> {
    let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| plain)
}

const MAX_TEXT: usize = 64;
const FIRST_MILLISECONDS: f64 = 1e11;
