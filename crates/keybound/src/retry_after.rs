use http::{HeaderMap, HeaderName, header};
use std::time::{Duration, SystemTime};

/// How long an answer asks to wait (`Retry-After`, RFC 9110 section 10.2.3). A date is held against the service's clock
/// where the answer says what that shows, else against the host's.
pub(crate) fn retry_after(headers: &HeaderMap, host: SystemTime) -> Option<Duration> {
    let now = service_time(headers).unwrap_or(host);
    parse(text(headers, &header::RETRY_AFTER)?.trim(), now)
}

/// The time by the service's clock (`Date`).
pub(crate) fn service_time(headers: &HeaderMap) -> Option<SystemTime> {
    httpdate::parse_http_date(text(headers, &header::DATE)?).ok()
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

fn parse(value: &str, now: SystemTime) -> Option<Duration> {
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        // More digits than a number holds are a long wait, not none.
        return Some(Duration::from_secs(value.parse().unwrap_or(u64::MAX)));
    }
    let date = httpdate::parse_http_date(value).ok()?;
    Some(date.duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_read_as_seconds_and_as_a_date() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        let parse = |value| parse(value, now);
        assert_eq!(parse("7"), Some(Duration::from_secs(7)));
        assert_eq!(
            parse("Sun, 06 Nov 1994 08:49:47 GMT"),
            Some(Duration::from_secs(10))
        );
        assert_eq!(parse("Sun, 06 Nov 1994 08:49:27 GMT"), Some(Duration::ZERO));
        assert_eq!(
            parse("99999999999999999999"),
            Some(Duration::from_secs(u64::MAX))
        );
        for neither in ["", "-1", "+7", "7.5", "soon"] {
            assert_eq!(parse(neither), None, "{neither}");
        }
    }

    #[test]
    fn a_date_is_held_against_the_clock_of_who_says_it() {
        let host = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        let mut headers = HeaderMap::new();
        assert_eq!(retry_after(&headers, host), None);
        let date = |text| http::HeaderValue::from_static(text);
        headers.insert(header::RETRY_AFTER, date("Sun, 06 Nov 1994 09:49:57 GMT"));
        let by_host = Duration::from_secs(3620);
        assert_eq!(retry_after(&headers, host), Some(by_host));
        headers.insert(header::DATE, date("Sun, 06 Nov 1994 09:49:37 GMT"));
        assert_eq!(retry_after(&headers, host), Some(Duration::from_secs(20)));
        headers.insert(header::DATE, date("today"));
        assert_eq!(retry_after(&headers, host), Some(by_host));
    }
}
