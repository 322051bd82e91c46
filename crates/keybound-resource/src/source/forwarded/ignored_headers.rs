use http::{HeaderMap, HeaderName};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// How many requests had a header with a certificate that was ignored: what their proxy and the resource are configured for may differ, or a
/// client sent it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct IgnoredHeaders {
    /// The peer is not trusted.
    pub untrusted_peer: u64,
    /// The header is that of another proxy, and the configured one is missing.
    pub other_header: u64,
}

/// Counts them.
#[derive(Default)]
pub(super) struct IgnoredHeaderCounters {
    untrusted_peer: AtomicU64,
    other_header: AtomicU64,
}

impl IgnoredHeaderCounters {
    /// Counts the header of a peer that is not trusted.
    pub(super) fn count_untrusted(&self, headers: &HeaderMap, configured: &HeaderName) {
        if headers.contains_key(configured) {
            self.untrusted_peer.fetch_add(1, Relaxed);
            tracing::debug!(
                header = configured.as_str(),
                "ignored the certificate of a peer that is not trusted"
            );
        }
    }

    /// Counts the header of another proxy in a request that lacks the configured one.
    pub(super) fn count_other(&self, headers: &HeaderMap) {
        let other = KNOWN.iter().find(|name| headers.contains_key(**name));
        if let Some(header) = other {
            self.other_header.fetch_add(1, Relaxed);
            tracing::debug!(
                header,
                "ignored a certificate in the header of another proxy"
            );
        }
    }

    pub(super) fn read(&self) -> IgnoredHeaders {
        IgnoredHeaders {
            untrusted_peer: self.untrusted_peer.load(Relaxed),
            other_header: self.other_header.load(Relaxed),
        }
    }
}

/// Of the proxies that [`ForwardedCertificate`](super::ForwardedCertificate) knows.
const KNOWN: [&str; 8] = [
    super::RFC_9440,
    super::XFCC,
    super::NGINX,
    super::HAPROXY,
    super::TRAEFIK,
    super::AWS_LEAF,
    super::AWS_PASSTHROUGH,
    super::APP_SERVICE,
];
