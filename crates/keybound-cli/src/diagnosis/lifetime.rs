use crate::text::{rfc3339, span};
use keybound::Certificate;
use std::time::SystemTime;

/// Both ends of the validity of a managed identity's certificate: Entra issues tokens for it until the first one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lifetime {
    pub(crate) start: SystemTime,
    /// `None`: tokens are issued until the end.
    pub(crate) tokens_until: Option<SystemTime>,
    pub(crate) end: SystemTime,
}

impl Lifetime {
    pub(crate) fn of(certificate: &Certificate) -> Self {
        Self {
            start: certificate.not_before(),
            tokens_until: certificate.token_not_after(),
            end: certificate.not_after(),
        }
    }

    /// The times: `valid from … until …, for new tokens until …`.
    pub(crate) fn times(&self) -> String {
        let (start, end) = (rfc3339(self.start), rfc3339(self.end));
        let tokens = self.tokens_until.map(rfc3339);
        let tokens = tokens.map(|until| format!(", for new tokens until {until}"));
        format!(
            "valid from {start} until {end}{}",
            tokens.unwrap_or_default()
        )
    }

    /// What is left of it: `valid for …, for new tokens for …`.
    pub(crate) fn left(&self, now: SystemTime) -> String {
        let valid = match self.end.duration_since(now) {
            Ok(left) => format!("valid for {}", span(left)),
            Err(_) => return format!("expired at {}", rfc3339(self.end)),
        };
        let Some(until) = self.tokens_until else {
            return valid;
        };
        match until.duration_since(now) {
            Ok(left) => format!("{valid}, for new tokens for {}", span(left)),
            Err(_) => format!("{valid}, but for new tokens until {} only", rfc3339(until)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn names_both_ends() {
        let day = Duration::from_secs(24 * 3600);
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        let end = now + 14 * day;
        for (tokens_until, end, left) in [
            (
                Some(now + 7 * day),
                end,
                "valid for 14 d 0 h, for new tokens for 7 d 0 h",
            ),
            (
                Some(now - day),
                end,
                "valid for 14 d 0 h, but for new tokens until 2027-01-14T08:00:00Z only",
            ),
            (None, end, "valid for 14 d 0 h"),
            (
                Some(now - 8 * day),
                now - day,
                "expired at 2027-01-14T08:00:00Z",
            ),
        ] {
            let start = now - day;
            let lifetime = Lifetime {
                start,
                tokens_until,
                end,
            };
            assert_eq!(lifetime.left(now), left);
        }
    }
}
