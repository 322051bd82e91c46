//! The target of a redirect that may be followed.
use http::header::{HeaderMap, LOCATION};
use http::{StatusCode, Uri};
use url::Url;

/// The target of a redirect, if its origin (scheme, host and port) is that of the request.
pub(super) fn target(status: StatusCode, headers: &HeaderMap, from: &Uri) -> Option<Uri> {
    let is_redirect = matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308);
    let mut locations = headers.get_all(LOCATION).iter();
    let (Some(location), None) = (locations.next(), locations.next()) else {
        return None;
    };
    // Servers send UTF-8 too, which is percent-encoded below as in browsers.
    let location = std::str::from_utf8(location.as_bytes()).ok()?;
    if !is_redirect || location.len() > MAX_LOCATION {
        return None;
    }
    let from = Url::parse(&from.to_string()).ok()?;
    let mut target = from.join(location).ok()?;
    let has_no_credentials = target.username().is_empty() && target.password().is_none();
    if target.origin() != from.origin() || !has_no_credentials {
        return None;
    }
    target.set_fragment(None);
    target.as_str().parse().ok()
}

const MAX_LOCATION: usize = 8 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn resolve(status: u16, locations: &[&str]) -> Option<String> {
        let mut headers = HeaderMap::new();
        for location in locations {
            headers.append(LOCATION, HeaderValue::from_str(location).unwrap());
        }
        let from = "https://a.example:8443/b/c?d=e".parse().unwrap();
        let status = StatusCode::from_u16(status).unwrap();
        target(status, &headers, &from).map(|target| target.to_string())
    }

    #[test]
    fn resolves_redirects_within_the_origin() {
        for (location, expected) in [
            ("/x", "https://a.example:8443/x"),
            ("x?y#z", "https://a.example:8443/b/x?y"),
            ("https://A.example:8443/x", "https://a.example:8443/x"),
            ("//a.example:8443/x", "https://a.example:8443/x"),
            ("/\u{e4}?\u{e4}", "https://a.example:8443/%C3%A4?%C3%A4"),
        ] {
            assert_eq!(resolve(307, &[location]).as_deref(), Some(expected));
        }
    }

    #[test]
    fn ignores_other_redirects() {
        for location in [
            "http://a.example:8443/x",
            "https://a.example/x",
            "https://b.example:8443/x",
            "https://a.example.:8443/x",
            "https://user@a.example:8443/x",
            "//evil.example/x",
            "\\\\evil.example\\x",
            "https:\\\\evil.example/x",
            "data:,x",
            "https://",
        ] {
            assert_eq!(resolve(302, &[location]), None, "{location}");
        }
        assert_eq!(resolve(302, &["https://\u{e4}.example:8443/x"]), None);
        assert_eq!(resolve(302, &[]), None);
        assert_eq!(resolve(302, &["/x", "/y"]), None);
        assert_eq!(resolve(300, &["/x"]), None);
        assert_eq!(resolve(304, &["/x"]), None);
        assert_eq!(resolve(302, &[&"x".repeat(MAX_LOCATION + 1)]), None);
    }
}
