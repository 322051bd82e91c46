use http::{HeaderMap, HeaderName, header};
use std::time::{Duration, SystemTime};

/// The wait that `Retry-After` requires (RFC 9110 section 10.2.3). A date is compared with the service's clock if the response
/// has a `Date`, otherwise with the host's.
pub(crate) fn retry_after(headers: &HeaderMap, host_time: SystemTime) -> Option<Duration> {
    let now = service_time(headers).unwrap_or(host_time);
    texts(headers, &header::RETRY_AFTER).find_map(|value| parse(value.trim(), now))
}

/// The time of the service's clock (`Date`).
pub(crate) fn service_time(headers: &HeaderMap) -> Option<SystemTime> {
    texts(headers, &header::DATE).find_map(|value| httpdate::parse_http_date(value.trim()).ok())
}

/// The values of a header that are UTF-8; others are skipped.
fn texts<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    let values = headers.get_all(name).into_iter();
    values.filter_map(|value| std::str::from_utf8(value.as_bytes()).ok())
}

fn parse(value: &str, now: SystemTime) -> Option<Duration> {
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        // A number that overflows is a long wait.
        return Some(Duration::from_secs(value.parse().unwrap_or(u64::MAX)));
    }
    let date = httpdate::parse_http_date(value).ok()?;
    Some(date.duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_seconds_and_dates() {
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
        for malformed in ["", "-1", "+7", "7.5", "soon"] {
            assert_eq!(parse(malformed), None, "{malformed}");
        }
    }

    #[test]
    fn compares_dates_with_the_clock_of_the_service() {
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
        headers.append(header::DATE, date("Sun, 06 Nov 1994 09:49:37 GMT"));
        assert_eq!(retry_after(&headers, host), Some(Duration::from_secs(20)));
    }

    #[test]
    fn skips_malformed_values() {
        let host = SystemTime::UNIX_EPOCH;
        for malformed in [&b"bald \xfc"[..], b"\xc3\xbc", b"soon", b"7.5", b""] {
            let mut headers = HeaderMap::new();
            let malformed = http::HeaderValue::from_bytes(malformed).unwrap();
            headers.append(header::RETRY_AFTER, malformed);
            assert_eq!(retry_after(&headers, host), None);
            headers.append(header::RETRY_AFTER, http::HeaderValue::from_static(" 7 "));
            assert_eq!(retry_after(&headers, host), Some(Duration::from_secs(7)));
        }
    }
}
